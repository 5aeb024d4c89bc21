"""Decode pairs of pictures again, larger and in colour, and accept those of which one shows a part of the other."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
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
DETAIL = 64  # pixels a side from which pairs are compared
FINEST = 4 * BLOCKS  # pixels a side at which pairs are compared; 3 * BLOCKS if one of the two has fewer
HOPELESS = 0.92  # correlation under which better edges are not looked for
SAME = 0.97  # least correlation of the colours
BRIGHTER = 1.4  # largest ratio of the contrasts, either way: colours of another ratio are other colours
STRAY = 0.5  # largest error of a block, as a fraction of the picture's contrast
WHOLE = 0.98  # fraction of both sides from which a crop is called the whole
STEPS = (0.8, 0.4, 0.2)  # pixels of DETAIL by which edges are moved


def is_whole(box: Sequence[float]) -> bool:
    """Whether the edges (upper, lower, left, right), of 1, cut nothing off."""
    return min(box[1] - box[0], box[3] - box[2]) >= WHOLE


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
    edges = [DETAIL * edge / EDGE for edge in box]
    high, wide = (edges[1] - edges[0]) / DETAIL, (edges[3] - edges[2]) / DETAIL
    (width, height), (across, down) = sizes[whole].tolist(), sizes[part].tolist()
    fine = min(width * wide, height * high, across, down) >= FINEST
    side = FINEST if fine else 3 * BLOCKS
    source = Image.fromarray(views[whole]).resize((DETAIL, DETAIL), FILTER)
    seen = Image.fromarray(views[part]).resize((side, side), FILTER)
    target = np.asarray(seen, np.int64)[:, :: -1 if mirrored else 1]
    best = _Match(source, edges, target)
    if best.correlation < HOPELESS:
        return None
    for step, edge, sign in product(STEPS, range(4), (-1, 1)):
        if best.agrees:
            break
        moved = [*best.edges]
        moved[edge] = min(max(moved[edge] + sign * step, 0.0), float(DETAIL))
        best = max(best, _Match(source, moved, target), key=lambda match: match.correlation)
    if not best.agrees:
        return None
    upper, lower, left, right = (edge / DETAIL for edge in best.edges)
    return NearCopy(whole, part, mirrored, (upper, lower, left, right), best.correlation)


class _Match:
    """How well what the edges (upper, lower, left, right) cut from a picture agrees with another, int64 (n, n, 3).

    The sums are exact, so that the answers are the same on every machine.
    """

    def __init__(self, source: Image.Image, edges: list[float], target: np.ndarray) -> None:
        upper, lower, left, right = edges
        cut = source.resize(target.shape[1::-1], FILTER, (left, upper, right, lower))
        self.edges, self._target, self._crop = edges, target, np.asarray(cut, np.int64)
        self._covariance = _covariance(self._crop, target)
        self._variances = _covariance(self._crop, self._crop), _covariance(target, target)
        self.correlation = self._covariance / math.sqrt(self._variances[0] * self._variances[1] or 1)

    @cached_property
    def agrees(self) -> bool:
        """Whether the colours do, in all blocks."""
        ratio = self._covariance / (self._variances[0] or 1)  # of the contrasts
        return self.correlation >= SAME and 1 / BRIGHTER <= ratio <= BRIGHTER and self._stray(ratio) <= STRAY

    def _stray(self, ratio: float) -> float:
        number = self._crop.size
        target, crop = (number * each - int(each.sum()) for each in (self._target, self._crop))
        errors = np.rint((target - ratio * crop) * (16 / number)).astype(np.int64)  # in 16ths of a value
        block = len(errors) // BLOCKS
        squares = (errors * errors).reshape(BLOCKS, block, BLOCKS, block, CHANNELS).sum((1, 3, 4))
        return math.sqrt(int(squares.max()) / (block * block * CHANNELS)) / 16 * number / math.sqrt(self._variances[1])


def _covariance(one: np.ndarray, other: np.ndarray) -> int:
    """The covariance of n numbers, times n squared."""
    return one.size * int((one * other).sum()) - int(one.sum()) * int(other.sum())
