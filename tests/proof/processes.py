"""Commands that are watched, struck and outlived; Linux's /proc says who their children are."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.conftest import Project

Identity = tuple[int, str]  # a process's id, and when it began: ids are reused
LONGEST = 900.0  # seconds that a command may take


class Run:
    """A command under way in a project, in a session of its own, what it prints in `log`. Leaving the block ends it."""

    def __init__(
        self, project: Project, command: Sequence[str], log: Path, *, umask: int = -1, cores: set[int] | None = None
    ) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                cwd=project.folder,
                env=project.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=umask,
                preexec_fn=partial(os.sched_setaffinity, 0, cores) if cores else None,
            )

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.strike(whole_group=True)

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def ended(self, within: float = LONGEST) -> int | None:
        """Its exit code, or None where it runs on for more than `within` seconds."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def strike(self, *, whole_group: bool) -> list[Identity]:
        """SIGKILL it, with its whole group or alone. Who its descendants were."""
        family = [known for pid in _descendants(self._process.pid) if (known := _identity(pid))]
        (os.killpg if whole_group else os.kill)(self._process.pid, signal.SIGKILL)
        self._process.wait()
        return family


def survivors(family: list[Identity], within: float) -> list[Identity]:
    """Those that still run after `within` seconds; they are then ended."""
    deadline = time.monotonic() + within
    while (left := [(pid, begun) for pid, begun in family if _identity(pid) == (pid, begun)]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.02)
    for pid, _ in left:
        os.kill(pid, signal.SIGKILL)
    return left


def _descendants(pid: int) -> list[int]:
    children = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += [int(child) for child in task.read_text().split()]
        except OSError:  # the thread has ended meanwhile
            continue
    return [*children, *(further for child in children for further in _descendants(child))]


def _identity(pid: int) -> Identity | None:
    """None for a process that is gone, or dead and not yet buried."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else (pid, fields[18])  # see proc(5): starttime
