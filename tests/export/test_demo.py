"""The page for a browser: the ONNX file is inside, names are text, and its picture rule is Pillow's."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from imageclf.export.formats import demo
from imageclf.export.registry import Material
from imageclf.images.decode import GREY, decode
from imageclf.runtime.errors import DataError
from tests.small_run import make_card
from tests.tools.test_predict import SIZE, write_model

NODE = shutil.which("node")


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the three files of onnxruntime-web."""
    monkeypatch.chdir(tmp_path)
    demo.RUNTIME.parent.mkdir()
    with tarfile.open(demo.RUNTIME, "w:gz") as archive:
        for part, name in demo.PARTS.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            content = f"/* {part} */".encode()
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(demo, "SHA256", hashlib.sha256(demo.RUNTIME.read_bytes()).hexdigest())


def made(classes: list[str], images: np.ndarray | None = None) -> bytes:
    facts = {"classes": classes, "size": SIZE, "channels": 3, "model": "m", "data": "d", "pictures": "upright"}
    model = write_model(Path("made.onnx"), threshold=0.5).read_bytes()
    images = np.zeros((1, *SIZE, 3), np.uint8) if images is None else images
    return demo.write(Material(cast(Any, None), make_card(), facts, 18, scores={}, images=images, made={"onnx": model}))


@pytest.mark.usefixtures("runtime")
def test_the_classifier_inside_answers_as_the_onnx_file() -> None:
    Path("demo.html").write_bytes(made(["red", "green", "blue"]))
    images = np.zeros((2, *SIZE, 3), np.uint8)
    images[0, ..., 0] = images[1, ..., 2] = 200
    np.save("images.npy", images)
    demo.main(Path("demo.html"), Path("images.npy"), Path("answers.npy"))
    assert np.load("answers.npy").argmax(axis=1).tolist() == [0, 2]
    assert Path("demo.html").read_bytes() == made(["red", "green", "blue"])


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("channels", [3, 1])
def test_some_of_the_training_images_are_in_the_page_as_they_are(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, *SIZE, channels), dtype=np.uint8)
    page = made(["red", "green", "blue"], images).decode()
    shown = [base64.b64decode(found) for found in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    assert len(shown) == demo.EXAMPLES
    first, last = (np.asarray(Image.open(io.BytesIO(shown[place]))) for place in (0, -1))
    assert (first == images[0].squeeze()).all()
    assert (last == images[-1].squeeze()).all()


@pytest.mark.usefixtures("runtime")
def test_a_class_name_cannot_become_a_part_of_the_page() -> None:
    name = '</script><b onclick="x">'
    page = made([name, "b", "c"]).decode()
    assert name not in page
    found = re.search(r'id="facts">(.*?)</script>', page)
    assert found
    assert json.loads(found[1])["classes"][0] == name


def test_without_onnxruntime_web_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"missing; run mkdir -p .downloads && npm pack onnxruntime-web@"):
        made(["a"])
    demo.RUNTIME.parent.mkdir()
    demo.RUNTIME.write_bytes(b"another")
    with pytest.raises(DataError, match=r"damaged or another version; remove it"):
        made(["a"])


@pytest.mark.skipif(NODE is None, reason="needs node")
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("channels", [3, 1])
def test_the_picture_rule_of_the_page_gives_pillows_pixels(fit: str, channels: int) -> None:
    script = demo.TEMPLATE.read_text().split("// 1.")[1].split("// 2.")[0]
    random, size = np.random.default_rng(0), (8, 12)
    for width, height in [(12, 8), (7, 5), (13, 30), (61, 40), (200, 150), (333, 97)]:
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        expected = decode(file.getvalue(), size=size, channels=channels, fit=fit).pixels
        constants = f"const [height, width] = {list(size)}, channels = {channels}, fit = '{fit}', GAP = 2, BITS = 22;"
        image = f"{{w: {width}, h: {height}, c: 3, data: Uint8Array.from({pixels.ravel().tolist()})}}"
        asked = f"console.log(JSON.stringify([...fitted({image}, false)]))"
        program = f"{constants} const GREY = {GREY}; // 1.{script}\n{asked}"
        done = subprocess.run([str(NODE), "-"], input=program, capture_output=True, text=True, check=True)
        found = np.array(json.loads(done.stdout), np.uint8).reshape(*size, channels)
        off = np.abs(found.astype(int) - expected)
        assert (off.max(), int((off > 0).sum())) == (0, 0), (width, height)
