"""Run DVC experiments, one or several at a time, each in its own workspace with its own log."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from imageclf.config.params import read_params
from imageclf.images.dataset import NOTHING_TO_RANK
from imageclf.runtime.errors import DataError, Stopped
from imageclf.runtime.platform import CORES, available_cores, interrupt_group, start_in_group
from tools.repository import git, head
from tools.sweeping.grid import Run
from tools.sweeping.results import PRUNED, Failure, read_failure

LOGS = Path("logs")
UP_TO = "evaluate"
BEGUN = ("Running stage", "is cached", "didn't change")  # DVC has taken its experiment out of the queue
RESULTS = (":!metrics", ":!dvc.lock", ":!params.yaml")  # not code
LOOKS = 0.1  # seconds between two looks at the runs


def uncommitted_code(since: str = "HEAD") -> bytes:
    """The repository's diff to a commit, without params.yaml and results.

    Raises:
        DataError: there is no commit.
    """
    if git("rev-parse", "--quiet", "--verify", "HEAD") is None:
        raise DataError("nothing is committed here; git add -A && git commit, since DVC ties runs to a commit")
    return (git("diff", since, "--", ".", *RESULTS) or "").encode()


class Plan(Protocol):
    """What is to be run."""

    def next_run(self) -> Run | None:
        """The next to start, if one is left."""

    def environment(self, run: Run) -> dict[str, str]:
        """What its stages are told."""

    def failed(self, run: Run, failure: Failure) -> None:
        """Take in that it has no result."""


class Listed:
    """A plan of runs that are known before the first one starts."""

    def __init__(self, missing: Sequence[Run], environment: dict[str, str]) -> None:
        """`missing` are those to run, with an `environment` for all."""
        self.failures: dict[Run, Failure] = {}
        self._missing, self._environment = iter(missing), environment

    def next_run(self) -> Run | None:
        return next(self._missing, None)

    def environment(self, run: Run) -> dict[str, str]:
        return self._environment

    def failed(self, run: Run, failure: Failure) -> None:
        self.failures[run] = failure


def run_plan(tool: str, plan: Plan, *, jobs: int, missing: int) -> Iterator[Run]:
    """Run what the plan says, with lines of the `tool`, and tell it which failed; yields each run as it ends.

    `missing` is how many there are. With `jobs`, that many run at a time: each takes its part of the cores.

    Raises:
        DataError: a run has no validation images, and its environment asks for them: so it would be for all. Or params
            or code changed meanwhile: DVC would take the next run's from the workspace.
        Stopped: Ctrl-C; all runs are stopped.
    """
    begun, started, ended = time.monotonic(), 0, 0
    commit = head()

    def recipe() -> tuple[dict[str, Any], bytes]:
        return read_params().model_dump(), uncommitted_code(since=commit)

    planned = recipe()
    with tqdm(total=missing, desc=tool, unit="run", leave=False, disable=not sys.stderr.isatty()) as bar:

        def next_run() -> Run | None:
            nonlocal started
            if run := plan.next_run():
                if recipe() != planned:
                    raise DataError(
                        f"{tool}: params.yaml or code has changed since this began, and {run} would be run with it; "
                        "put it back and run the same line again, or begin anew with it"
                    )
                started += 1
                left = (time.monotonic() - begun) / ended * (missing - ended) if ended else None
                words = f", {tqdm.format_interval(left)} left" if left else ""
                bar.write(f"{tool}: {started} of {missing}{words}: {run}; tail -f {_log(tool, run)}")
                sys.stdout.flush()
            return run

        # Closed whatever happens here, which ends the runs.
        with closing(_run_all(tool, next_run, jobs, plan.environment)) as ended_runs:
            for run, finished in ended_runs:
                ended += 1
                if not finished:
                    failure = read_failure(_log(tool, run))
                    if NOTHING_TO_RANK in failure.sentence:
                        raise DataError(f"{tool}: {run}: {failure.sentence}")
                    plan.failed(run, failure)
                    words = failure.reason if failure.kind == PRUNED else f"failed: {failure.sentence}"
                    bar.write(f"{tool}: {run} {words}")
                bar.update()
                yield run


def _run_all(
    tool: str, next_run: Callable[[], Run | None], jobs: int, environment: Callable[[Run], dict[str, str]]
) -> Generator[tuple[Run, bool]]:
    """Run what `next_run` answers until it has none; yields each run as it ends, and whether it finished.

    Raises:
        Stopped: Ctrl-C; all runs are stopped.
    """
    running: dict[Run, subprocess.Popen] = {}
    settings = {CORES: str(available_cores() // jobs)} if jobs > 1 else {}
    try:
        while True:
            while len(running) < jobs and all(_has_begun(_log(tool, run)) for run in running) and (run := next_run()):
                running[run] = _start(run, _log(tool, run), os.environ | settings | environment(run), waits=jobs > 1)
            if not running:
                return
            for run, dvc in [*running.items()]:
                if dvc.poll() is not None:
                    del running[run]
                    yield run, dvc.returncode == 0
            if running:
                time.sleep(LOOKS)
    except KeyboardInterrupt:
        words = f"{tool}: stopped by Ctrl-C; run the same line again to continue"
        raise Stopped(words, signal.SIGINT) from None
    finally:
        for dvc in running.values():
            interrupt_group(dvc)
        for dvc in running.values():
            dvc.wait()


def _log(tool: str, run: Run) -> Path:
    """Where a run's output goes."""
    return LOGS / tool / f"{run.name}.log"


def _start(run: Run, log: Path, environment: dict[str, str], *, waits: bool) -> subprocess.Popen:
    log.parent.mkdir(parents=True, exist_ok=True)
    changes = [f"--set-param={key}={value}" for key, value in run.settings.items()]
    wait = ["--wait-for-lock"] if waits else []  # of another run, which holds it for seconds
    command = ["dvc", *wait, "exp", "run", "--temp", f"--name={run.name}", *changes, UP_TO]
    with log.open("w") as file:
        # In its own process group, so that Ctrl-C reaches it only once: from here, not from the terminal.
        return start_in_group(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment)


def _has_begun(log: Path) -> bool:
    """Whether its DVC has its own experiment: two that start at once may take each other's."""
    return any(words in log.read_text(errors="replace") for words in BEGUN)
