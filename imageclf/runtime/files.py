"""Files that are there whole or not at all, with their sums."""

import configparser
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from imageclf.runtime.errors import DataError, printable
from imageclf.runtime.platform import is_alive, sync


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
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
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
            sync(file)
        sync(temporary)
        if path.exists():
            shutil.rmtree(path)
        os.rename(temporary, path)
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path) -> Path:
    """A free name beside `path`. What killed processes left under such names is swept away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.tmp.*"):
        process = left.name.rpartition(".")[2]
        if process == str(os.getpid()) or not is_alive(int(process)):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    return path.with_name(f".{path.name}.tmp.{os.getpid()}")


def sha256_of_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_array(array: np.ndarray) -> str:
    """Hex sha256 of an array's values in row-major order, whatever its layout in memory."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


SUMS = "SHA256SUMS"
REPAIR = "python -m tools.verify says how to repair it"


def write_sums(folder: Path) -> None:
    """List every file below `folder`."""
    (folder / SUMS).write_text(_listing(folder), encoding="utf-8", newline="\n")


def check_sums(folder: Path, *, repair: str = REPAIR) -> None:
    """Hold every file below `folder` against the list, and the list against the files.

    Raises:
        DataError: a file is missing, has other bytes or is not listed; `repair` is what it says to do.
    """
    try:
        listed = (folder / SUMS).read_bytes().decode(errors="backslashreplace")
    except OSError:
        if not folder.exists():
            raise DataError(f"{folder} is missing; run {brings()}") from None
        raise DataError(f"{folder / SUMS} is missing; {repair}") from None
    found = _listing(folder)
    if listed != found:
        raise DataError(f"{_difference(folder, listed, found)}; {repair}")


def _listing(folder: Path) -> str:
    # What begins with a dot is a file manager's, not ours.
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != SUMS and path.name[0] != ".")
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return "".join(f"{sha256_of_file(names[name])}  {name}\n" for name in sorted(names))


def _difference(folder: Path, listed: str, found: str) -> str:
    expected, there = (
        {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}
        for text in (listed, found)
    )
    for name, digest in there.items():
        if name in expected and expected[name] != digest:
            return f"{folder / name} is damaged: its sha256 begins {digest[:8]}, not {expected[name][:8]}"
    for name in expected:
        if name not in there:
            return f"{folder / name} is missing, or {folder / SUMS} is damaged"
    return f"{folder / SUMS} is damaged, or a file was added to {folder}"


CONFIGS = (Path(".dvc/config"), Path(".dvc/config.local"))


def has_remote() -> bool:
    """Whether `dvc pull` has somewhere to pull from."""
    return setting("core", "remote") is not None


def brings(target: str = "") -> str:
    """The command for what a clone without data lacks; `target` is the stage to run where nothing can be pulled."""
    return "dvc pull" if has_remote() else f"dvc repro {target}".strip()


def setting(section: str, key: str) -> Path | None:
    """A setting of this project; a path in it counts from the file that it stands in."""
    found = None
    for path in CONFIGS:
        config = configparser.ConfigParser(interpolation=None)
        try:
            config.read(path)
        except configparser.Error:
            continue
        if config.has_option(section, key):
            found = path.parent / config.get(section, key).strip("\"'")
    return found


def made(path: Path, make: Callable[[], bytes], *, instead: Callable[[str], bytes]) -> bytes:
    """What `make` gives; where it fails a line says why, and `path` is to hold what `instead` makes of that line."""
    try:
        return make()
    except Exception as error:
        words = printable(f"{path} cannot be made ({type(error).__name__}: {error})"[:300])
        print(f"{words}; the run goes on", flush=True)
        return instead(words)
