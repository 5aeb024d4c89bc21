"""Two classifiers on the same images: intervals and tests."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from imageclf.evaluation.scores import wilson_interval

UPPER = 0.975  # 95 % of a distribution lies between its quantiles at 0.025 and here


@dataclass(frozen=True)
class Estimate:
    """A difference with its 95 % interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Pairs:
    """The number of images that both have correct, only the new one (fixed), only the base (broken), neither."""

    both: int
    fixed: int
    broken: int
    neither: int

    @property
    def images(self) -> int:
        return self.both + self.fixed + self.broken + self.neither


def count_pairs(new: np.ndarray, base: np.ndarray) -> Pairs:
    """Count from bool (N,) each: whether the new one and the base have an image correct."""
    both, neither = int((new & base).sum()), int((~new & ~base).sum())
    return Pairs(both, int((new & ~base).sum()), int((~new & base).sum()), neither)


def mcnemar_p(fixed: int, broken: int) -> float:
    """The exact two-sided p of McNemar's test (McNemar 1947, doi:10.1007/BF02295996), a binomial test at one half."""
    from scipy.stats import binomtest  # here, because its import takes a second

    return float(binomtest(fixed, fixed + broken).pvalue) if fixed + broken else 1.0


def accuracy_difference(pairs: Pairs) -> Estimate:
    """Top-1 of the new one less that of the base, with Newcombe's interval for paired proportions.

    Method 10 of Newcombe 1998, doi:10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C: two Wilson
    intervals, squared and added, less what the correlation of the two takes away. It stays within -1 and 1.
    """
    new, base = pairs.both + pairs.fixed, pairs.both + pairs.broken
    p, q = new / pairs.images, base / pairs.images
    (low_p, high_p), (low_q, high_q) = (wilson_interval(right, pairs.images) for right in (new, base))
    phi = _correlation(pairs)
    down = _added(p - low_p, high_q - q, phi)
    up = _added(high_p - p, q - low_q, phi)
    return Estimate(p - q, p - q - down, p - q + up)


def images_needed(pairs: Pairs, *, power: float = 0.8) -> int | None:
    """How many test images would tell a difference like this one at 5 % with this power; None if there is none.

    Connor 1987, doi:10.2307/2531961, from the observed fractions of changes; an exact test needs slightly more.
    """
    if pairs.fixed == pairs.broken:
        return None
    changed = (pairs.fixed + pairs.broken) / pairs.images
    difference = (pairs.fixed - pairs.broken) / pairs.images
    z, z_power = NormalDist().inv_cdf(UPPER), NormalDist().inv_cdf(power)
    root = z * math.sqrt(changed) + z_power * math.sqrt(changed - difference**2)
    return math.ceil((root / difference) ** 2)


def _correlation(pairs: Pairs) -> float:
    """Newcombe's phi, drawn towards 0 by half an image for each where it is above 0."""
    new, base = pairs.both + pairs.fixed, pairs.both + pairs.broken
    product = new * (pairs.images - new) * base * (pairs.images - base)
    if not product:
        return 0.0
    excess = pairs.both * pairs.neither - pairs.fixed * pairs.broken
    return (max(excess - pairs.images / 2, 0.0) if excess > 0 else excess) / math.sqrt(product)


def _added(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))
