"""What decoding a file's bytes finds beside the pixels, and what it spares."""

import io

import numpy as np
import pytest
from PIL import Image, features

from imageclf.images.decode import Unfit, decode


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def scene(width: int, height: int) -> Image.Image:
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 256, (9, 12, 3)).astype(np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (1000, 600), (4000, 3000)])
@pytest.mark.parametrize("side", [32, pytest.param(64, marks=pytest.mark.slow), 224])
def test_a_jpeg_at_reduced_scale_looks_as_in_full(size: tuple[int, int], side: int) -> None:
    picture = scene(*size)
    reduced = decode(saved(picture, "JPEG", quality=95), size=(side, side), channels=3)
    full = decode(saved(picture, "PNG"), size=(side, side), channels=3)
    assert (reduced.width, reduced.height) == (full.width, full.height) == size  # as the file has it
    assert np.abs(reduced.pixels.astype(int) - full.pixels).mean() < 2
    assert np.abs(reduced.pixels.astype(int) - full.pixels).max() < 30


def test_a_turned_jpeg_at_reduced_scale_is_upright() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    turned = saved(scene(1200, 900).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)
    straight = saved(scene(1200, 900), "JPEG", quality=95)
    both = [decode(content, size=(64, 64), channels=3).pixels.astype(int) for content in (turned, straight)]
    assert np.abs(both[0] - both[1]).mean() < 2


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read_by_its_content() -> None:
    found = decode(saved(Image.new("RGB", (40, 30), (200, 100, 50)), "AVIF"), size=(8, 8), channels=3)
    assert np.abs(found.pixels.astype(int) - (200, 100, 50)).max() < 8
    with pytest.raises(Unfit, match="cannot be read"):
        decode(saved(scene(80, 60), "AVIF")[:-200], size=(8, 8), channels=3)


def test_damaged_exif_leaves_the_picture_as_it_lies() -> None:
    content = saved(Image.new("RGB", (40, 30), (200, 100, 50)), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    with pytest.warns(UserWarning, match="EXIF"):  # prepare takes down what Pillow says, and reports it
        found = decode(content, size=(8, 8), channels=3)
    assert (found.pixels == (200, 100, 50)).all()


def test_a_damaged_second_frame_does_not_harm_the_first() -> None:
    frames = [Image.new("RGB", (40, 30), (255, 0, 0)), scene(40, 30)]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    found = decode(content[:-300], size=(8, 8), channels=3)
    assert (found.pixels == (255, 0, 0)).all()


WIDE = saved(Image.new("RGB", (40, 20), (200, 100, 50)), "PNG")


def test_pad_keeps_the_whole_between_grey() -> None:
    picture = decode(WIDE, size=(16, 16), channels=3, fit="pad")
    assert (picture.pixels[4:12] == (200, 100, 50)).all()
    assert (picture.pixels[:4] == 128).all() and (picture.pixels[12:] == 128).all()
    assert (picture.shown == (200, 100, 50)).all()  # what is said of brightness and blanks is not of the padding


def test_stretch_and_crop_leave_no_border() -> None:
    for fit in ("stretch", "crop"):
        assert (decode(WIDE, size=(16, 16), channels=3, fit=fit).pixels == (200, 100, 50)).all()


def test_stretch_keeps_both_ends_and_crop_the_middle() -> None:
    ends = Image.new("RGB", (40, 20))
    ends.paste("white", (10, 0, 30, 20))
    content = saved(ends, "PNG")
    assert decode(content, size=(20, 20), channels=1, fit="crop").pixels.min() == 255
    stretched = decode(content, size=(20, 20), channels=1, fit="stretch").pixels
    assert not stretched[:, :4].any() and not stretched[:, 16:].any()
