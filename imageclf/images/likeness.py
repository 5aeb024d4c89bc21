"""Search small grey sketches of pictures for pairs of which one shows a part of the other, or all of it.

A crop is described by the cosine coefficients of its lowest frequencies, without its mean, at unit length. Mirroring
changes the signs of the odd ones. The crops of a grid, of each picture, are compared with the whole of every other; a
pair above a threshold is aligned: the coefficients' derivatives by the four edges of the crop say where the edges
belong (the tangent distance of Simard, LeCun and Denker, 1993), and those that are not alike then are dropped.

All sums are of whole numbers small enough to be exact, and the rest is done element by element, so that the pairs are
the same on every machine, for any number of threads.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

SKETCH = 32  # pixels a side of a sketch, grey, of the whole picture, stretched
MOST = 100_000  # pictures; with more, none is searched
WORK = 1_250_000_000  # comparisons of a crop with a whole that are affordable whatever the number of pictures
WORK_EACH = 100_000  # and for each picture: a fraction of the time that it takes to decode
COARSE, FINE = 6, 8  # frequencies along a side: to compare, and to align
LENGTH = 2000  # of a description: products, and their sum, stay under 2**24, which float32 holds exactly
ALIKE, ALIGNED = 0.83, 0.975  # least correlation, before and after the edges are moved
HOPEFUL = (0.9, 0.95)  # least correlation that moved edges promise, in the first and in later steps
STEPS = 3
CONTRAST = 3.0  # of 255: crops of less have nothing to compare
CANDIDATES = 40_000  # of all pictures, at least 2 and at most 64 each: the most alike
EDGE = 256  # edges are whole numbers of this fraction of a side
NEAR = EDGE // 50  # distance at which derivatives are taken
FARTHEST = 0.06  # of a side: the most that an edge moves in a step
UNIT = 1024  # of the weights
TILE = 512  # pictures that are compared at a time

WHOLE = (0, EDGE, 0, EDGE)


@dataclass(frozen=True)
class Candidates:
    """Pairs in which `part` may show what `box` cuts from `whole`."""

    whole: np.ndarray  # int (n,), places of sketches
    part: np.ndarray
    mirrored: np.ndarray  # bool (n,): left and right are swapped
    box: np.ndarray  # int (n, 4): upper, lower, left, right edge, of EDGE

    def at(self, chosen: np.ndarray | slice) -> "Candidates":
        """Those at the indices, or under the mask, `chosen`."""
        return Candidates(self.whole[chosen], self.part[chosen], self.mirrored[chosen], self.box[chosen])


def crops_for(pictures: int) -> np.ndarray:
    """The crops int (K, 4) of a picture that can be searched for among so many: 159, 48, or the whole alone."""
    affordable = max(WORK, WORK_EACH * pictures) / max(pictures, 1) ** 2
    grids = (_grid((1.0, 0.9, 0.8, 0.7, 0.6), step=0.1), _grid((1.0, 0.87, 0.75, 0.63), step=0.125))
    return next((grid for grid in grids if len(grid) <= affordable), np.array([WHOLE]))


def _grid(lengths: tuple[float, ...], *, step: float) -> np.ndarray:
    """Crops of these fractions of both sides, or of about the same, or of one side alone; the whole comes first."""
    sides = []
    for number, length in enumerate(lengths):
        places = max(2, round((1 - length) / step) + 1) if length < 1 else 1
        begins = [(1 - length) * place / max(places - 1, 1) for place in range(places)]
        sides += [(number, round(EDGE * begin), round(EDGE * (begin + length))) for begin in begins]
    slack = 1 if step <= 0.1 else 0  # lengths that differ by one place
    return np.array([(*y, *x) for a, *y in sides for b, *x in sides if a == 0 or b == 0 or abs(a - b) <= slack])


@lru_cache(maxsize=4096)
def _cosines(begin: int, end: int, number: int) -> np.ndarray:
    """Weights (number, SKETCH), whole, that make the pixels from `begin` to `end` cosine coefficients."""
    # Libraries disagree about the last bit of a sine, which rounding takes away.
    borders = (np.clip(EDGE // SKETCH * np.arange(SKETCH + 1), begin, end) - begin) / (end - begin)
    waves = math.pi * np.arange(1, number)[:, None]
    weights = [np.diff(borders)[None], np.diff(np.sin(waves * borders)) / waves]
    return np.rint(UNIT * np.concatenate(weights))


@lru_cache(maxsize=4096)
def _sides(begin: int, end: int) -> np.ndarray:
    """The weights (3, FINE, SKETCH) of a side, and their derivatives by its two edges."""
    after, before = min(end + NEAR, EDGE), max(begin - NEAR, 0)
    by_begin = (_cosines(begin + NEAR, end, FINE) - _cosines(before, end, FINE)) / (begin + NEAR - before)
    by_end = (_cosines(begin, after, FINE) - _cosines(begin, end - NEAR, FINE)) / (after - end + NEAR)
    return np.stack([_cosines(begin, end, FINE), np.rint(NEAR * by_begin), np.rint(NEAR * by_end)])


def _importance(number: int) -> np.ndarray:
    """Factors (number, number) by which low frequencies, the strongest, count less; the mean does not count."""
    v, u = np.mgrid[:number, :number]
    factors = np.sqrt(np.sqrt(u * u + v * v))
    return np.where((u > 0) & (v > 0), factors, factors / math.sqrt(2))


def find_alike(sketches: np.ndarray, places: np.ndarray, crops: np.ndarray, *, threads: int) -> Candidates:
    """The pairs that are alike, of `crops` int (K, 4) of each picture with the others.

    In: sketches uint8 (N, SKETCH, SKETCH), which may be in a file, and the places int (n,) of those to compare.

    The most alike come first. For each pair it is the best of the crops, once aligned.
    """
    found = _compare(sketches, places, crops, threads=threads)
    for step in range(STEPS + 1):
        parts = [found.at(slice(begin, begin + TILE)) for begin in range(0, len(found.part), TILE)]
        with ThreadPoolExecutor(threads) as pool:
            answers = list(pool.map(partial(_align, sketches), parts))
        if not answers:
            break
        now, promised, boxes = (np.concatenate(each) for each in zip(*answers, strict=True))
        if step == STEPS:
            return _surest(found, now)
        found = Candidates(found.whole, found.part, found.mirrored, boxes).at(promised >= HOPEFUL[step > 0])
    return found


def _surest(pairs: Candidates, correlation: np.ndarray) -> Candidates:
    """Those that are alike, the most alike first, once each: not also with the whole as the part."""
    order = np.lexsort([pairs.part, pairs.whole, -correlation])
    order = order[correlation[order] >= ALIGNED]
    both = np.sort(np.stack([pairs.whole[order], pairs.part[order]]), axis=0)
    return pairs.at(order[np.sort(np.unique(both, axis=1, return_index=True)[1])])


def _describe(sketches: np.ndarray, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The descriptions of the crops of sketches, float32 (N, K, d): those of even, and of odd frequencies across."""
    sides, where = np.unique(np.concatenate([crops[:, :2], crops[:, 2:]]), axis=0, return_inverse=True)
    down, across = where.reshape(2, -1)
    weights = np.concatenate([_cosines(int(begin), int(end), COARSE) for begin, end in sides])
    rows = sketches.reshape(-1, SKETCH).astype(np.float64) @ weights.T  # (N * SKETCH, S * COARSE)
    rows = rows.reshape(len(sketches), SKETCH, -1)
    both = (weights @ rows).reshape(len(sketches), len(sides), COARSE, len(sides), COARSE)
    factors = _importance(COARSE) / UNIT**2 * 256
    values = np.rint(both[:, down, :, across] * factors).astype(np.float64)  # (K, N, COARSE, COARSE)
    norms = np.sqrt((values * values).sum((2, 3)))
    norms[norms < 256 * CONTRAST] = np.inf
    values = np.rint(values * (LENGTH / norms)[:, :, None, None]).transpose(1, 0, 2, 3).astype(np.float32)
    shape = len(sketches), len(crops), -1
    return values[..., ::2].reshape(shape)[:, :, 1:], values[..., 1::2].reshape(shape)


