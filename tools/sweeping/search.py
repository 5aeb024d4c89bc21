"""A search: which run comes next, which are pruned, and what has to be remembered of them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imageclf.images.dataset import RANKED
from imageclf.runtime.errors import DataError
from imageclf.runtime.files import write_json
from imageclf.training.pruning import environment
from tools.sweeping.grid import Run, planned_runs
from tools.sweeping.results import PRUNED, Experiments, Failure
from tools.sweeping.space import Space, Tried, suggest

FACTOR = 2  # of the runs at a point of their schedule, one in two goes on
POINTS = (4, 2)  # a run is judged after a quarter and after half of its epochs
FINAL = (PRUNED, "diverged", "refused by params.yaml")  # another try would end alike


def epochs_to_judge(epochs: int) -> dict[int, int]:
    """After which of a run's epochs it is judged, by the fraction of them: {4: 3, 2: 5} for 9 epochs."""
    points = {-(-epochs // point): point for point in POINTS}  # after the same epoch only once
    return {point: epoch for epoch, point in points.items() if epoch < epochs}


def needed_top1(rivals: Sequence[float]) -> float | None:
    """The top-1 from which a run is in the best half of its rivals and itself; None while they are too few.

    Asynchronous successive halving (Li et al. 2018, arXiv:1810.05934), where what is promoted trains on.
    """
    best = (len(rivals) + 1) // FACTOR
    return sorted(rivals, reverse=True)[best - 1] if best else None


@dataclass
class Memory:
    """What a search has to remember besides its experiments: its recipes, and the runs that are over without one."""

    path: Path
    recipes: list[dict[str, str]] = field(default_factory=list)
    over: dict[str, Failure] = field(default_factory=dict)  # by the run's name
    by_epoch: dict[str, list[float]] = field(default_factory=dict)  # validation top-1 of the pruned ones

    @classmethod
    def read(cls, path: Path) -> "Memory":
        """The memory at `path`, empty if there is none.

        Raises:
            DataError: it is damaged.
        """
        if not path.exists():
            return cls(path)
        try:
            known: dict[str, Any] = json.loads(path.read_text())
            over = {name: Failure(**failure) for name, failure in known["over"].items()}
            return cls(path, known["recipes"], over, known["by_epoch"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(f"{path} is damaged; remove it, and the same line makes it again") from None

    def write(self) -> None:
        """Keep it, so that the same line goes on."""
        over = {name: asdict(failure) for name, failure in self.over.items()}
        write_json(self.path, {"recipes": self.recipes, "over": over, "by_epoch": self.by_epoch})


class Search:
    """Suggests recipes one after the other, each run with every seed.

    A recipe depends on those before it that are surely over: with N jobs, all but the last N - 1. So a search gives the
    same recipes however long its runs take.
    """

    def __init__(
        self,
        space: Space,
        *,
        kind: str,
        recipes: int,
        seed: int,
        jobs: int,
        folder: Path,
        experiments: Experiments,
    ) -> None:
        """The memory is in `folder`, which exists or is made."""
        self._space, self._recipes, self._seed, self._jobs = space, recipes, seed, jobs
        self._halving, self._result = kind == "halving", experiments.result
        identity = repr((kind, seed, experiments.baseline, [run.name for run in space.ends], space.axes)).encode()
        self._memory = Memory.read(folder / f"{kind}-{hashlib.sha256(identity).hexdigest()[:8]}.json")
        self._trials = [planned_runs(space.changes(recipe), space.code) for recipe in self._memory.recipes[:recipes]]
        self.total, self.extent = recipes * space.seeds, space.ends
        over = self._memory.over
        self.failures = {run: over[run.name] for run in self.runs if run.name in over}
        self._begun = set[Run]()
        while len(self._trials) < recipes and all(map(self._is_over, self.runs)):
            self._suggest()  # it may be among the experiments

    @property
    def runs(self) -> list[Run]:
        """All so far."""
        return [run for trial in self._trials for run in trial]

    def next_run(self) -> Run | None:
        """The next to start; None if one has to end first, or none is left."""
        for index in range(self._recipes):
            if not all(map(self._is_over, self._before(index))):
                return None
            if index == len(self._trials):
                self._suggest()
            for run in self._trials[index]:
                if run not in self._begun and not self._is_over(run):
                    self._begun.add(run)
                    return run
        return None

    def environment(self, run: Run) -> dict[str, str]:
        """What its stages are told: with halving, the validation top-1 by epoch below which it is pruned."""
        return {RANKED: "1"} | (environment(self._needed(run), self._record(run)) if self._halving else {})

    def _needed(self, run: Run) -> dict[int, float]:
        index = next(index for index, trial in enumerate(self._trials) if run in trial)
        rivals = [(epochs_to_judge(other.epochs), self._by_epoch(other)) for other in self._before(index)]
        found = {}
        for point, epoch in epochs_to_judge(run.epochs).items():
            reached = [top1[epochs[point] - 1] for epochs, top1 in rivals if len(top1) >= epochs.get(point, 1 << 30)]
            if (least := needed_top1(reached)) is not None:
                found[epoch] = least
        return found

    def _record(self, run: Run) -> Path:
        """The file for the validation top-1 by epoch of a run that is pruned."""
        return self._memory.path.parent / f"{run.name}.pruned.json"

    @property
    def lost(self) -> dict[Run, Failure]:
        """Runs without a result that another try may bring."""
        return {run: failure for run, failure in self.failures.items() if failure.kind not in FINAL}

    def failed(self, run: Run, failure: Failure) -> None:
        """Take in that a run has no result."""
        self.failures[run] = failure
        if failure.kind == PRUNED:
            self._memory.by_epoch[run.name] = json.loads(self._record(run).read_text())
            self._record(run).unlink()
        if failure.kind in FINAL:
            self._memory.over[run.name] = failure
            self._memory.write()

    def _before(self, index: int) -> list[Run]:
        """The runs that must be over before the recipe of this index is chosen and started."""
        return [run for trial in self._trials[: max(0, index - self._jobs + 1)] for run in trial]

    def _is_over(self, run: Run) -> bool:
        return run in self.failures or self._result(run.name) is not None

    def _by_epoch(self, run: Run) -> list[float]:
        result = self._result(run.name)
        return result.by_epoch if result else self._memory.by_epoch.get(run.name, [])

    def _suggest(self) -> None:
        over = max(0, len(self._trials) - self._jobs + 1)
        tried = [self._tried(index, running=index >= over) for index in range(len(self._trials))]
        recipe = suggest(self._space, tried, seed=self._seed)
        self._trials.append(planned_runs(self._space.changes(recipe), self._space.code))
        self._memory.recipes.append(recipe)
        self._memory.write()

    def _tried(self, index: int, *, running: bool) -> Tried:
        recipe, runs = self._memory.recipes[index], self._trials[index]
        if running:
            return Tried(recipe, running=True)
        if pruned := [self._memory.by_epoch[run.name] for run in runs if run.name in self._memory.by_epoch]:
            longest = max(pruned, key=len)
            return Tried(recipe, pruned=(len(longest), longest[-1]))
        top1 = [result.top1 for result in map(self._result, (run.name for run in runs)) if result]
        if top1:
            return Tried(recipe, top1=float(np.mean(top1)))
        return Tried(recipe, unfit=any(self.failures[run].kind in FINAL for run in runs))
