"""TPE and halving against a grid, at equal numbers of runs: `python -m benchmarks.search` after `dvc repro prepare`.

Three repetitions of each, with another seed of training and of the search. The runs are those of `tools.sweep`, each
in a process forked from this one in place of a DVC experiment, so that the minutes are of training alone. It prints the
best validation top-1 after so many runs, and the CPU minutes until then. `-S` changes what all runs have in common.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.changes import change_params, changes_of
from imageclf.config.params import read_params
from imageclf.images.dataset import PREPARED
from imageclf.runtime.errors import DataError, Diverged, Pruned
from imageclf.runtime.stage import run_tool
from imageclf.training.features import FEATURES
from stages import train
from tools.sweep import Grid
from tools.sweeping.grid import Run, planned_runs
from tools.sweeping.results import PRUNED, Experiments, Failure, Finished
from tools.sweeping.search import Search
from tools.sweeping.space import read_space

RATES = "0.001,0.004,0.016,0.06,0.25,1"
OPTIMIZERS = "train.optimizer=sgd,adamw,muon"
REPETITIONS, RUNS = 3, 18
SHOWN = (9, 18)  # runs
ENDED = {Pruned.exit_code: PRUNED, Diverged.exit_code: "diverged"}


class InMemory(Experiments):
    """Results of runs that are no experiments."""

    def __init__(self) -> None:
        self.baseline = ""
        self._results = {}

    def look_again(self) -> None:
        """There is nowhere to look."""

    def result(self, name: str) -> Finished | None:
        """Of the run with this name."""
        return self._results.get(name)

    def add(self, name: str, result: Finished) -> None:
        """Keep the result of a run."""
        self._results[name] = result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-S", action="append", default=[], dest="set", metavar="KEY=VALUE")
    given = parser.parse_args().set
    courses: dict[str, list[list[tuple[float, float]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for repetition in range(REPETITIONS):
            for kind in ("grid", "tpe", "halving"):
                place = Path(folder, f"{kind}-{repetition}")
                place.mkdir()
                course = _course(kind, [*given, f"train.seed={repetition}"], repetition, place)
                courses.setdefault(kind, []).append(course)
                print(kind, repetition, *(f"{100 * best:.2f}" for best, _ in course), flush=True)
    print("\n| runs chosen by | " + " | ".join(f"best of {count} runs | CPU minutes" for count in SHOWN) + " |")
    print("|---|" + "---|---|" * len(SHOWN))
    for kind, repeated in courses.items():
        after = [*zip(*repeated, strict=True)]  # of each run, the repetitions
        print(f"| {kind} | " + " | ".join(_cells(after[count - 1]) for count in SHOWN) + " |")


def _course(kind: str, given: Sequence[str], repetition: int, place: Path) -> list[tuple[float, float]]:
    """After each run: the best validation top-1 so far, and the CPU seconds until then."""
    results = InMemory()
    plan: Grid | Search
    if kind == "grid":
        plan = Grid(planned_runs([f"train.lr={RATES}", OPTIMIZERS, *given], b""), results)
    else:
        low, *_, high = RATES.split(",")
        space = read_space([f"train.lr={low}..{high}", OPTIMIZERS, *given], b"")
        plan = Search(space, kind=kind, recipes=RUNS, seed=repetition, jobs=1, folder=place, experiments=results)
    course, best, spent = [], 0.0, 0.0
    while run := plan.next_run():
        code, seconds = _execute(run, plan.environment(run), place / run.name)
        spent += seconds
        if code == 0:
            metrics = json.loads((place / run.name / "metrics/train.json").read_text())
            rows = (place / run.name / "metrics/history.csv").read_text().splitlines()
            column = rows[0].split(",").index("val_top1")
            top1 = metrics["val"]["top1"]
            results.add(run.name, Finished(top1, [float(row.split(",")[column]) for row in rows[1:]]))
            best = max(best, top1)
        elif code in ENDED:
            plan.failed(run, Failure(ENDED[code], f"exit code {code}"))
        else:
            raise DataError(f"{run} failed: {(place / run.name / 'log').read_text().splitlines()[-1]}")
        course.append((best, spent))
    return course


def _execute(run: Run, environment: dict[str, str], folder: Path) -> tuple[int, float]:
    """Train one run in a folder of its own; its exit code and CPU seconds, those of its workers too."""
    process = multiprocessing.get_context("fork").Process(target=_train, args=(run, environment, folder))
    before = os.times()
    process.start()
    process.join()
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert process.exitcode is not None
    return process.exitcode, spent


def _train(run: Run, environment: dict[str, str], folder: Path) -> None:
    place = folder / "data"
    place.mkdir(parents=True)
    place.joinpath("prepared").symlink_to(PREPARED.absolute())
    for shared in (FEATURES, train.PASSED):  # as experiments share them
        shared.mkdir(parents=True, exist_ok=True)
    for name in (FEATURES, train.PASSED, Path(read_params().train.weights)):
        if not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(name.absolute())
    shutil.copy("params.yaml", folder)
    change_params(folder / "params.yaml", changes_of([f"{key}={value}" for key, value in run.settings.items()]))
    os.environ.update(environment | {"DVC_ROOT": str(folder)})
    os.chdir(folder)
    with Path("log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        run_tool(_train_stage)


def _train_stage() -> None:
    print(train.main())


def _cells(repeated: Sequence[tuple[float, float]]) -> str:
    best = [100 * each for each, _ in repeated]
    minutes = statistics.mean(seconds for _, seconds in repeated) / 60
    return f"{statistics.mean(best):.2f} % ± {statistics.stdev(best):.2f} | {minutes:.1f}"


if __name__ == "__main__":
    run_tool(main)
