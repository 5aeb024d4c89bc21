"""Read git commits, dvc.yaml, dvc.lock and DVC's cache."""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from imageclf.datasets.walk import Keep, dvc_filter
from imageclf.runtime.errors import DataError
from imageclf.runtime.files import setting
from imageclf.runtime.platform import available_cores
from imageclf.runtime.yaml import NotYaml, load_yaml

EXPERIMENT = "refs/exps/exec/EXEC_BASELINE"  # exists while `dvc exp run` works in the workspace


def committed(path: Path) -> str | None:
    """A file's text at HEAD; None if it is not there."""
    return git("show", f"HEAD:./{path.as_posix()}")


def branch_left_by_experiment() -> str | None:
    """The branch that a killed `dvc exp run` left HEAD detached from (treeverse/dvc#9260); None if none did."""
    if git("symbolic-ref", "-q", "HEAD") is not None or git("rev-parse", "-q", "--verify", EXPERIMENT) is None:
        return None
    for step in (git("reflog", "--format=%gs", "HEAD") or "").splitlines():
        left = re.fullmatch(r"checkout: moving from (\S+) to \S+", step)
        if left and git("rev-parse", "-q", "--verify", f"refs/heads/{left[1]}") is not None:
            return left[1]
    return None


def git(*arguments: str) -> str | None:
    """What git prints; None if it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def head() -> str:
    """The commit that is checked out; empty if there is none."""
    return (git("rev-parse", "HEAD") or "").strip()


def metrics_at(commit: str, name: str) -> dict[str, Any]:
    """The content of metrics/NAME.json at a commit; empty if it is not there."""
    found: dict[str, Any] = json.loads(git("show", f"{commit}:./metrics/{name}.json") or "{}")
    return found


Listing = dict[str, str]  # MD5 by file name, relative to a folder


class Hashes:
    """Hashes every file once, on all cores; hard links of one file count as one."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(max(4, available_cores()))  # hashlib releases the GIL
        self._taken: dict[tuple[int, int], Future[str]] = {}

    def begin(self, paths: Iterable[Path]) -> None:
        """Start hashing these files and folders, the largest file first; skip missing ones."""
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
        """The hash that dvc.lock should have for a file or folder."""
        return folder_hash(self.listing(path)) if path.is_dir() else self.file(path)

    def _future(self, path: Path) -> Future[str]:
        status = path.stat()
        key = status.st_dev, status.st_ino
        if key not in self._taken:
            self._taken[key] = self.pool.submit(_md5, path)
        return self._taken[key]


def folder_hash(listing: Listing) -> str:
    """DVC's hash of a folder: MD5 of a JSON list of its files, sorted by name."""
    rows = [{"md5": listing[name], "relpath": name} for name in sorted(listing)]
    return f"{hashlib.md5(json.dumps(rows, sort_keys=True).encode()).hexdigest()}.dir"


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder that .dvcignore does not hide, in no particular order."""
    keep, found = _filter(Path.cwd()), []
    for parent, folders, files in os.walk(folder):
        folders[:], files = keep(parent, folders, files)
        found += [Path(parent, name) for name in files]
    return found


@cache
def _filter(repository: Path) -> Keep:
    return dvc_filter(repository)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


LOCK = Path("dvc.lock")
PIPELINE = Path("dvc.yaml")
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


class Damaged(Exception):
    """A dvc.lock that cannot be read; the message says where."""


@dataclass(frozen=True)
class Entry:
    """A file or folder in dvc.lock."""

    path: Path
    md5: str  # ends in .dir for a folder
    size: int  # bytes, of all files

    @property
    def is_folder(self) -> bool:
        return self.md5.endswith(".dir")


@dataclass(frozen=True)
class Stage:
    """A stage in dvc.lock."""

    name: str
    cmd: str
    deps: list[Entry]
    params: dict[str, Any]  # sections or keys of params.yaml at the time
    outs: list[Entry]


@dataclass(frozen=True)
class Defined:
    """A stage in dvc.yaml."""

    cmd: str
    deps: set[str]
    outs: set[str]
    uncached: set[str]  # outs that git keeps, not DVC


def read_lock() -> list[Stage]:
    """The stages of dvc.lock, in the order of dvc.yaml.

    Raises:
        DataError: dvc.lock is missing or damaged.
    """
    try:
        stages = parse_lock(LOCK.read_bytes().decode(errors="replace"))
    except FileNotFoundError:
        raise DataError(f"{LOCK} is missing; {_repair('dvc repro')}") from None
    except Damaged as fault:
        raise DataError(f"{LOCK} is damaged ({fault}); {_repair(f'rm {LOCK} && dvc repro')}") from None
    order = list(read_pipeline())
    return sorted(stages, key=lambda stage: order.index(stage.name) if stage.name in order else len(order))


def _repair(otherwise: str) -> str:
    try:
        parse_lock(committed(LOCK) or "")
    except Damaged:
        return otherwise
    return f"git checkout HEAD {LOCK}"  # HEAD also resolves a merge conflict


def parse_lock(text: str) -> list[Stage]:
    """Read the text of a dvc.lock.

    Raises:
        Damaged: it is empty, not YAML, or not what DVC writes.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(("<<<<<<<", ">>>>>>>")):
            raise Damaged(f"line {number} is a merge conflict marker")
    try:
        content = load_yaml(text)
        return [_stage(name, facts) for name, facts in content["stages"].items()]
    except NotYaml as error:
        place = re.match(r"line \d+", str(error))
        raise Damaged(f"{place[0]} is not YAML" if place else "it is not YAML") from None
    except (TypeError, KeyError, AttributeError, ValueError):
        raise Damaged("it is empty" if not text.strip() else "a part of it is missing") from None


