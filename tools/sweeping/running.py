"""Run DVC experiments, one or several at a time, each in its own workspace with its own log."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path

from imageclf.images.dataset import RANKED
from imageclf.runtime.errors import Stopped
from imageclf.runtime.platform import CORES, available_cores, interrupt_group, start_in_group
from tools.sweeping.grid import Run

LOGS = Path("logs/sweep")
UP_TO = "evaluate"
BEGUN = ("Running stage", "is cached", "didn't change")  # DVC has taken its experiment out of the queue
LOOKS = 0.1  # seconds between two looks at the runs


def run_all(
    next_run: Callable[[], Run | None], *, jobs: int, environment: Callable[[Run], dict[str, str]]
) -> Generator[tuple[Run, bool]]:
    """Run what `next_run` answers until it has none; yields each run as it ends, and whether it finished.

    With `jobs`, that many at a time: each takes its part of the cores.

    Raises:
        Stopped: Ctrl-C; all runs are stopped.
    """
    running: dict[Run, subprocess.Popen] = {}
    settings = {RANKED: "1"} | ({CORES: str(available_cores() // jobs)} if jobs > 1 else {})
    try:
        while True:
            while len(running) < jobs and all(map(_has_begun, running)) and (run := next_run()):
                running[run] = _start(run, os.environ | settings | environment(run), waits=jobs > 1)
            if not running:
                return
            for run, dvc in [*running.items()]:
                if dvc.poll() is not None:
                    del running[run]
                    yield run, dvc.returncode == 0
            if running:
                time.sleep(LOOKS)
    except KeyboardInterrupt:
        raise Stopped("sweep: stopped by Ctrl-C; run the same line again to continue", signal.SIGINT) from None
    finally:
        for dvc in running.values():
            interrupt_group(dvc)
        for dvc in running.values():
            dvc.wait()


def log_of(run: Run) -> Path:
    """Where its output goes."""
    return LOGS / f"{run.name}.log"


def _start(run: Run, environment: dict[str, str], *, waits: bool) -> subprocess.Popen:
    log = log_of(run)
    log.parent.mkdir(parents=True, exist_ok=True)
    changes = [f"--set-param={key}={value}" for key, value in run.settings.items()]
    wait = ["--wait-for-lock"] if waits else []  # of another run, which holds it for seconds
    command = ["dvc", *wait, "exp", "run", "--temp", f"--name={run.name}", *changes, UP_TO]
    with log.open("w") as file:
        # In its own process group, so that Ctrl-C reaches it only once: from here, not from the terminal.
        return start_in_group(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment)


def _has_begun(run: Run) -> bool:
    """Whether its DVC has its own experiment: two that start at once may take each other's."""
    return any(words in log_of(run).read_text(errors="replace") for words in BEGUN)
