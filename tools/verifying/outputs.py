"""Compare each stage's outputs with dvc.lock, and find the commands that restore them."""

import shlex
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imageclf.runtime.errors import DataError
from imageclf.runtime.files import check_sums, has_remote
from imageclf.runtime.yaml import flat
from tools.repository import (
    LOCK,
    Cache,
    Damaged,
    Defined,
    Entry,
    Hashes,
    Listing,
    Stage,
    committed,
    files_below,
    folder_hash,
    parse_lock,
)


@dataclass(frozen=True)
class Finding:
    """A problem and its repair."""

    what: str  # where, and what is wrong
    repair: str  # a command line for a shell in the folder of dvc.yaml


def words(paths: Iterable[Path | str]) -> str:
    """Paths, quoted for a shell."""
    return " ".join(shlex.quote(str(path)) for path in paths)


def changes(
    stage: Stage, defined: Defined | None, params: dict[str, Any], made: dict[str, Entry], hashes: Hashes
) -> Iterator[str]:
    """The reasons why a stage would run again.

    `params` is the current params.yaml, `made` every output in dvc.lock by its path.
    """
    yield from params_changes(stage, params)
    if defined is None:
        yield "dvc.yaml has no such stage"
    elif defined.cmd != stage.cmd:
        yield f"dvc.yaml runs {defined.cmd!r}, dvc.lock has {stage.cmd!r}"
    else:
        yield from _listed_otherwise(defined.deps, stage.deps)
        yield from _listed_otherwise(defined.outs, stage.outs)
    for dep in stage.deps:
        if str(dep.path) in made:
            if made[str(dep.path)].md5 != dep.md5:
                yield f"{dep.path} has changed since"
        elif not dep.path.exists():
            yield f"{dep.path} is missing"
        elif hashes.entry(dep.path) != dep.md5:
            yield f"{dep.path} has changed"


def params_changes(stage: Stage, params: dict[str, Any]) -> Iterator[str]:
    """The params of a stage that are others now than when it ran."""
    now = flat(params)
    recorded = flat(stage.params)
    for key in sorted(recorded | _tracked(stage, now)):
        if key not in now:
            yield f"{key} is no longer in params.yaml"
        elif key not in recorded:
            yield f"{key} is not in dvc.lock"
        elif now[key] != recorded[key]:
            yield f"{key}: {recorded[key]} in dvc.lock, {now[key]} in params.yaml"


def _tracked(stage: Stage, now: dict[str, Any]) -> dict[str, Any]:
    """The keys of now that belong to a section the stage tracks."""
    return {key: value for key, value in now.items() if any(f"{key}.".startswith(f"{name}.") for name in stage.params)}


def _listed_otherwise(listed: set[str], recorded: list[Entry]) -> Iterator[str]:
    known = {str(entry.path) for entry in recorded}
    # dvc.lock has the value of `${data.path}`.
    plain = {path for path in listed if "${" not in path}
    for path in sorted(plain - known):
        yield f"{path} is new in dvc.yaml"
    if plain == listed:
        for path in sorted(known - listed):
            yield f"{path} is no longer in dvc.yaml"


