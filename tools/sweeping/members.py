"""Runs that belong together: each is a DVC experiment in its own workspace, up to evaluate, one after the other."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from imageclf.images.dataset import NOTHING_TO_RANK
from imageclf.runtime.errors import DataError, Stopped
from imageclf.runtime.platform import interrupt_group, start_in_group
from tools.comparing.revisions import experiments
from tools.repository import git
from tools.sweeping.grid import Run
from tools.sweeping.table import Failure, read_failure

LOGS = Path("logs")
UP_TO = "evaluate"
RESULTS = (":!metrics", ":!dvc.lock", ":!params.yaml")  # not code


def uncommitted_code() -> bytes:
    """The repository's diff without params.yaml and results.

    Raises:
        DataError: there is no commit.
    """
    if git("rev-parse", "--quiet", "--verify", "HEAD") is None:
        raise DataError("nothing is committed here; git add -A && git commit, since DVC ties runs to a commit")
    return (git("diff", "HEAD", "--", ".", *RESULTS) or "").encode()


def finished() -> dict[str, str]:
    """The commits of this commit's experiments, by name."""
    head = (git("rev-parse", "HEAD") or "").strip()
    return {found.name: found.commit for found in experiments() if found.baseline == head}


def run_members(tool: str, missing: Sequence[Run], *, environment: Mapping[str, str]) -> dict[Run, Failure]:
    """Run them, with lines that begin with the name of the tool; returns the failures.

    Raises:
        DataError: a run has no validation images, and the `environment` asks for them: so it will be for all.
        Stopped: by Ctrl-C.
    """
    failures, begun = {}, time.monotonic()
    with tqdm(total=len(missing), desc=tool, unit="run", leave=False, disable=not sys.stderr.isatty()) as bar:
        for before, run in enumerate(missing):
            left = (time.monotonic() - begun) / before * (len(missing) - before) if before else None
            words = f", {tqdm.format_interval(left)} left" if left else ""
            log = LOGS / tool / f"{run.name}.log"
            bar.write(f"{tool}: {before + 1} of {len(missing)}{words}: {run}; tail -f {log}")
            sys.stdout.flush()
            if not _execute(run, log, tool, environment):
                failure = read_failure(log)
                if NOTHING_TO_RANK in failure.sentence:
                    raise DataError(f"{tool}: {run}: {failure.sentence}")
                failures[run] = failure
                bar.write(f"{tool}: {run} failed: {failure.sentence}")
            bar.update()
    return failures


def _execute(run: Run, log: Path, tool: str, environment: Mapping[str, str]) -> bool:
    """Run one experiment; its output goes to its log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    changes = [f"--set-param={key}={value}" for key, value in run.settings.items()]
    command = ["dvc", "exp", "run", "--temp", f"--name={run.name}", *changes, UP_TO]
    with log.open("w") as file:
        # In its own process group, so that Ctrl-C reaches it only once: from here, not from the terminal.
        whole = os.environ | environment
        dvc = start_in_group(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=whole)
        try:
            return dvc.wait() == 0
        except BaseException as reason:
            interrupt_group(dvc)
            dvc.wait()
            if isinstance(reason, KeyboardInterrupt):
                words = f"{tool}: stopped by Ctrl-C; run the same line again to continue"
                raise Stopped(words, signal.SIGINT) from None
            raise
