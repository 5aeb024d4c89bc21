"""Intervals and tests for runs over several seeds, and for several tests at once."""

import math
from dataclasses import dataclass

import numpy as np

from imageclf.evaluation.paired import UPPER, Estimate


def mean_difference(differences: np.ndarray) -> Estimate:
    """The mean of paired differences (N,), two at least, with Student's t interval."""
    count, mean = len(differences), float(differences.mean())
    reach = critical_t(count - 1) * float(differences.std(ddof=1)) / math.sqrt(count)
    return Estimate(mean, mean - reach, mean + reach)


def holm(values: list[float]) -> list[float]:
    """Each p as it counts beside the others (Holm 1979, jstor:4615733): below 0.05 once in twenty such families."""
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = largest
    return adjusted


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
