"""The results of a sweep as a table, failed runs with their reason."""

import math
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imageclf.runtime.errors import Busy, DataError, Diverged, MachineError, ParamsError, SourceError, printable
from imageclf.runtime.platform import SIGKILL
from tools.comparing.statistics import critical_t, welch
from tools.comparing.verdict import ALPHA, cut, p_value
from tools.sweeping.grid import SEED, Member, short

STAGE = re.compile(r"^ERROR: failed to reproduce '.*': failed to run: .* exited with (-?\d+)$", re.MULTILINE)
DVC = re.compile(r"^ERROR: (.*)$", re.MULTILINE)
KILLED = 128 + SIGKILL
KINDS = {
    ParamsError.exit_code: "refused by params.yaml",
    DataError.exit_code: "data",
    SourceError.exit_code: "no source",
    MachineError.exit_code: "machine",
    Diverged.exit_code: "diverged",
    Busy.exit_code: "busy",
    128 + signal.SIGINT: "stopped",
    128 + signal.SIGTERM: "stopped",
    KILLED: "killed",
}
ADVICE = {  # by kind: what the same line again is worth
    "stopped": "the same line again goes on with {}",
    "killed": "the same line again goes on with {}",
    "busy": "the same line again runs {}",
    "no source": "the same line again runs {}",
    "diverged": "leave out {}: it would diverge again",
    "refused by params.yaml": "leave out {}: it would be refused again",
}
OTHERWISE = "mend what stopped {}, then give the same line again"


@dataclass(frozen=True)
class Failure:
    """One word or two for a table, and what the run said last."""

    kind: str
    sentence: str


def read_failure(log: Path) -> Failure:
    """Why the run with this log failed."""
    text = log.read_text(errors="replace")
    ended = STAGE.search(text)
    if not ended:
        # DVC itself: a file that is missing, a workspace that it could not make.
        reasons = DVC.findall(text) or [line for line in text.splitlines() if line.strip()][-1:]
        return Failure("refused by dvc", printable((reasons or [f"{log} is empty"])[0]))
    # bash becomes the stage, and ends by its signal, -9; dash waits for it, and ends with 128 more.
    code = int(ended[1]) if int(ended[1]) >= 0 else 128 - int(ended[1])
    said = [line for line in text[: ended.start()].splitlines() if line.strip()]
    sentence = "its stage was killed by signal 9" if code == KILLED else (said or [ended[0]])[-1]
    return Failure(KINDS.get(code, "failed"), printable(sentence))


def advice(failures: dict[str, Failure]) -> str:
    """What to do about the failures of some runs, by what they are called."""
    groups: dict[str, list[str]] = {}
    for name, failure in failures.items():
        groups.setdefault(ADVICE.get(failure.kind, OTHERWISE), []).append(name)
    return "; ".join(words.format(_counted(names)) for words, names in groups.items())


def _counted(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    # Brackets hold together what has commas in it.
    return " and ".join(f"({name})" if ", " in name else name for name in names[:3]) + more


NONE = "–"  # in a cell that has nothing to say


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
        reach = critical_t(runs - 1) * float(np.std(self.top1, ddof=1)) / math.sqrt(runs)
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
    # What all have in common is on the command line; of one recipe that is all there is to call it by.
    shown = [
        place
        for place, (_, *values) in enumerate(zip(*settings, strict=True))
        if len(set(values)) > 1 or len(recipes) == 1
    ]
    figures = [["runs", "val top-1", "sd", "95 % interval"], *map(_figures, recipes)]
    table = [[*(cut(row[place]) for place in shown), *rest] for row, rest in zip(settings, figures, strict=True)]
    if any(recipe.failed for recipe in recipes):
        faults = ["failed", *(recipe.fault or NONE for recipe in recipes)]
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
        yield f"  test     python -m tools.compare {' '.join(sides)}"
    yield f"  take it  dvc exp apply {best.best.name} && dvc repro      or dvc exp branch {best.best.name} BRANCH"


def _figures(recipe: Recipe) -> list[str]:
    runs = str(len(recipe.top1))
    if not recipe.members:
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
        return f"The first {tied} are tied; more validation images, more seeds or more epochs may part them."
    if min(len(first.top1), len(second.top1)) < 2:
        return f"One run is no answer: the next seed may say otherwise; add -S {SEED}=0,1,2."
    _, p = welch(np.array(first.top1), np.array(second.top1))
    words = "is better than the second over the seeds" if p < ALPHA else "cannot be told from the second at 5 %"
    tries = " (the best of several looks better than it is)" if p < ALPHA else ""
    return f"The first {words}: Welch's t, p = {p_value(p)}{tries}."
