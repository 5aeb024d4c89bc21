"""Intervals and tests for two classifiers on the same images, and for runs over several seeds."""

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


def mean_difference(differences: np.ndarray) -> Estimate:
    """The mean of paired differences (N,), two at least, with Student's t interval."""
    count, mean = len(differences), float(differences.mean())
    reach = critical_t(count - 1) * float(differences.std(ddof=1)) / math.sqrt(count)
    return Estimate(mean, mean - reach, mean + reach)


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


def holm(values: list[float]) -> list[float]:
    """Each p as it counts beside the others (Holm 1979, jstor:4615733): below 0.05 once in twenty such families."""
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = largest
    return adjusted


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


@dataclass(frozen=True)
class Samples:
    """One figure of k runs a side, and the difference of the means by both kinds of noise."""

    new: list[float]
    base: list[float]
    over_seeds: Estimate
    p: float  # of Welch's test over the seeds
    over_images: Estimate


def compare_runs(new: np.ndarray, base: np.ndarray) -> Samples:
    """Compare what each run gave each image, (runs, N) on both sides."""
    new_runs, base_runs = new.mean(axis=1), base.mean(axis=1)
    over_seeds, p = welch(new_runs, base_runs)
    over_images = mean_difference(new.mean(axis=0) - base.mean(axis=0))
    return Samples([float(run) for run in new_runs], [float(run) for run in base_runs], over_seeds, p, over_images)


def welch(new: np.ndarray, base: np.ndarray) -> tuple[Estimate, float]:
    """The difference of two means with its interval and p, whatever their spreads; two values a side at least.

    Welch 1947, doi:10.1093/biomet/34.1-2.28. SciPy's ttest_ind warns where the values of a side are equal.
    """
    from scipy.stats import t  # here, because its import takes a second

    difference = float(new.mean() - base.mean())
    parts = [float(side.var(ddof=1)) / len(side) for side in (new, base)]
    error = math.sqrt(sum(parts))
    if not error:
        return Estimate(difference, difference, difference), float(difference == 0)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (new, base), strict=True))
    reach = critical_t(freedom) * error
    p = 2 * float(t.sf(abs(difference) / error, freedom))
    return Estimate(difference, difference - reach, difference + reach), p


def critical_t(freedom: float) -> float:
    """The reach of a 95 % interval in standard errors, with `freedom` degrees of freedom, possibly a fraction."""
    from scipy.stats import t

    return float(t.ppf(UPPER, freedom))
