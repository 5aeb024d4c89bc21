"""Several runs a side: what another seed would do, beside what other images would do.

The two are different noise. One run against another can be told apart by its images and still be nothing but a lucky
seed; runs over seeds can agree and still hang on the few images of the test set.
"""

import math
from dataclasses import dataclass

import numpy as np

from stages.comparing.paired import LEVEL, Estimate, mean_difference
from stages.comparing.student import critical_t, two_sided_p


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
