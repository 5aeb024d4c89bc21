"""The table of a sweep's results."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tools.comparing.statistics import critical_t, welch
from tools.comparing.verdict import ALPHA, cut, p_value
from tools.sweeping.grid import SEED, Run, short
from tools.sweeping.results import PRUNED, Failure

NONE = "–"  # an empty cell


@dataclass(frozen=True)
class Recipe:
    """Runs that differ only in their seed: validation top-1 (fractions) of those that ran, and why others failed."""

    settings: dict[str, str]  # without the seed
    runs: list[Run]
    top1: list[float]
    failed: dict[Run, Failure]

    @property
    def mean(self) -> float:
        return float(np.mean(self.top1))

    @property
    def best(self) -> Run:
        return self.runs[int(np.argmax(self.top1))]

    @property
    def fault(self) -> str:
        """Why runs failed: `diverged`, or with several seeds `seed 2 diverged`."""
        if len(self.runs) + len(self.failed) == 1:
            return "".join(failure.reason for failure in self.failed.values())
        return ", ".join(f"seed {run.settings[SEED]} {failure.reason}" for run, failure in self.failed.items())

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean over seeds, by Student's t, within 0 and 1; None for one seed."""
        runs = len(self.top1)
        if runs < 2:
            return None
        reach = critical_t(runs - 1) * float(np.std(self.top1, ddof=1)) / math.sqrt(runs)
        return max(0.0, self.mean - reach), min(1.0, self.mean + reach)


def rank(grid: Sequence[Run], top1: Mapping[Run, float], failures: Mapping[Run, Failure]) -> list[Recipe]:
    """Recipes by their mean, the best first; ties in grid order, recipes without a finished run last."""
    recipes: dict[tuple[str, ...], Recipe] = {}
    for run in grid:
        settings = {key: value for key, value in run.settings.items() if key != SEED}
        recipe = recipes.setdefault(run.recipe, Recipe(settings, [], [], {}))
        if run in top1:
            recipe.runs.append(run)
            recipe.top1.append(top1[run])
        elif run in failures:
            recipe.failed[run] = failures[run]
    return sorted(recipes.values(), key=lambda recipe: -recipe.mean if recipe.runs else math.inf)


def table_lines(recipes: list[Recipe]) -> Iterator[str]:
    """One row per recipe, the test of the first against the second, and the next commands."""
    settings = [list(map(short, recipes[0].settings)), *(list(recipe.settings.values()) for recipe in recipes)]
    # Show only settings that differ, unless there is only one recipe.
    shown = [
        place
        for place, (_, *values) in enumerate(zip(*settings, strict=True))
        if len(set(values)) > 1 or len(recipes) == 1
    ]
    figures = [["runs", "val top-1", "sd", "95 % interval"], *map(_figures, recipes)]
    table = [[*(cut(row[place]) for place in shown), *rest] for row, rest in zip(settings, figures, strict=True)]
    if any(recipe.failed for recipe in recipes):
        pruned = any(failure.kind == PRUNED for recipe in recipes for failure in recipe.failed.values())
        faults = ["pruned or failed" if pruned else "failed", *(recipe.fault or NONE for recipe in recipes)]
        table = [[*row, fault] for row, fault in zip(table, faults, strict=True)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    ran = [recipe for recipe in recipes if recipe.runs]
    if not ran:
        return
    yield ""
    best = ran[0]
    if len(ran) > 1:
        yield f"  {_verdict(ran)}"
    yield f"  best     {best.best.name}"
    if len(ran) > 1 and min(len(recipe.top1) for recipe in ran[:2]) > 1:
        sides = (",".join(run.name for run in recipe.runs) for recipe in ran[:2])
        yield f"  test     python -m tools.compare {' '.join(sides)}"
    yield f"  take it  dvc exp apply {best.best.name} && dvc repro      or dvc exp branch {best.best.name} BRANCH"


def _figures(recipe: Recipe) -> list[str]:
    runs = str(len(recipe.top1))
    if not recipe.runs:
        return [runs, NONE, NONE, NONE]
    mean = f"{100 * recipe.mean:.2f} %"
    if recipe.interval is None:
        return [runs, mean, NONE, NONE]
    low, high = recipe.interval
    return [runs, mean, f"{100 * np.std(recipe.top1, ddof=1):.2f}", f"{100 * low:.2f} to {100 * high:.2f}"]


def _verdict(ran: list[Recipe]) -> str:
    first, second = ran[:2]
    tied = sum(math.isclose(recipe.mean, first.mean) for recipe in ran)
    if tied > 1:
        return f"The first {tied} are tied; more validation images, seeds or epochs may separate them."
    if min(len(first.top1), len(second.top1)) < 2:
        return f"One run per recipe is not enough to tell: add -S {SEED}=0,1,2."
    _, p = welch(np.array(first.top1), np.array(second.top1))
    words = (
        "is better than the second over the seeds"
        if p < ALPHA
        else "does not differ significantly from the second at 5 %"
    )
    tries = " (not corrected for multiple comparisons)" if p < ALPHA else ""
    return f"The first {words}: Welch's t, p = {p_value(p)}{tries}."
