"""MD5 as DVC means it, taken from the bytes that are there.

DVC itself goes by a file's inode, time and size, and believes every read-only object of its cache.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from stages.machine.cores import available_cores

Listing = dict[str, str]  # MD5 by the name of the file below a folder


class Hashes:
    """Hashes every file once, on all cores; hard links of one file count as one."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(max(4, available_cores()))  # hashlib lets go of the interpreter's lock
        self._taken: dict[tuple[int, int], Future[str]] = {}

    def begin(self, paths: Iterable[Path]) -> None:
        """Start on these files and on all below these folders, the largest first; skip what is not there."""
        files = [file for path in paths for file in (files_below(path) if path.is_dir() else [path]) if file.is_file()]
        for file in sorted(files, key=lambda file: -file.stat().st_size):
            self._future(file)

    def file(self, path: Path) -> str:
        """MD5 of a file's bytes."""
        return self._future(path).result()

    def listing(self, folder: Path) -> Listing:
        """MD5 of every file below a folder."""
        return {file.relative_to(folder).as_posix(): self.file(file) for file in files_below(folder)}

    def entry(self, path: Path) -> str:
        """What dvc.lock should say of a file or folder."""
        return folder_hash(self.listing(path)) if path.is_dir() else self.file(path)

    def _future(self, path: Path) -> Future[str]:
        status = path.stat()
        key = status.st_dev, status.st_ino
        if key not in self._taken:
            self._taken[key] = self.pool.submit(_md5, path)
        return self._taken[key]


def folder_hash(listing: Listing) -> str:
    """DVC's hash of a folder: MD5 of a JSON list of its files, in the order of their names."""
    rows = [{"md5": listing[name], "relpath": name} for name in sorted(listing)]
    return f"{hashlib.md5(json.dumps(rows, sort_keys=True).encode()).hexdigest()}.dir"


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, in no particular order."""
    return [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
