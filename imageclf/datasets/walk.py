"""List the files in a folder, and why others are skipped."""

import os
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from imageclf.images.kinds import NO_FILE, cached_by_dvc, is_clutter, kind_of_link, remnant
from imageclf.runtime.errors import DataError, printable

TOP = PurePosixPath()
BATCH = 1000  # names
FORGOTTEN = 20 * BATCH  # names after which DVC's filter is made anew: it remembers each, in 280 bytes
Keep = Callable[[str, list[str], list[str]], tuple[list[str], list[str]]]


def dvc_filter(folder: Path) -> Keep:
    """DVC's .dvcignore filter for folders at or below `folder`; outside a repository it keeps everything."""
    here = Path.cwd()
    repository = next((place for place in (here, *here.parents) if (place / ".dvc").is_dir()), None)
    if repository is None or not Path(os.path.abspath(folder)).is_relative_to(repository):  # noqa: PTH100 - as DVC
        return lambda _, folders, files: (folders, files)
    from dvc.fs import localfs  # here: the import takes half a second, and only own images need it
    from dvc.ignore import DvcIgnoreFilter

    its = DvcIgnoreFilter(localfs, str(repository))
    asked = 0

    def keep(place: str, folders: list[str], files: list[str]) -> tuple[list[str], list[str]]:
        nonlocal its, asked
        kept = its(place, folders, [])[0], list[str]()
        for begin in range(0, len(files), BATCH):
            if asked > FORGOTTEN:
                its, asked = DvcIgnoreFilter(localfs, str(repository)), 0
            kept[1].extend(its(place, [], files[begin : begin + BATCH])[1])
            asked += BATCH
        return kept

    return keep


HIDDEN_FOLDER, HIDDEN_FILE = "a folder hidden by .dvcignore", "a file hidden by .dvcignore"


@dataclass(frozen=True, slots=True)
class Batch:
    """Some files of one folder, in sorted order."""

    folder: PurePosixPath
    joined: str  # names between slashes: a string per file would take five times the memory

    @property
    def names(self) -> list[str]:
        return self.joined.split("/")

    @property
    def paths(self) -> list[str]:
        above = "" if self.folder == TOP else f"{self.folder}/"
        return [above + name for name in self.names]


@dataclass
class Walk:
    """The content of a folder, with relative paths in sorted order; `passed_over` maps skipped paths to reasons."""

    batches: list[Batch] = field(default_factory=list)
    folders: list[PurePosixPath] = field(default_factory=list)
    passed_over: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(batch.joined.count("/") + 1 for batch in self.batches)

    def paths(self) -> Iterator[str]:
        """The paths of the files."""
        for batch in self.batches:
            yield from batch.paths

    def names_in(self, folder: PurePosixPath) -> Iterator[str]:
        """The names of the files that are in `folder` itself."""
        for batch in self.batches:
            if batch.folder == folder:
                yield from batch.names


def walk(root: Path) -> Walk:
    """List `root` without opening files.

    Only DVC's links into its cache are followed.

    Raises:
        DataError: a folder may not be read, or DVC's cache lacks a file.
    """
    found = Walk()
    _visit(root, TOP, found, dvc_filter(root))
    return found


def _visit(root: Path, place: PurePosixPath, found: Walk, keep: Keep) -> None:
    folders, files, reasons = _entries(root / place)
    kept = keep(str(root / place), folders, files)
    for names, left, reason in ((folders, kept[0], HIDDEN_FOLDER), (files, kept[1], HIDDEN_FILE)):
        if len(left) < len(names):
            reasons |= dict.fromkeys(set(names) - set(left) - reasons.keys(), reason)
    if reasons:
        found.passed_over |= {printable(str(place / name)): reasons[name] for name in sorted(reasons)}
        files = [name for name in files if name not in reasons]
    files.sort()
    begin = 0
    # A path sorts by the whole of it: a-b/1 comes before a/1.
    for name in sorted(name for name in (f"{folder}/" for folder in folders) if name[:-1] not in reasons):
        end = bisect(files, name)
        _add(files[begin:end], place, found)
        found.folders.append(place / name)
        _visit(root, place / name, found, keep)
        begin = end
    _add(files[begin:], place, found)


def _add(files: list[str], place: PurePosixPath, found: Walk) -> None:
    found.batches += [Batch(place, "/".join(files[at : at + BATCH])) for at in range(0, len(files), BATCH)]


def _entries(folder: Path) -> tuple[list[str], list[str], dict[str, str]]:
    """The names of folders and of files, and why some of them are skipped."""
    folders, files, reasons = list[str](), list[str](), dict[str, str]()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                (folders if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
                reason = _reason(entry)
                if reason:
                    reasons[entry.name] = reason
    except OSError as error:
        raise DataError(f"{printable(str(folder))} cannot be read ({error.strerror}); change its permissions") from None
    return folders, files, reasons


def _reason(entry: os.DirEntry[str]) -> str:
    """Why an entry is skipped; empty if it is not."""
    hidden, breaking = is_clutter(entry.name), "\r" in entry.name  # CSV files cannot keep a carriage return
    if entry.is_dir(follow_symlinks=False):
        unfinished = entry.name.lower().endswith(".download")  # Safari's partial downloads
        kind = "hidden or system " if hidden else "wrongly named " if breaking else "half downloaded " * unfinished
        return kind and f"a {kind}folder with {sum(1 for _ in _below(Path(entry.path))):,} files"
    if entry.is_symlink():
        cached = cached_by_dvc(entry.path)
        if not cached:
            return kind_of_link(entry.path)
        if not os.path.isfile(cached):  # noqa: PTH113 - a string
            raise DataError(f"{printable(entry.path)} links to a file that DVC's cache lacks; run dvc pull")
    elif not entry.is_file(follow_symlinks=False):
        return NO_FILE
    if hidden:
        return "a hidden or system file"
    if breaking:
        return "a name with a carriage return"
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "a name that is not UTF-8"
    return remnant(entry.name)


def _below(folder: Path) -> Iterator[str]:
    for _, _, files in os.walk(folder):
        yield from files
