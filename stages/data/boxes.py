"""Rectangles in images."""

import numpy as np


def random_sides(area: np.ndarray, shape: np.ndarray, stretch: float) -> tuple[np.ndarray, np.ndarray]:
    """Sides of rectangles as shares of an image's height and width, each (n,) and at most 1.

    `area` (n,) is their share of the image's area. `shape` (n,) in [0, 1) chooses how much wider than the image they
    are, from 1 / `stretch` to `stretch`, evenly on a logarithmic scale, as far as the image has room.
    """
    most = np.minimum(np.log(stretch), -np.log(area))
    wider = np.exp((2 * shape - 1) * most)
    return np.sqrt(area / wider), np.sqrt(area * wider)


def boxes_around(
    centres: tuple[np.ndarray, np.ndarray], sides: tuple[np.ndarray | int, np.ndarray | int], size: tuple[int, int]
) -> np.ndarray:
    """Boxes cut at the image's border, bool (n, H, W); `centres` (n,) and `sides`, y and x each, are in pixels."""
    rows, columns = (
        _within(np.arange(length), centre, side) for length, centre, side in zip(size, centres, sides, strict=True)
    )
    return rows[:, :, None] & columns[:, None, :]


def _within(pixels: np.ndarray, centres: np.ndarray, sides: np.ndarray | int) -> np.ndarray:
    """Which pixels (L,) lie within `sides` (n,) around the centres (n,), bool (n, L)."""
    first = centres - sides // 2
    return (pixels >= first[:, None]) & (pixels < (first + sides)[:, None])
