"""A data set's arrays from its first working source, or from a local archive."""

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import Timeout

from imageclf.datasets.source import SHOWN, Arrays, Entry, Patience, PinnedFile, Source, digest_of
from imageclf.runtime.errors import DataError, Fault, SourceError, TooSlow, printable
from imageclf.runtime.platform import locked


def from_sources(entry: Entry, folder: Path, patience: Patience | None = None) -> Arrays:
    """Try the sources in turn, first those whose files are already in `folder`; keep partial downloads there.

    Raises:
        SourceError: no source delivered the complete data set.
    """
    patience = patience or Patience()
    waiting = deque(sorted(entry.sources, key=lambda source: not _is_here(source, folder)))
    slow: list[Source] = []  # too slow at first; tried again without a minimum rate if all others fail
    while waiting:
        source = waiting.popleft()
        is_last_resort = not waiting or source in slow
        try:
            return _from_source(source, folder, patience.endless() if is_last_resort else patience)
        except Fault as fault:
            if isinstance(fault, TooSlow):
                slow.append(source)
                waiting.append(source)
            then = f"next: {waiting[0].origin}" if waiting else "no source is left"
            print(f"download: {fault}; {then}", flush=True)
    wanted = " and ".join(map(str, entry.sources[0].files))
    raise SourceError(
        f"{entry.name}: no source delivered it completely; put {wanted} into {folder}, or set data.archive in "
        "params.yaml, and run again"
    )


def from_archive(entry: Entry, path: Path) -> Arrays:
    """Read a local file, or a folder with all files of one of the sources.

    Raises:
        DataError: `path` is missing or has other files.
    """
    for source in entry.sources:
        paths = [path / file.name for file in source.files] if path.is_dir() else [path]
        if len(paths) == len(source.files) and not any(map(_fault, source.files, paths)):
            try:
                return source.decode(paths)
            except Fault as fault:
                raise DataError(f"params.yaml: data.archive: {printable(path)}: {fault}; download it again") from None
    wanted = " or ".join(dict.fromkeys(" with ".join(map(str, source.files)) for source in entry.sources))
    raise DataError(
        f"params.yaml: data.archive: {printable(path)} {_found(entry, path)}; give {wanted}, or null to download"
    )


@contextmanager
def held_folder(folder: Path) -> Iterator[Path]:
    """Lock a folder for this process. Its files are kept, so that a data set is downloaded only once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.with_name(f"{folder.name}.lock")
    with ExitStack() as held:
        try:
            held.enter_context(locked(file, patience=0))
        except Timeout:
            print(f"download: another run is filling {folder}; waiting for it", flush=True)
            held.enter_context(locked(file))
        folder.mkdir(exist_ok=True)
        yield folder
        for part in folder.glob("*.part"):  # of a source that was given up
            part.unlink()


def _from_source(source: Source, folder: Path, patience: Patience) -> Arrays:
    paths = [folder / file.name for file in source.files]
    for file, path in zip(source.files, paths, strict=True):
        try:
            if _is_whole(file, path):
                print(f"download: {path} is already complete", flush=True)
            else:
                source.origin.fetch(file, path, patience)
        except Fault as fault:
            raise type(fault)(f"{source.origin.address(file)}: {fault}") from None
    return source.decode(paths)


def _is_here(source: Source, folder: Path) -> bool:
    """Whether all files are there, by name and size only."""
    paths = {file: folder / file.name for file in source.files}
    return all(path.is_file() and path.stat().st_size == file.size for file, path in paths.items())


def _is_whole(file: PinnedFile, path: Path) -> bool:
    """Whether the file is complete; a wrong file is removed."""
    fault = _fault(file, path)
    if fault and path.is_file():
        print(f"download: {path} {fault}; removed", flush=True)
        path.unlink()
    return not fault


def _fault(file: PinnedFile, path: Path) -> str:
    """What is wrong with the file at `path`; empty if nothing."""
    try:
        file.check(path)
    except Fault as fault:
        return f"{fault}"
    return ""


def _found(entry: Entry, path: Path) -> str:
    if path.is_file():
        return f"has {path.stat().st_size:,} bytes, {digest_of(path)[:SHOWN]}…"
    if path.is_dir():
        files = dict.fromkeys(file for source in entry.sources for file in source.files)
        faults = {file.name: _fault(file, path / file.name) for file in files}
        return "is a folder where " + ", ".join(f"{name} {fault}" for name, fault in faults.items() if fault)
    return "is not a file or folder"
