"""Run a grid of params and rank what came out: `python -m stages.sweep -S train.lr=0.05,0.1 -S train.seed=0,1,2`.

Each member is an experiment of DVC's, run up to evaluate in a workspace of its own, one after the other: a run uses all
cores. The same line again runs what is missing, and a member that was killed goes on from its checkpoint. It ends with
0 where every member is there, with 1 where one failed, and ranks by validation top-1: test images choose nothing.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

from stages.comparing.revisions import experiments
from stages.console.errors import DataError, Stopped
from stages.console.stage import run_tool
from stages.console.text import printable
from stages.machine.parent import end_with_parent
from stages.sweeping.grid import Member, members
from stages.sweeping.table import rank, table_lines
from stages.verifying.git import git

LOGS = Path("logs/sweep")
UP_TO = "evaluate"
RESULTS = (":!metrics", ":!dvc.lock", ":!params.yaml")  # no code


def main() -> None:
    # 1. Who is to run, and who has.
    grid, done = members(_arguments().set, _uncommitted_code()), _done()
    missing = [member for member in grid if member.name not in done]
    print(
        f"sweep: {len(grid)} run{'s' if len(grid) > 1 else ''}, {len(grid) - len(missing)} of them done before",
        flush=True,
    )

    # 2. One after the other.
    failed = _run_all(missing)

    # 3. What they say.
    done = _done()
    top1 = [(member, _top1(member, done[member.name])) for member in grid if member.name in done]
    if top1:
        print("\n" + "\n".join(table_lines(rank(top1))), flush=True)
    if failed:
        print(f"sweep: {len(failed)} of {len(grid)} runs failed; the same line again runs them", file=sys.stderr)
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stages.sweep", description="Run every combination of the values given, and rank the recipes."
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


def _run_all(missing: list[Member]) -> list[Member]:
    """Those that failed."""
    failed, begun = [], time.monotonic()
    with tqdm(total=len(missing), desc="sweep", unit="run", leave=False, disable=not sys.stderr.isatty()) as bar:
        for before, member in enumerate(missing):
            left = (time.monotonic() - begun) / before * (len(missing) - before) if before else None
            words = f", {tqdm.format_interval(left)} left" if left else ""
            bar.write(f"sweep: {before + 1} of {len(missing)}{words}: {member}; tail -f {_log(member)}")
            sys.stdout.flush()
            if not _run(member):
                failed.append(member)
                bar.write(f"sweep: {member} failed: {_last_words(_log(member))}")
            bar.update()
    return failed


def _run(member: Member) -> bool:
    """Run one member to its end; what it prints goes to its log."""
    log = _log(member)
    log.parent.mkdir(parents=True, exist_ok=True)
    changes = [f"--set-param={key}={value}" for key, value in member.settings.items()]
    command = ["dvc", "exp", "run", "--temp", f"--name={member.name}", *changes, UP_TO]
    with log.open("w") as file:
        # A group of its own: Ctrl-C reaches it once, through here, and not a second time from the terminal.
        dvc = subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        try:
            return dvc.wait() == 0
        except BaseException as reason:
            os.killpg(dvc.pid, signal.SIGINT)
            dvc.wait()
            if isinstance(reason, KeyboardInterrupt):
                raise Stopped(
                    "sweep: stopped by Ctrl-C; the same line again goes on from there", signal.SIGINT
                ) from None
            raise


def _log(member: Member) -> Path:
    return LOGS / f"{member.name}.log"


def _last_words(log: Path) -> str:
    """Why the run failed: what it said last, or that it was killed and could say nothing."""
    said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    # bash becomes the stage, and ends by its signal; dash waits for it, and ends with 128 more.
    code = re.search(r"^ERROR: .* exited with (-?\d+)$", said[-1]) if said else None
    if code and int(code[1]) in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "its stage was killed by signal 9"
    own = [line for line in said if not line.startswith("ERROR: failed to reproduce")]
    return printable((own or said or [f"{log} is empty"])[-1])


def _top1(member: Member, commit: str) -> float:
    metrics = json.loads(git("show", f"{commit}:./metrics/train.json") or "{}")
    if "val" not in metrics:
        raise DataError(f"{member.name} has no validation top-1; give its images a val/ or raise prepare.val_fraction")
    return float(metrics["val"]["top1"])


if __name__ == "__main__":
    run_tool(main)