class Outputs:
    """Hashes all outputs in the background, and checks them one by one."""

    def __init__(self, stages: list[Stage], uncached: set[str], hashes: Hashes) -> None:
        """`uncached` are the outputs that git keeps, not DVC."""
        self._hashes, self._cache, self._uncached = hashes, Cache(hashes), uncached
        outs = self._outs = [out for stage in stages for out in stage.outs]
        hashes.begin(self._cache.object(md5) for out in outs for md5 in self._cache.objects(out))
        hashes.begin(out.path for out in outs)
        self._sums: dict[Path, Future[str]] = {
            out.path: hashes.pool.submit(_sums_fault, out.path) for out in outs if out.path.is_dir()
        }

    def none_here(self) -> bool:
        """Whether the workspace and the cache have none of DVC's outputs: nothing was pulled or run yet."""
        kept = [out for out in self._outs if self._cached(out)]
        return bool(kept) and not any(out.path.exists() or self._cache.object(out.md5).exists() for out in kept)

    def findings(self, stage: Stage, *, current: bool) -> Iterator[Finding]:
        """What is wrong with a stage's outputs; `current`: none of its deps has changed."""
        for out in stage.outs:
            fault = self._fault(out)
            # DVC's run cache also keeps outputs that are in git; these may be missing there.
            damaged = self._cache.damaged(out)
            missing = self._cache.missing(out) if self._cached(out) else []
            if fault:
                also = f"; {damaged[0]} is damaged" if damaged else ""
                yield Finding(f"{fault}{also}", self._restore(stage, out, damaged, missing))
            elif damaged:
                yield Finding(f"{damaged[0]} is damaged, {out.path} is not", self._refill(stage, damaged, current))
            elif missing:
                yield Finding(f"{out.path} is not in DVC's cache", self._refill(stage, [], current))
            elif out.path in self._sums and (fault := self._sums[out.path].result()):
                yield Finding(f"{fault}; dvc.lock has that too", _run_again(stage))

    def _cached(self, out: Entry) -> bool:
        return str(out.path) not in self._uncached

    def _fault(self, out: Entry) -> str:
        """What is wrong with the copy in the workspace; empty if nothing."""
        if not out.path.exists():
            return f"{out.path} is missing"
        if out.path.is_dir() != out.is_folder:
            return f"{out.path} is a {'file' if out.is_folder else 'folder'}, and dvc.lock says otherwise"
        if not out.is_folder:
            found = self._hashes.file(out.path)
            return _difference(out.path, found, out.md5) or _size_fault(out, [out.path])
        listing = self._hashes.listing(out.path)
        if folder_hash(listing) == out.md5:
            return _size_fault(out, files_below(out.path))
        return self._folder_fault(out, listing)

    def _folder_fault(self, out: Entry, found: Listing) -> str:
        expected = self._cache.listing(out)
        if expected is None:
            # Without the cache's list of files, use the folder's own checksums.
            return self._sums[out.path].result() or _difference(out.path, folder_hash(found), out.md5)
        for name in sorted(expected | found):
            if name not in found:
                return f"{out.path / name} is missing"
            if name not in expected:
                return f"{out.path / name} was added"
            if found[name] != expected[name]:
                return _difference(out.path / name, found[name], expected[name])
        return ""

    def _restore(self, stage: Stage, out: Entry, damaged: list[Path], missing: list[Path]) -> str:
        """The command that brings back an output that differs in the workspace."""
        if out.path.exists() and _entry_at_head(out) == self._hashes.entry(out.path):
            return f"git checkout HEAD {LOCK}"
        if not self._cached(out):
            return f"git checkout HEAD {words([out.path])}" if _entry_at_head(out) == out.md5 else _run_again(stage)
        if not damaged and not missing:
            return f"rm -rf {words([out.path])} && dvc checkout {words([out.path])}"
        if has_remote():
            return f"rm -rf {words([out.path, *damaged])} && dvc pull {words([out.path])}"
        return _after_removal(damaged, _run_again(stage))

    def _refill(self, stage: Stage, damaged: list[Path], current: bool) -> str:
        """The command that puts the good copy of the workspace into the cache."""
        # Committing an outdated stage would record the new params with the old outputs.
        return _after_removal(damaged, f"dvc commit -f {stage.name}" if current else _run_again(stage))


def _after_removal(paths: list[Path], command: str) -> str:
    return f"rm -f {words(paths)} && {command}" if paths else command


def _run_again(stage: Stage) -> str:
    return f"dvc repro -f -s {stage.name}"


def _difference(path: Path, found: str, expected: str) -> str:
    return "" if found == expected else f"{path} differs: its md5 begins {found[:8]}, not {expected[:8]}"


def _size_fault(out: Entry, files: list[Path]) -> str:
    size = sum(file.stat().st_size for file in files)
    return "" if size == out.size else f"{out.path} has {size:,} bytes, {LOCK} says {out.size:,}"


def _entry_at_head(out: Entry) -> str | None:
    """An output's hash in the committed dvc.lock."""
    try:
        stages = parse_lock(committed(LOCK) or "")
    except Damaged:
        return None
    return next((entry.md5 for stage in stages for entry in stage.outs if entry.path == out.path), None)


def _sums_fault(folder: Path) -> str:
    try:
        check_sums(folder, repair="")
    except DataError as error:
        return str(error).removesuffix("; ")
    return ""
