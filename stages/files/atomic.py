"""Writing that ends whole or not at all: a temporary name in the same folder, fsync, rename, fsync of the folder."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.files.sums import write_sums


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`. A reader sees the old file or the new one, never a part."""
    with replaced_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text`: UTF-8, line ends as they are given."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON with sorted keys, so that equal values are equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; rename it to `path` if the block ends well, remove it if not."""
    temporary = _temporary(path)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; listed in SHA256SUMS it becomes `path` if the block ends well, else it goes."""
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        write_sums(temporary)
        for file in temporary.rglob("*"):
            _sync(file)
        _sync(temporary)
        if path.exists():
            shutil.rmtree(path)
        os.rename(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path) -> Path:
    """A free name beside `path`. What killed processes left under such names is swept away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.tmp.*"):
        process = left.name.rpartition(".")[2]
        if process == str(os.getpid()) or not _is_alive(int(process)):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    return path.with_name(f".{path.name}.tmp.{os.getpid()}")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
