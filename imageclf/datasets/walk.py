"""List the files in a folder, and why others are skipped."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from imageclf.images.kinds import NO_FILE, cached_by_dvc, is_clutter, kind_of_link, remnant
from imageclf.runtime.errors import DataError, printable

Keep = Callable[[str, list[str], list[str]], tuple[list[str], list[str]]]


def dvc_filter(folder: Path) -> Keep:
    """DVC's .dvcignore filter for folders at or below `folder`; outside a repository it keeps everything."""
    here = Path.cwd()
    repository = next((place for place in (here, *here.parents) if (place / ".dvc").is_dir()), None)
    if repository is None or not Path(os.path.abspath(folder)).is_relative_to(repository):  # noqa: PTH100 - as DVC
        return lambda _, folders, files: (folders, files)
    from dvc.fs import localfs  # here: the import takes half a second, and only own images need it
    from dvc.ignore import DvcIgnoreFilter

    keep: Keep = DvcIgnoreFilter(localfs, str(repository))
    return keep


HIDDEN_FOLDER, HIDDEN_FILE = "a folder hidden by .dvcignore", "a file hidden by .dvcignore"


@dataclass
class Walk:
    """The content of a folder, with relative paths; `passed_over` maps skipped paths to reasons."""

    files: list[PurePosixPath] = field(default_factory=list)
    folders: list[PurePosixPath] = field(default_factory=list)
    passed_over: dict[str, str] = field(default_factory=dict)


def walk(root: Path) -> Walk:
    """List `root` without opening files, in sorted order.

    Only DVC's links into its cache are followed.

    Raises:
        DataError: a folder may not be read, or DVC's cache lacks a file.
    """
    found = Walk()
    _visit(root, PurePosixPath(), found, dvc_filter(root))
    return found


def _visit(root: Path, place: PurePosixPath, found: Walk, keep: Keep) -> None:
    entries = _entries(root / place)
    folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    files = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
    kept = {name for names in keep(str(root / place), folders, files) for name in names}
    for entry in entries:
        path = place / entry.name
        reason = _reason(entry)
        if not reason and entry.name not in kept:
            reason = HIDDEN_FOLDER if entry.is_dir(follow_symlinks=False) else HIDDEN_FILE
        if reason:
            found.passed_over[printable(str(path))] = reason
        elif entry.is_dir(follow_symlinks=False):
            found.folders.append(path)
            _visit(root, path, found, keep)
        else:
            found.files.append(path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{printable(str(folder))} cannot be read ({error.strerror}); change its permissions") from None


def _reason(entry: os.DirEntry[str]) -> str:
    """Why an entry is skipped; empty if it is not."""
    mode = entry.stat(follow_symlinks=False).st_mode
    hidden, breaking = is_clutter(entry.name), "\r" in entry.name  # CSV files cannot keep a carriage return
    if stat.S_ISDIR(mode):
        unfinished = entry.name.lower().endswith(".download")  # Safari's partial downloads
        kind = "hidden or system " if hidden else "wrongly named " if breaking else "half downloaded " * unfinished
        return kind and f"a {kind}folder with {sum(1 for _ in _below(Path(entry.path))):,} files"
    if stat.S_ISLNK(mode):
        cached = cached_by_dvc(entry.path)
        if not cached:
            return kind_of_link(entry.path)
        if not os.path.isfile(cached):  # noqa: PTH113 - a string
            raise DataError(f"{printable(entry.path)} links to a file that DVC's cache lacks; run dvc pull")
    elif not stat.S_ISREG(mode):
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
