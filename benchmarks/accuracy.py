"""Whole runs over several seeds: `python -m benchmarks.accuracy default`, after `dvc repro prepare`; long.

For each seed the stages train and evaluate run in a clone of the last commit, and the notes' script takes its turn, as
a yardstick of time. `python -m benchmarks.accuracy NAME -S train.epochs=5` changes params as dvc's -S does. Writes the
section accuracy of benchmarks/results.json and benchmarks/RESULTS.md.
"""

import argparse
import json
import re
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.changes import Changes, change_params, changes_of, words
from benchmarks.results import PAGE, RESULTS, keep, known_section, this_machine
from benchmarks.whole_run import clone_project, run_module, uncommitted
from imageclf.runtime.errors import ParamsError
from imageclf.runtime.stage import run_tool


def main() -> None:
    asked = _parser().parse_args()
    changes = changes_of(asked.changes)
    if bool(changes) == (asked.recipe == "default"):
        raise ParamsError(f"{asked.recipe} with {words(changes)}: the name default, and no other, goes without -S")
    print(f"accuracy: {asked.recipe} ({words(changes)}), seeds {asked.seeds}", flush=True)
    if uncommitted():
        print("accuracy: what is not committed is not measured", flush=True)
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary, "project")
        clone_project(clone, changes)
        for seed in asked.seeds:
            runs.append(_run(clone, seed))
            made_with = json.loads((clone / "models/classifier/card.json").read_text())["made_with"]
            # After every seed: hours of work are not lost with the last one.
            figures = accuracy_figures(runs, changes, made_with)
            kind = made_with["processor"]
            drawn = keep("accuracy", known_section("accuracy", kind) | {asked.recipe: figures}, kind)
    print(f"\n{drawn}")
    print(f"kept in {RESULTS}, {PAGE}")


def _run(clone: Path, seed: int) -> dict[str, Any]:
    change_params(clone / "params.yaml", {"train.seed": seed})
    train_seconds, _ = run_module("stages.train", clone)
    evaluate_seconds, _ = run_module("stages.evaluate", clone)
    _, printed = run_module("benchmarks.notes_script", clone, "--seed", str(seed))
    epochs = notes_epochs(printed)
    run = {
        "seed": seed,
        "top1_percent": 100 * json.loads((clone / "metrics/evaluate.json").read_text())["top1"],
        "train_seconds": train_seconds,
        "evaluate_seconds": evaluate_seconds,
        "notes_seconds": sum(seconds for seconds, _ in epochs),
        "notes_top1_percent": epochs[-1][1],
    }
    print(f"seed {seed}: test top-1 {run['top1_percent']:.2f} %, train {train_seconds:.1f} s", flush=True)
    return run


def notes_epochs(printed: str) -> list[tuple[float, float]]:
    """Seconds, without those of scoring, and test top-1 in percent of each epoch of the notes' script."""
    lines = re.findall(r"^epoch \d+: ([\d.]+) s, test top-1 ([\d.]+) %", printed, re.MULTILINE)
    return [(float(seconds), float(top1)) for seconds, top1 in lines]


def accuracy_figures(runs: Sequence[dict[str, Any]], changes: Changes, made_with: dict[str, str]) -> dict[str, Any]:
    """Mean and standard deviation of each figure, and train's time over that of the notes' two epochs."""
    of_torch = {"torch": made_with["torch"], "processor_kind": made_with["processor"]}
    figures = {name: _mean([run[name] for run in runs]) for name in runs[0] if name != "seed"}
    ratios = [run["train_seconds"] / run["notes_seconds"] for run in runs]
    return figures | {
        "machine": this_machine(of_torch),
        "changes": changes,
        "runs": [{name: round(value, 3) for name, value in run.items()} for run in runs],
        "train_to_notes": round(statistics.mean(ratios), 3),
    }


def _mean(values: Sequence[float]) -> dict[str, float | None]:
    deviation = round(statistics.stdev(values), 3) if len(values) > 1 else None
    return {"mean": round(statistics.mean(values), 3), "deviation": deviation}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipe", help="what its row is called; default: params.yaml as it is")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("-S", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    return parser


if __name__ == "__main__":
    run_tool(main)
