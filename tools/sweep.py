"""Run a grid of params and rank the results: `python -m tools.sweep -S train.lr=0.05,0.1 -S train.seed=0,1,2`.

Each run is a DVC experiment in its own workspace, up to evaluate. The runs follow one another, since a run uses all
cores. Run the same line again to add the missing runs; a killed run continues from its checkpoint. The exit code is 0
if all runs are there and 1 if one failed. The ranking is by validation top-1, never by test images. Params, paths and
models are checked before the first run trains.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

from imageclf.images.dataset import NOTHING_TO_RANK, RANKED
from imageclf.runtime.errors import DataError, Stopped
from imageclf.runtime.platform import interrupt_group, start_in_group
from imageclf.runtime.stage import run_tool
from tools.comparing.revisions import experiments
from tools.repository import git
from tools.sweeping.grid import Run, planned_runs, remarks
from tools.sweeping.table import Failure, advice, rank, read_failure, table_lines

LOGS = Path("logs/sweep")
UP_TO = "evaluate"
RESULTS = (":!metrics", ":!dvc.lock", ":!params.yaml")  # not code


def main() -> None:
    # 1. Find the runs that are missing.
    grid, done = planned_runs(_arguments().set, _uncommitted_code()), _done()
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
    failures = _run_all(missing)

    # 3. Print the ranking.
    done = _done()
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


def _uncommitted_code() -> bytes:
    if git("rev-parse", "--quiet", "--verify", "HEAD") is None:
        raise DataError("nothing is committed here; git add -A && git commit, since DVC ties runs to a commit")
    return (git("diff", "HEAD", "--", ".", *RESULTS) or "").encode()


def _done() -> dict[str, str]:
    """The commits of this commit's experiments, by name."""
    head = (git("rev-parse", "HEAD") or "").strip()
    return {found.name: found.commit for found in experiments() if found.baseline == head}


def _run_all(missing: list[Run]) -> dict[Run, Failure]:
    """Run them; returns the failures."""
    failures, begun = {}, time.monotonic()
    with tqdm(total=len(missing), desc="sweep", unit="run", leave=False, disable=not sys.stderr.isatty()) as bar:
        for before, run in enumerate(missing):
            left = (time.monotonic() - begun) / before * (len(missing) - before) if before else None
            words = f", {tqdm.format_interval(left)} left" if left else ""
            bar.write(f"sweep: {before + 1} of {len(missing)}{words}: {run}; tail -f {_log(run)}")
            sys.stdout.flush()
            if not _execute(run):
                failure = read_failure(_log(run))
                if NOTHING_TO_RANK in failure.sentence:
                    raise DataError(f"sweep: {run}: {failure.sentence}")
                failures[run] = failure
                bar.write(f"sweep: {run} failed: {failure.sentence}")
            bar.update()
    return failures


def _execute(run: Run) -> bool:
    """Run one experiment; its output goes to its log."""
    log = _log(run)
    log.parent.mkdir(parents=True, exist_ok=True)
    changes = [f"--set-param={key}={value}" for key, value in run.settings.items()]
    command = ["dvc", "exp", "run", "--temp", f"--name={run.name}", *changes, UP_TO]
    with log.open("w") as file:
        # In its own process group, so that Ctrl-C reaches it only once: from here, not from the terminal.
        environment = os.environ | {RANKED: "1"}
        dvc = start_in_group(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment)
        try:
            return dvc.wait() == 0
        except BaseException as reason:
            interrupt_group(dvc)
            dvc.wait()
            if isinstance(reason, KeyboardInterrupt):
                raise Stopped("sweep: stopped by Ctrl-C; run the same line again to continue", signal.SIGINT) from None
            raise


def _log(run: Run) -> Path:
    return LOGS / f"{run.name}.log"


def _top1(run: Run, commit: str) -> float:
    metrics = json.loads(git("show", f"{commit}:./metrics/train.json") or "{}")
    if "val" not in metrics:
        raise DataError(f"{run.name} has no validation top-1: {NOTHING_TO_RANK}")
    return float(metrics["val"]["top1"])


if __name__ == "__main__":
    run_tool(main)