def _stage(name: str, facts: dict[str, Any]) -> Stage:
    params: dict[str, Any] = {}
    for section in facts.get("params", {}).values():
        params |= section
    deps, outs = ([_entry(facts) for facts in facts.get(kind, [])] for kind in ("deps", "outs"))
    return Stage(name, facts["cmd"], deps, params, outs)


def _entry(facts: dict[str, Any]) -> Entry:
    if not MD5.fullmatch(facts["md5"]):
        raise ValueError(facts["md5"])
    return Entry(Path(facts["path"]), facts["md5"], int(facts["size"]))


def read_pipeline() -> dict[str, Defined]:
    """The stages of dvc.yaml.

    Raises:
        DataError: dvc.yaml is missing or damaged.
    """
    try:
        content = load_yaml(PIPELINE.read_text(encoding="utf-8"))
        return {name: _defined(facts) for name, facts in content["stages"].items()}
    except FileNotFoundError:
        raise DataError(f"{PIPELINE} is missing; run in its folder, or git checkout HEAD {PIPELINE}") from None
    except (TypeError, KeyError, AttributeError, ValueError):
        raise DataError(f"{PIPELINE} is damaged; git checkout HEAD {PIPELINE}") from None


def _defined(facts: dict[str, Any]) -> Defined:
    outs: dict[str, dict[str, Any]] = {}
    for out in [out for kind in ("outs", "metrics", "plots") for out in facts.get(kind, [])]:
        outs |= out if isinstance(out, dict) else {out: {}}
    uncached = {path for path, options in outs.items() if options.get("cache") is False}
    return Defined(facts["cmd"], set(facts.get("deps", [])), set(outs), uncached)


class Cache:
    """The objects of one project's cache."""

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._root = (setting("cache", "dir") or Path(".dvc/cache")) / "files" / "md5"

    def object(self, md5: str) -> Path:
        """The path of a hash's object, which may not exist."""
        return self._root / md5[:2] / md5[2:]

    def listing(self, entry: Entry) -> Listing | None:
        """A folder's files according to the cache; None if its object is missing or damaged."""
        if self._is_damaged(entry.md5) is not False:
            return None
        return {row["relpath"]: row["md5"] for row in json.loads(self.object(entry.md5).read_bytes())}

    def objects(self, entry: Entry) -> list[str]:
        """The hashes of an output: its own and, for a folder with an intact object, those of its files."""
        files = self.listing(entry) if entry.is_folder else None
        return [entry.md5, *sorted(set((files or {}).values()))]

    def damaged(self, entry: Entry) -> list[Path]:
        """Objects of an output whose bytes do not match their hash."""
        return [self.object(md5) for md5 in self.objects(entry) if self._is_damaged(md5)]

    def missing(self, entry: Entry) -> list[Path]:
        """Objects of an output that do not exist."""
        return [self.object(md5) for md5 in self.objects(entry) if self._is_damaged(md5) is None]

    def _is_damaged(self, md5: str) -> bool | None:
        """None if the object does not exist."""
        path = self.object(md5)
        return self._hashes.file(path) != md5.removesuffix(".dir") if path.is_file() else None
