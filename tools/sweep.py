"""Run a grid of params and rank the results: `python -m tools.sweep -S train.lr=0.05,0.1 -S train.seed=0,1,2`.

Each run is a DVC experiment in its own workspace, up to evaluate. The runs follow one another, since a run uses all
cores. Run the same line again to add the missing runs; a killed run continues from its checkpoint. The exit code is 0
if all runs are there and 1 if one failed. The ranking is by validation top-1, never by test images. Params, paths and
models are checked before the first run trains.
"""

import argparse
import json
import sys

from imageclf.images.dataset import NOTHING_TO_RANK, RANKED
from imageclf.runtime.errors import DataError
from imageclf.runtime.stage import run_tool
from tools.repository import git
from tools.sweeping.grid import Run, planned_runs, remarks
from tools.sweeping.members import finished, run_members, uncommitted_code
from tools.sweeping.table import advice, rank, table_lines


def main() -> None:
    # 1. Find the runs that are missing.
    grid, done = planned_runs(_arguments().set, uncommitted_code()), finished()
    missing = [run for run in grid if run.name not in done]
    for run in grid:
        if run.name in done:
            _top1(run, done[run.name])  # fails early if an old run has none
    print(
        f"sweep: {len(grid)} run{'s' if len(grid) > 1 else ''}, {len(grid) - len(missing)} of them done before",
        *remarks(grid),
        sep="\n",
        flush=True,
    )

    # 2. Run them one after the other.
    failures = run_members("sweep", missing, environment={RANKED: "1"})

    # 3. Print the ranking.
    done = finished()
    top1 = {run: _top1(run, done[run.name]) for run in grid if run.name in done}
    print("\n" + "\n".join(table_lines(rank(grid, top1, failures))), flush=True)
    if failures:
        named = {str(run): failure for run, failure in failures.items()}
        print(f"sweep: {len(failures)} of {len(grid)} runs failed; {advice(named)}", file=sys.stderr)
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.sweep", description="Run every combination of the given values, and rank the recipes."
    )
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        required=True,
        metavar="KEY=VALUE,VALUE",
        help="a param and its values; repeat the option for another param",
        dest="set",
    )
    return parser.parse_args()


def _top1(run: Run, commit: str) -> float:
    metrics = json.loads(git("show", f"{commit}:./metrics/train.json") or "{}")
    if "val" not in metrics:
        raise DataError(f"{run.name} has no validation top-1: {NOTHING_TO_RANK}")
    return float(metrics["val"]["top1"])


if __name__ == "__main__":
    run_tool(main)
