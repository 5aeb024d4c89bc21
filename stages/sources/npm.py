"""A file out of the npm registry, by the user's own npm."""

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from stages.console.progress import Progress
from stages.sources.fault import Fault
from stages.sources.pace import Pace, Patience
from stages.sources.pinned import PinnedFile

LOOK_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Npm:
    """A package, `name@version`, whose .tgz `npm pack` brings with the registry and proxy that npm is set to."""

    package: str
    command: str = "npm"

    def __str__(self) -> str:
        return f"npm pack {self.package}"

    def address(self, file: PinnedFile) -> str:
        """What is run, for a person."""
        return str(self)

    def fetch(self, file: PinnedFile, path: Path, patience: Patience) -> None:
        """Leave the package's file at `path`. npm cannot go on with half a file, so nothing of one is kept.

        Raises:
            Fault: npm is missing, fails, stalls, is too slow, or brings something else.
        """
        npm = shutil.which(self.command)
        if npm is None:
            raise Fault("npm is not installed")
        room = path.with_name(f"{path.name}.npm")
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir()
        try:
            _pack(npm, self.package, room, file, patience)
            file.check(room / file.name)
            os.replace(room / file.name, path)
        finally:
            shutil.rmtree(room, ignore_errors=True)


def _pack(npm: str, package: str, room: Path, file: PinnedFile, patience: Patience) -> None:
    # A cache of its own: npm writes there what it receives, which is the only sign of progress that it gives.
    cache = room / "cache"
    # npm's time limit is on the whole answer, which a slow line may well exceed; here the pace is watched instead.
    limits = ["--fetch-retries=0", "--fetch-timeout=86400000"]
    quiet = ["--loglevel=error", "--no-update-notifier", "--ignore-scripts"]
    command = [npm, "pack", package, f"--pack-destination={room}", f"--cache={cache}", *limits, *quiet]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _watch(process, cache, file, patience)
        finally:
            process.kill()
        assert process.stderr is not None  # it is a pipe
        code = re.search(r"code (\w+)", process.stderr.read())
    if process.returncode:
        raise Fault(f"it ended with {code[1] if code else process.returncode}")


def _watch(process: subprocess.Popen[str], cache: Path, file: PinnedFile, patience: Patience) -> None:
    """Show and judge how the cache grows until npm ends."""
    pace, received = Pace(patience), 0
    with Progress(file.name, total=file.size, unit="B", scale=True) as bar:
        while process.poll() is None:
            time.sleep(LOOK_EVERY)
            grown = max(_bytes_in(cache) - received, 0)
            received += grown
            bar.advance(grown)
            if received < file.size:  # after that npm checks and copies, without a sign
                pace.count(grown)


def _bytes_in(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except FileNotFoundError:  # npm renames while we look
        return 0
