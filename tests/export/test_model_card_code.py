"""The code that a model card shows reads every kind of picture as training did, pixel for pixel."""

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from imageclf.export.model_card import model_card
from imageclf.images.decode import decode
from imageclf.models.card import Card
from tests.export.test_model_card import EXPORTS, TEST
from tests.small_run import make_card

CARDS = [
    make_card(size=(64, 64)),
    make_card(size=(224, 224)),
    replace(make_card(size=(32, 32)), window=[0, 4095]),
    replace(make_card(size=(48, 48), channels=1), window=[1000, 50000]),
    replace(make_card(size=(64, 64)), fit="pad"),
    replace(make_card(size=(33, 33), channels=1), fit="pad"),
    replace(make_card(size=(64, 64)), fit="stretch"),
]


def smooth(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Waves with noise, uint8 (H, W, C)."""
    y, x = np.mgrid[:height, :width]
    waves = [60 * (np.sin(9 * x / width + i) + np.cos(7 * (i + 1) * y / height)) + 120 for i in range(channels)]
    noise = np.random.default_rng(0).integers(-20, 20, (height, width, channels))
    return np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _kinds() -> Iterator[tuple[str, bytes]]:
    colour, grey = Image.fromarray(smooth(300, 200)), Image.fromarray(smooth(120, 161, 1)[..., 0])
    deep = smooth(120, 161, 1)[..., 0].astype(np.uint16)
    veil = smooth(300, 200, 1)[..., 0]
    yield "plain", saved(colour, "PNG")
    yield "of the right size", saved(colour.resize((64, 64)), "PNG")
    yield "RGBA", saved(Image.fromarray(np.dstack([smooth(300, 200), veil])), "PNG")
    yield "LA", saved(Image.fromarray(np.dstack([smooth(300, 200, 1)[..., 0], veil]), "LA"), "PNG")
    palette = colour.convert("P", palette=Image.Palette.ADAPTIVE, colors=40)
    yield "palette", saved(palette, "PNG")
    yield "palette, one through", saved(palette, "PNG", transparency=0)
    yield "palette, some through", saved(palette, "PNG", transparency=bytes(range(0, 240, 6)))
    yield "RGB, one through", saved(Image.new("RGB", (50, 40), (9, 8, 7)), "PNG", transparency=(9, 8, 7))
    yield "grey", saved(grey, "PNG")
    yield "1 bit", saved(grey.convert("1"), "PNG")
    yield "16 bits", saved(Image.fromarray(deep * 257), "PNG")
    yield "12 of 16 bits", saved(Image.fromarray(deep * 16), "TIFF")
    yield "16 bits big-endian", b"P5 161 120 65535\n" + (deep * 257).astype(">u2").tobytes()
    yield "12 bits", b"P5 161 120 4095\n" + (deep * 16).astype(">u2").tobytes()
    yield "CMYK", saved(Image.fromarray(smooth(90, 60, 4), "CMYK"), "JPEG")
    yield "YCbCr", saved(colour.convert("YCbCr"), "TIFF")
    yield "large", saved(colour.resize((4000, 2667)), "JPEG", quality=90)
    yield "huge", saved(colour.resize((12_000, 9_000)), "JPEG", quality=50)
    yield "large and grey", saved(grey.resize((2001, 1333)), "JPEG", quality=90)
    yield "animated", saved(colour, "GIF", save_all=True, append_images=[Image.new("RGB", (200, 300))])
    yield "lossy", saved(colour, "WEBP")
    exif = Image.Exif()
    for orientation in range(2, 9):
        exif[0x112] = orientation
        yield f"turned {orientation}", saved(colour.resize((1203, 802)), "JPEG", exif=exif)
    for kind in ("PNG", "TIFF", "WEBP"):
        yield f"turned {kind}", saved(colour, kind, exif=exif)


KINDS = dict(_kinds())


class Session:
    """Stands for onnxruntime's, and keeps what it is asked."""

    asked: np.ndarray

    def __init__(self, path: str) -> None:
        assert path == "classifier.onnx"

    def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        Session.asked = feeds["images"]
        return [np.array([[0.2, 0.7, 0.1]], np.float32)]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: f"{card.size[0]} {card.channels} {card.window} {card.fit}")
@pytest.mark.parametrize("kind", KINDS)
def test_the_code_reads_a_picture_as_training_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], card: Card, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    Path("labels.txt").write_text("ant\nbee\ncat\n")
    Path("picture.png").write_bytes(KINDS[kind])
    page = model_card(card, test=TEST, exports=EXPORTS, pictures="")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    expected = decode(KINDS[kind], size=card.size, channels=card.channels, fit=card.fit, window=card.window).pixels
    assert (Session.asked == expected[None]).all()
    assert Session.asked.dtype == np.uint8
    assert capsys.readouterr().out == "bee 0.7\n"
