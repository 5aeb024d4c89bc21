"""Intervals and tests for two classifiers on the same images, and for runs over several seeds."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)

Interval = tuple[float, float]


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
    """The exact two-sided p of McNemar's test: as if each image that changed had fallen by a fair coin.

    McNemar 1947, doi:10.1007/BF02295996. Whole numbers throughout, so that no count is too large.
    """
    changed, fewer = fixed + broken, min(fixed, broken)
    ways = total = 1
    for heads in range(fewer):
        ways = ways * (changed - heads) // (heads + 1)
        total += ways
    return min(1.0, 2 * total / 2**changed)


def accuracy_difference(pairs: Pairs) -> Estimate:
    """Top-1 of the new one less that of the base, with Newcombe's interval for paired proportions.

    Method 10 of Newcombe 1998, doi:10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C: two Wilson
    intervals, squared and added, less what the correlation of the two takes away. It stays within -1 and 1.
    """
    new, base = pairs.both + pairs.fixed, pairs.both + pairs.broken
    (p, low_p, high_p), (q, low_q, high_q) = (_wilson(right, pairs.images) for right in (new, base))
    phi = _correlation(pairs)
    down = _added(p - low_p, high_q - q, phi)
    up = _added(high_p - p, q - low_q, phi)
    return Estimate(p - q, p - q - down, p - q + up)


def mean_difference(differences: np.ndarray) -> Estimate:
    """The mean of paired differences (N,), two at least, with Student's t interval."""
    count, mean = len(differences), float(differences.mean())
    reach = critical_t(count - 1, level=LEVEL) * float(differences.std(ddof=1)) / math.sqrt(count)
    return Estimate(mean, mean - reach, mean + reach)


def images_needed(pairs: Pairs, *, power: float = 0.8) -> int | None:
    """How many test images would tell a difference like this one at 5 % with this power; None if there is none.

    Connor 1987, doi:10.2307/2531961, from the observed fractions of changes; an exact test needs slightly more.
    """
    if pairs.fixed == pairs.broken:
        return None
    changed = (pairs.fixed + pairs.broken) / pairs.images
    difference = (pairs.fixed - pairs.broken) / pairs.images
    z_power = NormalDist().inv_cdf(power)
    root = Z * math.sqrt(changed) + z_power * math.sqrt(changed - difference**2)
    return math.ceil((root / difference) ** 2)


def holm(values: list[float]) -> list[float]:
    """Each p as it counts beside the others (Holm 1979, jstor:4615733): below 0.05 once in twenty such families."""
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = largest
    return adjusted


def _wilson(right: int, count: int) -> tuple[float, float, float]:
    """A fraction with Wilson's interval, doi:10.1080/01621459.1927.10502953."""
    share, squared = right / count, Z * Z
    reach = Z * math.sqrt(squared + 4 * right * (1 - share))
    return (
        share,
        (2 * right + squared - reach) / (2 * (count + squared)),
        (2 * right + squared + reach) / (2 * (count + squared)),
    )


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

    Welch 1947, doi:10.1093/biomet/34.1-2.28.
    """
    difference = float(new.mean() - base.mean())
    parts = [float(side.var(ddof=1)) / len(side) for side in (new, base)]
    error = math.sqrt(sum(parts))
    if not error:
        return Estimate(difference, difference, difference), float(difference == 0)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (new, base), strict=True))
    reach = critical_t(freedom, level=LEVEL) * error
    return Estimate(difference, difference - reach, difference + reach), two_sided_p(difference / error, freedom)


STEPS = 300  # of the continued fraction; it settles after some dozens
TINY = 1e-300  # stands in for a zero that would be divided by


def two_sided_p(t: float, freedom: float) -> float:
    """Probability of a |t| at least as large, with `freedom` degrees of freedom, a fraction perhaps."""
    if math.isinf(t):
        return 0.0
    return _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def critical_t(freedom: float, *, level: float = 0.95) -> float:
    """The t whose two tails together hold 1 - `level`."""
    if freedom > 1e5:  # there the two agree to five digits
        return NormalDist().inv_cdf((1 + level) / 2)
    low, high = 0.0, 1.0
    while two_sided_p(high, freedom) > 1 - level:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, freedom) > 1 - level else (low, middle)
    return high


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction is quick on one side only
        return 1 - _incomplete_beta(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction 26.5.8 of Abramowitz and Stegun, from the front (Lentz 1976, doi:10.1364/AO.15.000668)."""
    value, numerator, denominator = 1.0, 1.0, 0.0
    for step in range(STEPS):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominator = 1 / ((1 + term * denominator) or TINY)
        numerator = (1 + term / numerator) or TINY
        value *= numerator * denominator
        if step and abs(numerator * denominator - 1) < 1e-15:
            break
    return value - 1
