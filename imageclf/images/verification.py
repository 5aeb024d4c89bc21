"""Decode pairs of pictures again, larger and in colour, and accept those of which one shows a part of the other."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from imageclf.images.decode import FILTER
from imageclf.images.decode_all import CHANNELS, decode_files
from imageclf.images.likeness import EDGE, Candidates
from imageclf.images.manifest import Files
from imageclf.images.packing import ImageFile

VIEW = 160  # pixels a side of a picture that is decoded again, stretched
BLOCKS = 8  # along each side; every one must agree
FINEST = 4 * BLOCKS  # pixels a side at which pairs are compared; 3 * BLOCKS if one of the two has fewer
HOPELESS = 0.8  # correlation under which better edges are not looked for
SAME = 0.97  # least correlation of the colours
BRIGHTER = 1.4  # largest ratio of the contrasts, either way: colours of another ratio are other colours
STRAY = 0.5  # largest error of a block, as a fraction of the picture's contrast
STEPS = (2.0, 1.0, 0.5)  # pixels by which edges are moved


@dataclass(frozen=True)
class NearCopy:
    """Two files by their indices: `part` shows what `box` (upper, lower, left, right), of 1, cuts from `whole`."""

    whole: int
    part: int
    mirrored: bool
    box: tuple[float, float, float, float]
    correlation: float


def verify(
    files: Files,
    candidates: Candidates,
    sizes: np.ndarray,
    *,
    window: Sequence[int] | None,
    folder: Path,
    workers: int,
) -> tuple[list[NearCopy], dict[int, np.ndarray]]:
    """The candidates, whose places are those of files, that are near-copies, and the views of all by file.

    `sizes` int (N, 2) are width and height of each file's picture. A view is uint8 (VIEW, VIEW, 3), in `folder`.

    Raises:
        DataError: a file has changed since download.
    """
    views = _decode(files, np.union1d(candidates.whole, candidates.part), window=window, folder=folder, workers=workers)
    rows = zip(*(each.tolist() for each in vars(candidates).values()), strict=True)
    with ThreadPoolExecutor(workers) as pool:
        return [pair for pair in pool.map(partial(_verify, views, sizes), rows) if pair], views


def _decode(
    files: Files, indices: np.ndarray, *, window: Sequence[int] | None, folder: Path, workers: int
) -> dict[int, np.ndarray]:
    """The pictures at the indices, as a whole, uint8 (VIEW, VIEW, 3), in a file."""
    if not len(indices):
        return {}
    array = ImageFile(folder / "views.npy", (VIEW, VIEW, CHANNELS))
    array.resize(len(indices))
    chosen, slot = [files[index] for index in indices.tolist()], partial(_slot, array)
    for _ in decode_files(chosen, slot, size=(VIEW, VIEW), fit="stretch", window=window, workers=workers):
        pass
    return dict(zip(indices.tolist(), np.load(array.path, mmap_mode="r"), strict=True))


def _slot(array: ImageFile, place: int) -> tuple[Path, int]:
    return array.path, array.place(place)


def _verify(
    views: dict[int, np.ndarray], sizes: np.ndarray, candidate: tuple[int, int, bool, list[int]]
) -> NearCopy | None:
    """The pair with its best edges, if the colours agree in all blocks."""
    whole, part, mirrored, box = candidate
    edges = [VIEW * edge / EDGE for edge in box]
    high, wide = (edges[1] - edges[0]) / VIEW, (edges[3] - edges[2]) / VIEW
    (width, height), (across, down) = sizes[whole].tolist(), sizes[part].tolist()
    finest = min(width * wide, height * high, across, down)
    side = FINEST if finest >= FINEST else 3 * BLOCKS
    source, seen = Image.fromarray(views[whole]), Image.fromarray(views[part])
    target = np.asarray(seen.resize((side, side), FILTER), np.int64)[:, :: -1 if mirrored else 1]
    best = _Match.of(source, edges, target)
    if best.correlation < HOPELESS:
        return None
    for step in STEPS:
        for edge in range(4):
            for sign in (-1, 1):
                moved = [*edges]
                moved[edge] = min(max(moved[edge] + sign * step, 0.0), float(VIEW))
                match = _Match.of(source, moved, target)
                if match.correlation > best.correlation:
                    best, edges = match, moved
    if best.correlation < SAME or not 1 / BRIGHTER <= best.ratio <= BRIGHTER or best.stray() > STRAY:
        return None
    upper, lower, left, right = (edge / VIEW for edge in edges)
    return NearCopy(whole, part, mirrored, (upper, lower, left, right), best.correlation)


@dataclass(frozen=True)
class _Match:
    """How well what the edges cut from a view, int64 (n, n, 3), agrees with another. The sums are exact."""

    crop: np.ndarray
    target: np.ndarray
    covariance: int
    variances: tuple[int, int]

    @classmethod
    def of(cls, source: Image.Image, edges: list[float], target: np.ndarray) -> "_Match":
        """Match what the edges (upper, lower, left, right) cut."""
        upper, lower, left, right = edges
        crop = np.asarray(source.resize(target.shape[1::-1], FILTER, (left, upper, right, lower)), np.int64)
        sums = int(crop.sum()), int(target.sum())
        products = [int((a * b).sum()) for a, b in ((crop, target), (crop, crop), (target, target))]
        covariance, *variances = (
            crop.size * product - a * b
            for product, (a, b) in zip(products, (sums, (sums[0], sums[0]), (sums[1], sums[1])), strict=True)
        )
        return cls(crop, target, covariance, (variances[0], variances[1]))

    @property
    def correlation(self) -> float:
        """From -1 to 1; 0 if one of the two has one colour all over."""
        return self.covariance / math.sqrt(self.variances[0] * self.variances[1] or 1)

    @property
    def ratio(self) -> float:
        """The contrast of the target, by that of the crop."""
        return self.covariance / (self.variances[0] or 1)

    def stray(self) -> float:
        """The largest error of a block, rms, as a fraction of the target's standard deviation."""
        number = self.crop.size
        centred = [number * each - int(each.sum()) for each in (self.target, self.crop)]
        errors = np.rint((centred[0] - self.ratio * centred[1]) * (16 / number)).astype(np.int64)  # 16ths of a value
        block = len(self.crop) // BLOCKS
        squares = (errors * errors).reshape(BLOCKS, block, BLOCKS, block, CHANNELS).sum((1, 3, 4))
        return math.sqrt(int(squares.max()) / (block * block * CHANNELS)) / 16 * number / math.sqrt(self.variances[1])
