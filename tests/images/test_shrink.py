"""The compiled loops give Pillow's numbers, whatever the sizes."""

import numpy as np
import pytest
from PIL import Image

from imageclf.images.decode import FILTER, GAP, decode
from imageclf.images.shrink import shrink
from tests.images.corpus import saved

GENERATOR = np.random.default_rng(0)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(GENERATOR.integers(0, 256, (height, width, 3)).astype(np.uint8))


@pytest.mark.parametrize("number", range(60))
def test_every_pixel_is_pillows(number: int) -> None:
    width, height, across, down = GENERATOR.integers(1, 200, 4).tolist()
    picture, side = noise(width, height), min(width, height)
    if number % 2:  # the square in the middle
        left, top = (width - side) / 2, (height - side) / 2
        size, box = (across, across), (left, top, left + side, top + side)
    else:  # the whole, of a JPEG that is decoded at a smaller scale
        size, box = (across, down), (0, 0, max(width - 0.375, 0.5), max(height - 0.5, 0.5))
    if max((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1]) >= 2 * GAP:
        return  # Pillow reduces it first, and decode leaves that to it
    assert (shrink(picture, size, box) == np.asarray(picture.resize(size, FILTER, box, reducing_gap=GAP))).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(500, 375), (375, 500), (90, 60), (32, 32), (400, 32)])
def test_decode_gives_the_same_with_and_without(size: tuple[int, int], fit: str) -> None:
    for kind in ("JPEG", "PNG"):
        content = saved(noise(*size), kind)
        plain, fast = (decode(content, size=(32, 32), channels=3, fit=fit, shrink=how) for how in (None, shrink))
        assert (plain.pixels == fast.pixels).all()
