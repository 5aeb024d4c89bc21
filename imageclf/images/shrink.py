"""Loops over the pixels of many pictures, compiled by numba: the same numbers as Pillow's, several times as fast.

To resize with the bilinear filter, Pillow adds up weighted pixels in whole numbers, along the rows and along the
columns. Here a picture is transposed in between, so that both passes add up whole rows, which a compiler vectorises.
tests/images/test_shrink.py compares every pixel; the original is src/libImaging/Resample.c of Pillow.
"""

from functools import lru_cache

import numpy as np
from numba import njit
from PIL import Image

Box = tuple[float, float, float, float]  # left, upper, right, lower, in pixels
BITS = 22  # of a weight, after the point
HALF = np.int32(1 << (BITS - 1))
LARGEST_SUM = 2**16  # squares of bytes that 32 bits hold
BLOCK = 16  # rows that are transposed together: they stay in the cache
U = np.uintp  # unsigned indices need no check for negative ones, which would prevent vectorising
compiled = njit(cache=True, nogil=True, error_model="numpy")


def shrink(picture: Image.Image, size: tuple[int, int], box: Box) -> np.ndarray:
    """Resize what `box` cuts from an RGB picture to `size`, (width, height): uint8 (H, W, 3)."""
    columns, left, right = _weights(picture.width, box[0], box[2], size[0])
    rows, upper, lower = _weights(picture.height, box[1], box[3], size[1])
    whole = np.frombuffer(picture.tobytes("raw", "RGBX"), np.uint32).reshape(picture.height, picture.width)
    pixels = whole[upper:lower, left:right]
    saved = picture.height - size[1]
    if saved > 0 and saved > 2 * (picture.width - size[0]):  # Pillow's rule; each pass rounds, so the order matters
        shown = _transposed(_summed(_transposed(_summed(np.ascontiguousarray(pixels), *rows)), *columns))
    else:
        shown = _summed(_transposed(_summed(_transposed(pixels), *columns)), *rows)
    colours = np.empty((*shown.shape, 3), np.uint8)
    _drop_fourth(shown.reshape(-1), colours.reshape(-1))
    return colours


def ready() -> None:
    """Load the loops, or compile them once, for the processes that are forked from this one."""
    for size in ((9, 9), (8, 40)):  # either order of the passes
        shrink(Image.new("RGB", size), (8, 8), (0, 0, *size))


@lru_cache(maxsize=64)
def _weights(length: int, begin: float, end: float, number: int) -> tuple[tuple[np.ndarray, np.ndarray], int, int]:
    """How `number` pixels are made of those from `begin` to `end`, of `length`.

    For each, its first source pixel (number,) and the weights int32 (number, n); then the range of pixels used. The
    first pixels count from the beginning of this range.
    """
    lower, upper = np.float32(begin), np.float32(end)  # Pillow's own types, and its order of operations
    scale = float(upper - lower) / number
    reach = max(scale, 1.0)
    taps: list[tuple[int, list[int]]] = []
    for place in range(number):
        centre = float(lower) + (place + 0.5) * scale
        first, last = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), length)
        near = [max(0.0, 1.0 - abs((at - centre + 0.5) * (1.0 / reach))) for at in range(first, last)]
        total = 0.0
        for weight in near:  # sum() rounds in another way since Python 3.12
            total += weight
        taps.append((first, [int(0.5 + weight / total * (1 << BITS)) for weight in near]))
    most = max(len(weights) for _, weights in taps)
    begun, ended = taps[0][0], max(first + len(weights) for first, weights in taps)
    firsts, table = np.empty(number, np.int64), np.zeros((number, most), np.int32)
    for place, (first, weights) in enumerate(taps):
        firsts[place] = max(min(first, ended - most), begun) - begun
        before = first - begun - firsts[place]
        table[place, before : before + len(weights)] = weights
    return (firsts, table), begun, ended


def _transposed(pixels: np.ndarray) -> np.ndarray:
    turned = np.empty(pixels.shape[::-1], np.uint32)
    _transpose(pixels, turned)
    return turned


def _summed(pixels: np.ndarray, firsts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Each row of the result (n, W) is the weighted sum of rows of pixels (H, W), byte by byte."""
    rows = pixels.view(np.uint8)  # (H, 4 * W)
    sums = np.empty((len(firsts), rows.shape[1]), np.uint8)
    _add_rows(rows, firsts, weights, np.empty(rows.shape[1], np.int32), sums)
    return sums.view(np.uint32)


@compiled
def _transpose(source, target):  # type: ignore[no-untyped-def]
    """Pixels uint32 (H, W) -> (W, H)."""
    height, width = source.shape
    for begin in range(0, height, BLOCK):
        for x in range(width):
            for y in range(begin, min(begin + BLOCK, height)):
                target[U(x), U(y)] = source[U(y), U(x)]


@compiled
def _drop_fourth(source, target):  # type: ignore[no-untyped-def]
    """Pixels uint32 (N,) -> their first three bytes, uint8 (3 * N,)."""
    for pixel in range(U(len(source))):
        value, here = source[pixel], U(3) * U(pixel)
        target[here] = np.uint8(value)
        target[here + U(1)] = np.uint8(value >> np.uint32(8))
        target[here + U(2)] = np.uint8(value >> np.uint32(16))


@compiled
def _add_rows(source, firsts, weights, total, target):  # type: ignore[no-untyped-def]
    """Each row of target (n, L) is the weighted sum of rows of source (H, L); `total` (L,) is for its use."""
    for row in range(len(firsts)):
        for j in range(len(total)):
            total[j] = HALF
        for tap in range(weights.shape[1]):
            weight, line = weights[row, tap], source[U(firsts[row] + tap)]
            for j in range(len(total)):
                total[j] += np.int32(weight * np.int32(line[j]))
        for j in range(len(total)):
            target[row, j] = np.uint8(total[j] >> BITS)


def add_moments(images: np.ndarray, sums: np.ndarray) -> None:
    """Add to sums (2, C), int64, the sum and the sum of squares of each channel of uint8 (N, H, W, C)."""
    rows = np.asarray(images).reshape(len(images) * images.shape[1], -1)
    for begin in range(0, len(rows), LARGEST_SUM):
        lanes = np.zeros((2, rows.shape[1]), np.uint32)
        _add_squares(rows[begin : begin + LARGEST_SUM], lanes[0], lanes[1])
        sums += lanes.reshape(2, -1, images.shape[3]).sum(1, dtype=np.int64)


@compiled
def _add_squares(rows, totals, squares):  # type: ignore[no-untyped-def]
    """Add the rows (n, L), and their squares, to totals and squares (L,)."""
    for row in range(len(rows)):
        line = rows[row]
        for j in range(len(totals)):
            value = np.uint32(line[j])
            totals[j] += value
            squares[j] += np.uint32(value * value)
