"""Each output of a stage against dvc.lock, its SHA256SUMS and DVC's cache.

DVC repairs none of this by itself: it finds a damaged object "already in the cache" and links it again. So the object
goes first, and what then brings it back depends on which copy is still good. tests/test_verify.py runs each command.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

from stages.console.errors import DataError
from stages.files.remote import has_remote
from stages.files.sums import check_sums
from stages.verifying.cache import Cache
from stages.verifying.finding import Finding, words
from stages.verifying.git import committed
from stages.verifying.hashes import Hashes, Listing, files_below, folder_hash
from stages.verifying.lock import LOCK, Damaged, Entry, Stage, parse_lock


class Outputs:
    """Hashes outputs in the background from the start, and judges them one by one."""

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
        """Whether all that DVC keeps is missing, in the workspace and in the cache: nobody has pulled or run it yet."""
        kept = [out for out in self._outs if self._cached(out)]
        return bool(kept) and not any(out.path.exists() or self._cache.object(out.md5).exists() for out in kept)

    def findings(self, stage: Stage, *, current: bool) -> Iterator[Finding]:
        """What is wrong with a stage's outputs; `current`: nothing that it hangs on has changed since."""
        for out in stage.outs:
            fault = self._fault(out)
            # What git keeps is among the objects too, for DVC's run cache; there it may be missing.
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
        """What is wrong with the copy in the workspace; empty if nothing is."""
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
            # Nobody knows the files that dvc.lock means, but the folder has a list of its own.
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
        # A commit of a stage that is out of date would record the new params with the old outputs.
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
    """The hash that the committed dvc.lock has for an output."""
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
