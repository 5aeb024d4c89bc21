"""Turns, each in a fresh process, and the memory and disk that they take. Memory is read on Linux only."""

import json
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imageclf.runtime.errors import MachineError

TIMING = "timing begins"  # a turn prints it: from here on nothing may disturb it
READ_EVERY = 0.05  # seconds
PROC = Path("/proc")


@dataclass(frozen=True)
class Memory:
    """Bytes of a process and its children, what they share counted once."""

    whole: int
    own: int  # of it, without mapped files, which the system can drop and read again


def take_turn(name: str, *, data: Path, warm_up: float, seconds: float) -> dict[str, Any]:
    """The figures that `python -m benchmarks.turn NAME` prints, and its peak memory until the timing began.

    Raises:
        MachineError: the turn failed; it has said why itself.
    """
    options = ["--data", str(data), "--warm-up", str(warm_up), "--seconds", str(seconds)]
    command = [sys.executable, "-m", "benchmarks.turn", name, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, MemoryWatch(process.pid) as watch:
        assert process.stdout
        last = ""
        for line in process.stdout:
            last = line
            if line.strip() == TIMING:
                watch.stop()
    if process.returncode:
        raise MachineError(f"the turn of {name} ended with exit code {process.returncode}; its own words are above")
    return json.loads(last) | {"peak_memory": watch.peak.whole, "peak_own_memory": watch.peak.own}


class MemoryWatch(threading.Thread):
    """Reads the memory of a process and its children again and again, and keeps the most of it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = Memory(0, 0)
        self._pid, self._over = pid, threading.Event()

    def __enter__(self) -> "MemoryWatch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(READ_EVERY):
            now = family_memory(self._pid)
            self.peak = Memory(max(self.peak.whole, now.whole), max(self.peak.own, now.own))


class DiskWatch(threading.Thread):
    """Adds up the space that the files of a folder take on disk, again and again, and keeps the most of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.peak = 0  # bytes
        self._folder, self._over = folder, threading.Event()

    def __enter__(self) -> "DiskWatch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(READ_EVERY):
            self.peak = max(self.peak, disk_use(self._folder))


def disk_use(folder: Path) -> int:
    """Bytes on disk of the files below a folder; holes take none."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(OSError):  # it was renamed or removed
            total += 512 * file.lstat().st_blocks
    return total


def family_memory(pid: int) -> Memory:
    """Proportional set sizes of a process and all below it: 0 where the system has no such thing."""
    sizes = [_proportional(member) for member in [pid, *_descendants(pid)]]
    return Memory(
        sum(size.get("Pss", 0) for size in sizes),
        sum(size.get("Pss_Anon", 0) + size.get("Pss_Shmem", 0) for size in sizes),
    )


def _proportional(pid: int) -> dict[str, int]:
    """Bytes under each of the kernel's names, empty for a process that has ended. See proc_pid_smaps(5)."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {name.rstrip(":"): 1024 * int(kilobytes) for name, kilobytes, _ in map(str.split, lines)}


def _descendants(pid: int) -> list[int]:
    children = []
    for task in (PROC / str(pid) / "task").glob("*/children"):
        try:
            children += [int(child) for child in task.read_text().split()]
        except OSError:  # the thread has ended meanwhile
            continue
    return [*children, *(further for child in children for further in _descendants(child))]
