"""Run a grid of params and rank what came out: `python -m tools.sweep -S train.lr=0.05,0.1 -S train.seed=0,1,2`.

Each member is an experiment of DVC's, run up to evaluate in a workspace of its own, one after the other: a run uses all
cores. The same line again runs what is missing, and a member that was killed goes on from its checkpoint. It ends with
0 where every member is there, with 1 where one failed, and ranks by validation top-1: test images choose nothing. What
cannot run, or leaves nothing to rank by, is said before the first member trains.
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
from tools.comparing.predictions import experiments
from tools.repository import git
from tools.sweeping.grid import Member, members, remarks
from tools.sweeping.table import Failure, advice, rank, read_failure, table_lines

LOGS = Path("logs/sweep")
UP_TO = "evaluate"
RESULTS = (":!metrics", ":!dvc.lock", ":!params.yaml")  # no code


def main() -> None:
    # 1. Who is to run, and who has.
    grid, done = members(_arguments().set, _uncommitted_code()), _done()
    missing = [member for member in grid if member.name not in done]
    for member in grid:
        if member.name in done:
            _top1(member, done[member.name])  # says so where there is none
    print(
        f"sweep: {len(grid)} run{'s' if len(grid) > 1 else ''}, {len(grid) - len(missing)} of them done before",
        *remarks(grid),
        sep="\n",
        flush=True,
    )

    # 2. One after the other.
    failures = _run_all(missing)

    # 3. What they say.
    done = _done()
    top1 = {member: _top1(member, done[member.name]) for member in grid if member.name in done}
    print("\n" + "\n".join(table_lines(rank(grid, top1, failures))), flush=True)
    if failures:
        told = {str(member): failure for member, failure in failures.items()}
        print(f"sweep: {len(failures)} of {len(grid)} runs failed; {advice(told)}", file=sys.stderr)
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.sweep", description="Run every combination of the values given, and rank the recipes."
    )
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        required=True,
        metavar="KEY=VALUE,VALUE",
        help="a param and the values that it is to have; give it again for another param",
        dest="set",
    )
    return parser.parse_args()


def _uncommitted_code() -> bytes:
    if git("rev-parse", "--quiet", "--verify", "HEAD") is None:
        raise DataError("nothing is committed here; git add -A && git commit, since DVC keeps runs beside a commit")
    return (git("diff", "HEAD", "--", ".", *RESULTS) or "").encode()


def _done() -> dict[str, str]:
    """The commits of this commit's experiments, by name."""
    head = (git("rev-parse", "HEAD") or "").strip()
    return {found.name: found.commit for found in experiments() if found.baseline == head}


def _run_all(missing: list[Member]) -> dict[Member, Failure]:
    """Why those that failed did."""
    failures, begun = {}, time.monotonic()
    with tqdm(total=len(missing), desc="sweep", unit="run", leave=False, disable=not sys.stderr.isatty()) as bar:
        for before, member in enumerate(missing):
            left = (time.monotonic() - begun) / before * (len(missing) - before) if before else None
            words = f", {tqdm.format_interval(left)} left" if left else ""
            bar.write(f"sweep: {before + 1} of {len(missing)}{words}: {member}; tail -f {_log(member)}")
            sys.stdout.flush()
            if not _run(member):
                failure = read_failure(_log(member))
                if NOTHING_TO_RANK in failure.sentence:
                    raise DataError(f"sweep: {member}: {failure.sentence}")
                failures[member] = failure
                bar.write(f"sweep: {member} failed: {failure.sentence}")
            bar.update()
    return failures


def _run(member: Member) -> bool:
    """Run one member to its end; what it prints goes to its log."""
    log = _log(member)
    log.parent.mkdir(parents=True, exist_ok=True)
    changes = [f"--set-param={key}={value}" for key, value in member.settings.items()]
    command = ["dvc", "exp", "run", "--temp", f"--name={member.name}", *changes, UP_TO]
    with log.open("w") as file:
        # A group of its own: Ctrl-C reaches it once, through here, and not a second time from the terminal.
        environment = os.environ | {RANKED: "1"}
        dvc = start_in_group(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment)
        try:
            return dvc.wait() == 0
        except BaseException as reason:
            interrupt_group(dvc)
            dvc.wait()
            if isinstance(reason, KeyboardInterrupt):
                raise Stopped(
                    "sweep: stopped by Ctrl-C; the same line again goes on from there", signal.SIGINT
                ) from None
            raise


def _log(member: Member) -> Path:
    return LOGS / f"{member.name}.log"


def _top1(member: Member, commit: str) -> float:
    metrics = json.loads(git("show", f"{commit}:./metrics/train.json") or "{}")
    if "val" not in metrics:
        raise DataError(f"{member.name} has no validation top-1: {NOTHING_TO_RANK}")
    return float(metrics["val"]["top1"])


if __name__ == "__main__":
    run_tool(main)
