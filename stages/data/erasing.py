"""Random erasing (arXiv:1708.04896): a rectangle of an image becomes noise."""

import numpy as np

from stages.data.boxes import random_sides
from stages.data.chances import (
    ERASING,
    ERASING_AREA,
    ERASING_LEFT,
    ERASING_NOISE,
    ERASING_SHAPE,
    ERASING_TOP,
    Chances,
)

SMALLEST, LARGEST = 0.02, 1 / 3  # share of the image's area
STRETCH = 10 / 3  # at most, of width against height, and of height against width


def erase(batch: np.ndarray, chances: Chances, probability: float) -> None:
    """Change uint8 (n, H, W, C): each image has the `probability` to lose a rectangle, which lies inside it."""
    _, height, width, _ = batch.shape
    area = SMALLEST + (LARGEST - SMALLEST) * chances.shares(ERASING_AREA)
    tall, wide = random_sides(area, chances.shares(ERASING_SHAPE), STRETCH)
    rows, columns = _pixels(tall, height), _pixels(wide, width)
    top = (chances.shares(ERASING_TOP) * (height - rows + 1)).astype(np.int64)
    left = (chances.shares(ERASING_LEFT) * (width - columns + 1)).astype(np.int64)
    noise = chances.bits(ERASING_NOISE)
    for each in np.flatnonzero(chances.shares(ERASING) < probability):
        generator = np.random.Generator(np.random.Philox(key=int(noise[each])))
        erased = batch[each, top[each] : top[each] + rows[each], left[each] : left[each] + columns[each]]
        erased[:] = generator.integers(0, 256, erased.shape, np.uint8)


def _pixels(share: np.ndarray, side: int) -> np.ndarray:
    return np.rint(share * side).astype(np.int64).clip(1, side)
