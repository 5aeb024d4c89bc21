"""The sizes and hashes of many files, by several threads; a run that was killed goes on where it was."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from imageclf.runtime.files import write_text

Fact = TypeVar("Fact")
CHUNK = 64  # files that a thread takes at a time


def sizes_and_hashes(paths: Sequence[str], pool: ThreadPoolExecutor, kept: Path | None = None) -> list[tuple[int, str]]:
    """Bytes and hex sha256 of each file.

    They are kept in the file `kept`, and read from there if it is of the same files, unchanged by their sizes, times
    and inodes.
    """
    states = _of_each(_state, paths, pool)
    listing = hashlib.sha256(json.dumps([paths, states]).encode()).hexdigest()
    hashes = _read(kept, listing) if kept else None
    if hashes is None:
        hashes = _of_each(_sha256, paths, pool)
        if kept:
            write_text(kept, json.dumps({"listing": listing, "hashes": hashes}))
    return [(size, sha256) for (size, *_), sha256 in zip(states, hashes, strict=True)]


def _of_each(fact: Callable[[str], Fact], paths: Sequence[str], pool: ThreadPoolExecutor) -> list[Fact]:
    chunks = [paths[begin : begin + CHUNK] for begin in range(0, len(paths), CHUNK)]
    return [each for facts in pool.map(lambda chunk: list(map(fact, chunk)), chunks) for each in facts]


def _state(path: str) -> tuple[int, int, int]:
    status = os.stat(path)  # noqa: PTH116 - a Path would take as long as the hash of a small file
    return status.st_size, status.st_mtime_ns, status.st_ino


def _sha256(path: str) -> str:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - the same
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(kept: Path, listing: str) -> list[str] | None:
    try:
        found = json.loads(kept.read_text())
    except FileNotFoundError:
        return None
    hashes: list[str] = found["hashes"]
    return hashes if found["listing"] == listing else None
