"""The table of a sweep's results, and why runs failed."""

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
from tools.sweeping.grid import SEED, Run, short

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
ADVICE = {  # by kind of failure
    "stopped": "run the same line again to continue {}",
    "killed": "run the same line again to continue {}",
    "busy": "run the same line again to run {}",
    "no source": "run the same line again to run {}",
    "diverged": "leave out {}: it would diverge again",
    "refused by params.yaml": "leave out {}: it would be refused again",
}
OTHERWISE = "fix what stopped {}, then run the same line again"


@dataclass(frozen=True)
class Failure:
    """The kind of failure, for a table, and the run's error message."""

    kind: str
    sentence: str


def read_failure(log: Path) -> Failure:
    """Why the run with this log failed."""
    text = log.read_text(errors="replace")
    ended = STAGE.search(text)
    if not ended:
        # DVC itself failed: a file is missing, or a workspace could not be made.
        reasons = DVC.findall(text) or [line for line in text.splitlines() if line.strip()][-1:]
        return Failure("refused by dvc", printable((reasons or [f"{log} is empty"])[0]))
    # bash execs the stage and reports its signal as -9; dash waits for it and reports 128 + 9.
    code = int(ended[1]) if int(ended[1]) >= 0 else 128 - int(ended[1])
    said = [line for line in text[: ended.start()].splitlines() if line.strip()]
    sentence = "its stage was killed by signal 9" if code == KILLED else (said or [ended[0]])[-1]
    return Failure(KINDS.get(code, "failed"), printable(sentence))


def advice(failures: dict[str, Failure]) -> str:
    """What to do about failed runs, by their names."""
    groups: dict[str, list[str]] = {}
    for name, failure in failures.items():
        groups.setdefault(ADVICE.get(failure.kind, OTHERWISE), []).append(name)
    return "; ".join(words.format(_counted(names)) for words, names in groups.items())


def _counted(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    # Brackets around names with commas.
    return " and ".join(f"({name})" if ", " in name else name for name in names[:3]) + more


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
            return "".join(failure.kind for failure in self.failed.values())
        return ", ".join(f"seed {run.settings[SEED]} {failure.kind}" for run, failure in self.failed.items())

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
        faults = ["failed", *(recipe.fault or NONE for recipe in recipes)]
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
