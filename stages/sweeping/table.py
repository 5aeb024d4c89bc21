"""The end of a sweep: recipes ranked by validation top-1 over their seeds, with the noise of the seeds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.comparing.paired import LEVEL
from stages.comparing.seeds import welch
from stages.comparing.student import critical_t
from stages.comparing.verdict import ALPHA
from stages.comparing.words import cut, p_value
from stages.sweeping.failure import Failure
from stages.sweeping.grid import SEED, Member, short


@dataclass(frozen=True)
class Recipe:
    """Members that differ in their seed alone: validation top-1 of those that ran, as shares; why the others failed."""

    settings: dict[str, str]  # without the seed
    members: list[Member]
    top1: list[float]
    failed: dict[Member, Failure]

    @property
    def mean(self) -> float:
        return float(np.mean(self.top1))

    @property
    def best(self) -> Member:
        return self.members[int(np.argmax(self.top1))]

    @property
    def fault(self) -> str:
        """What became of the runs that failed: `diverged`, or with several seeds `seed 2 diverged`."""
        if len(self.members) + len(self.failed) == 1:
            return "".join(failure.kind for failure in self.failed.values())
        return ", ".join(f"seed {member.settings[SEED]} {failure.kind}" for member, failure in self.failed.items())

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the mean over all seeds is, by Student's t, from 0 to 1; None of one seed."""
        runs = len(self.top1)
        if runs < 2:
            return None
        reach = critical_t(runs - 1, level=LEVEL) * float(np.std(self.top1, ddof=1)) / math.sqrt(runs)
        return max(0.0, self.mean - reach), min(1.0, self.mean + reach)


def rank(grid: Sequence[Member], top1: Mapping[Member, float], failures: Mapping[Member, Failure]) -> list[Recipe]:
    """Recipes by their mean, the best first, of equal ones the first of the grid; where no run ended, last."""
    recipes: dict[tuple[str, ...], Recipe] = {}
    for member in grid:
        settings = {key: value for key, value in member.settings.items() if key != SEED}
        recipe = recipes.setdefault(member.recipe, Recipe(settings, [], [], {}))
        if member in top1:
            recipe.members.append(member)
            recipe.top1.append(top1[member])
        elif member in failures:
            recipe.failed[member] = failures[member]
    return sorted(recipes.values(), key=lambda recipe: -recipe.mean if recipe.members else math.inf)


def table_lines(recipes: list[Recipe]) -> Iterator[str]:
    """A row a recipe, whether the first is better than the second, and what to do with it."""
    settings = [list(map(short, recipes[0].settings)), *(list(recipe.settings.values()) for recipe in recipes)]
    # What all have in common is on the command line.
    shown = [place for place, (_, *values) in enumerate(zip(*settings, strict=True)) if len(set(values)) > 1]
    figures = [["runs", "val top-1", "sd", "95 % interval"], *map(_figures, recipes)]
    table = [[*(cut(row[place]) for place in shown), *rest] for row, rest in zip(settings, figures, strict=True)]
    if any(recipe.failed for recipe in recipes):
        faults = ["failed", *(recipe.fault for recipe in recipes)]
        table = [[*row, fault] for row, fault in zip(table, faults, strict=True)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    ran = [recipe for recipe in recipes if recipe.members]
    if not ran:
        return
    yield ""
    best = ran[0]
    if len(ran) > 1:
        yield f"  {_verdict(ran)}"
    yield f"  best     {best.best.name}"
    if len(ran) > 1 and min(len(recipe.top1) for recipe in ran[:2]) > 1:
        sides = (",".join(member.name for member in recipe.members) for recipe in ran[:2])
        yield f"  test     python -m stages.compare {' '.join(sides)}"
    yield f"  take it  dvc exp apply {best.best.name} && dvc repro      or dvc exp branch {best.best.name} BRANCH"


def _figures(recipe: Recipe) -> list[str]:
    runs = str(len(recipe.top1))
    if not recipe.members:
        return [runs, "", "", ""]
    mean = f"{100 * recipe.mean:.2f} %"
    if recipe.interval is None:
        return [runs, mean, "", ""]
    low, high = recipe.interval
    return [runs, mean, f"{100 * np.std(recipe.top1, ddof=1):.2f}", f"{100 * low:.2f} to {100 * high:.2f}"]


def _verdict(ran: list[Recipe]) -> str:
    first, second = ran[:2]
    tied = sum(math.isclose(recipe.mean, first.mean) for recipe in ran)
    if tied > 1:
        return f"The first {tied} are tied; more validation images, more seeds or more epochs may part them."
    if min(len(first.top1), len(second.top1)) < 2:
        return f"One run is no answer: the next seed may say otherwise; add -S {SEED}=0,1,2."
    _, p = welch(np.array(first.top1), np.array(second.top1))
    words = "is better than the second over the seeds" if p < ALPHA else "cannot be told from the second at 5 %"
    tries = " (the best of several looks better than it is)" if p < ALPHA else ""
    return f"The first {words}: Welch's t, p = {p_value(p)}{tries}."
