"""Atomic writes of files and folders, and their checksums."""

import configparser
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from imageclf.runtime.errors import DataError, printable
from imageclf.runtime.platform import is_alive, sync


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, atomically."""
    with replaced_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8, with unchanged line ends."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON with sorted keys, so that equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; rename it to `path` if the block succeeds, else remove it."""
    temporary = _temporary(path)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replaced_folder(path: Path, sums: Mapping[str, str] = MappingProxyType({})) -> Iterator[Path]:
    """Yield a temporary folder; add SHA256SUMS and rename it to `path` if the block succeeds, else remove it.

    `sums` has the sha256 of the files, by name, that the block has read already.
    """
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        write_sums(temporary, sums)
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
    """A temporary name beside `path`. Removes those that killed processes left behind."""
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
    """Hex sha256 of an array's values in row-major order, independent of its memory layout."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


SUMS = "SHA256SUMS"
REPAIR = "run python -m tools.verify to repair it"


def write_sums(folder: Path, known: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write SHA256SUMS for every file below `folder`; those in `known`, by name, are not read again."""
    (folder / SUMS).write_text(_listing(folder, known), encoding="utf-8", newline="\n")


def check_sums(folder: Path, *, repair: str = REPAIR) -> None:
    """Check the integrity of `folder`: its files must match SHA256SUMS exactly.

    Raises:
        DataError: a file is missing, changed or not listed; `repair` ends the message.
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


def _listing(folder: Path, known: Mapping[str, str] = MappingProxyType({})) -> str:
    # Files that begin with a dot are a file manager's, not ours.
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != SUMS and path.name[0] != ".")
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return "".join(f"{known.get(name) or sha256_of_file(names[name])}  {name}\n" for name in sorted(names))


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
    """Whether a default remote is set for `dvc pull`."""
    return setting("core", "remote") is not None


def brings(target: str = "") -> str:
    """The command that restores missing outputs; `target` is the stage to run if there is no remote."""
    return "dvc pull" if has_remote() else f"dvc repro {target}".strip()


def setting(section: str, key: str) -> Path | None:
    """A setting of DVC, as a path relative to the folder of its config file."""
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
    """The result of `make`; if that fails, print why, and return `instead` of the printed line."""
    try:
        return make()
    except Exception as error:
        words = printable(f"{path} cannot be made ({type(error).__name__}: {error})"[:300])
        print(f"{words}; the run goes on", flush=True)
        return instead(words)