def _compare(sketches: np.ndarray, places: np.ndarray, crops: np.ndarray, *, threads: int) -> Candidates:
    """The most alike pairs, with the best crop of each; their boxes are still those of the grid."""
    whole, step = np.array([WHOLE]), max(1, TILE // len(crops))
    tiles = (_describe(sketches[places[begin : begin + TILE]], whole) for begin in range(0, len(places), TILE))
    wholes = [(even[:, 0].T.copy(), odd[:, 0].T.copy()) for even, odd in tiles]  # (d, T)
    most = min(max(CANDIDATES // max(len(places), 1), 2), 64)

    def search(begin: int) -> np.ndarray:
        ours = _describe(sketches[places[begin : begin + step]], crops)
        found = [_above(ours, tile, begin, TILE * number) for number, tile in enumerate(wholes)]
        score, at, other, crop, mirrored = np.concatenate(found, axis=1)
        order = np.lexsort([other, -score, at])
        few = np.arange(len(at)) - np.searchsorted(at[order], at[order]) < most  # of each picture, the most alike
        return np.stack([at, other, crop, mirrored])[:, order[few]]

    with ThreadPoolExecutor(threads) as pool:
        found = [np.empty((4, 0), int), *pool.map(search, range(0, len(places), step))]
    wholes_at, parts_at, crop, mirrored = np.concatenate(found, axis=1).astype(int)
    return Candidates(places[wholes_at], places[parts_at], mirrored.astype(bool), crops[crop])


def _above(
    ours: tuple[np.ndarray, np.ndarray], wholes: tuple[np.ndarray, np.ndarray], begin: int, other: int
) -> np.ndarray:
    """The pairs of n pictures' crops (n, K, d) and wholes (d, T) that are alike: score, two places, crop, mirrored.

    `begin` and `other` are the places of the first picture and of the first whole.
    """
    count, crops, _ = ours[0].shape
    even = ours[0].reshape(count * crops, -1) @ wholes[0]
    odd = ours[1].reshape(count * crops, -1) @ wholes[1]
    score = np.abs(odd)
    score += even
    score, odd = (each.reshape(count, crops, -1) for each in (score, odd))
    best = score[:, 0] if crops == 1 else score.max(1)
    at, part = np.divmod(np.flatnonzero(best > ALIKE * LENGTH * LENGTH), best.shape[1])
    different = begin + at != other + part
    at, part = at[different], part[different]
    crop = score[at, :, part].argmax(1)
    return np.stack([best[at, part], begin + at, other + part, crop, odd[at, crop, part] < 0])


def _align(sketches: np.ndarray, pairs: Candidates) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For n pairs: the correlation (n,), what it would be with the edges moved, and the moved edges int (n, 4)."""
    down, across = _all_sides(pairs.box[:, :2]), _all_sides(pairs.box[:, 2:])
    factors, full = _importance(FINE) / UNIT**2 * 64, _cosines(0, EDGE, FINE)
    pixels = sketches[pairs.whole].astype(np.float64)
    both = [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2)]  # the crop, and its derivatives by each edge
    rows = [down[:, place] @ pixels for place in range(3)]
    crop = np.stack([rows[y] @ across[:, x].transpose(0, 2, 1) for y, x in both], axis=1)
    seen = full @ sketches[pairs.part].astype(np.float64) @ full.T
    seen[pairs.mirrored, :, 1::2] *= -1
    vectors = np.rint(crop * factors).reshape(len(seen), 5, -1)
    target = np.rint(seen * factors).reshape(len(seen), -1, 1)
    gram = vectors @ vectors.transpose(0, 2, 1)  # exact: whole numbers under 2**20, 64 of them
    shadow = (vectors @ target)[:, :, 0]
    length = np.maximum((target * target).sum((1, 2)), 1)
    now = shadow[:, 0] / np.sqrt(np.maximum(gram[:, 0, 0], 1) * length)
    weights = _solved(gram, shadow)
    inside = sum(weights[i] * shadow[:, i] for i in range(5))
    norm = sum(weights[i] * weights[j] * gram[:, i, j] for i in range(5) for j in range(5))
    promised = inside / np.sqrt(np.maximum(norm, 1) * length)
    scale = np.where(weights[0] > 0.01, weights[0], np.inf)
    limit = round(FARTHEST * EDGE)
    moves = np.stack([np.rint(np.clip(NEAR * weight / scale, -limit, limit)) for weight in weights[1:]], axis=1)
    return now, promised, np.clip(pairs.box + moves.astype(int), 0, EDGE)


def _all_sides(edges: np.ndarray) -> np.ndarray:
    """The weights (n, 3, FINE, SKETCH) of n sides int (n, 2)."""
    different, places = np.unique(edges[:, 0] * (EDGE + 1) + edges[:, 1], return_inverse=True)
    return np.stack([_sides(*divmod(number, EDGE + 1)) for number in different.tolist()])[places]


def _solved(gram: np.ndarray, shadow: np.ndarray) -> list[np.ndarray]:
    """Solve n systems (n, 5, 5), (n, 5) by elimination: LAPACK's order of operations depends on the machine.

    Moves are damped by a hundredth of the picture's energy, so that a picture without detail moves nowhere.
    """
    rows = [[gram[:, i, j] for j in range(5)] for i in range(5)]
    right = [shadow[:, i] for i in range(5)]
    for i in range(5):
        rows[i][i] = rows[i][i] + (0.01 * gram[:, 0, 0] if i else 0) + 1
    for i in range(5):
        for j in range(i + 1, 5):
            factor = rows[j][i] / rows[i][i]
            rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
            right[j] = right[j] - factor * right[i]
    found = list(right)
    for i in reversed(range(5)):
        for j in range(i + 1, 5):
            found[i] = found[i] - rows[i][j] * found[j]
        found[i] = found[i] / rows[i][i]
    return found
