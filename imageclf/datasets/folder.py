"""The manifest of own images: every file with its class, split and hash."""

import csv
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, islice, permutations
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from imageclf import CODE_FOLDERS
from imageclf.datasets.corrections import Corrections
from imageclf.datasets.hashes import sizes_and_hashes
from imageclf.datasets.labels_csv import LABELS, Row
from imageclf.datasets.layout import HOW, NOT_NAMED, OTHER_TABLE, lay_out, wrapped
from imageclf.datasets.names import cleaned, difference, look, split_of
from imageclf.datasets.walk import HIDDEN_FILE, HIDDEN_FOLDER, walk
from imageclf.images.kinds import DEAD_LINK, LINK, LINKED_FOLDER
from imageclf.runtime.errors import DataError, prefixes, printable, some
from imageclf.runtime.platform import available_cores
from imageclf.runtime.progress import Progress

NONE = "data/none"  # an empty file: DVC needs a path even if there is no folder
# Files that are left out but may be wanted, and what to do then.
MISSED = {
    LINKED_FOLDER: "replace it by the folder itself",
    LINK: "replace it by the file itself",
    DEAD_LINK: "fix it",
    HIDDEN_FOLDER: "change .dvcignore if it is wanted",
    HIDDEN_FILE: "change .dvcignore if it is wanted",
    NOT_NAMED: "name its class there if it is wanted",
    OTHER_TABLE: f"if it names the classes, save it as {LABELS} at the top, with the columns path,label",
}
LEFT_OUT = ("path", "problem", "action")
NO_LABEL = "without a label in data.corrections"
PART = 4096  # files whose hashes are kept together
Listed = tuple[int, Path, str, Row]  # the number of a root, its folder, the path of a file in it, what is known of it
OURS = ("data/raw", "data/prepared", "models", "metrics", *CODE_FOLDERS)  # folders that cannot hold a user's images


class Line(NamedTuple):
    """A row of files.csv, about a file of the folder number `root`."""

    root: int
    path: str
    label: str
    split: str  # train, val, test; empty: not given
    group: str  # empty: none
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What is in the folders. A row per file is made when it is asked for: a million of them never are at once."""

    classes: list[str]
    number: int  # of files
    splits: set[str]  # that are given; with an empty one if some files have none
    left_out: list[tuple[str, str, str]]  # path, problem, action; sorted
    said: list[str]  # console lines
    listed: Callable[[], Iterator[Listed]] = field(repr=False)

    def rows(self, kept: Path | None = None) -> Iterator[Line]:
        """Hash each file; sorted by root and path. After a kill, a run goes on with the hashes in the folder `kept`."""
        listed = self.listed()
        with (
            Progress("download", total=self.number, unit="file") as progress,
            ThreadPoolExecutor(available_cores()) as pool,
        ):
            for number in count():
                part = list(islice(listed, PART))
                if not part:
                    return
                place = kept / f"{number:06d}.part" if kept and len(part) == PART else None
                facts = sizes_and_hashes([f"{folder}/{path}" for _, folder, path, _ in part], pool, place)
                for (root, _, path, row), (size, sha256) in zip(part, facts, strict=True):
                    yield Line(root, path, cleaned(row.label), row.split, row.group, size, sha256)
                progress.advance(len(part))

    def write(self, folder: Path, kept: Path | None = None) -> None:
        """Write files.csv and left_out.csv; for `kept` see `rows`."""
        for name, columns, rows in (("files", Line._fields, self.rows(kept)), ("left_out", LEFT_OUT, self.left_out)):
            with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(columns)
                writer.writerows(rows)


def make_manifest(roots: Sequence[str], *, by_folder: bool = False, corrections: Corrections | None = None) -> Manifest:
    """List every root; `by_folder` makes groups of the classes' folders, `corrections` change labels.

    Raises:
        DataError: a root is not a folder with images in at least two classes, a group is in several splits, or the
            corrections are not of these images.
    """
    folders = [located(root) for root in roots]
    _check_apart(roots, folders)
    layouts, passed_over, said = [], [], []
    for root, place in zip(roots, folders, strict=True):
        found = walk(place)
        layout = lay_out(place, found, by_folder=by_folder)
        layouts.append(layout)
        said += [layout.said] * bool(layout.said)
        above = f"{printable(root)}/" if len(roots) > 1 else ""
        reasons = found.passed_over | {printable(path): reason for path, reason in layout.others.items()}
        passed_over += [(above + path, reason, "left out") for path, reason in reasons.items()]
    fixes, above_each = corrections or Corrections(), prefixes(roots)

    def listed() -> Iterator[Listed]:
        for number, (place, layout) in enumerate(zip(folders, layouts, strict=True)):
            for path, row in layout.candidates():
                now = fixes.applied(printable(above_each[number] + path), row) if fixes.lines else row
                if now is not None:
                    yield number, place, path, now

    if fixes.lines:
        fixes.check(
            lambda: (
                (printable(above + path), row)
                for above, layout in zip(above_each, layouts, strict=True)
                for path, row in layout.candidates()
            )
        )
        passed_over += [(path, NO_LABEL, "left out") for path in fixes.left_out]
    left_out = sorted(passed_over)
    number, labels, splits, groups = 0, set[str](), set[str](), _Groups()
    for _, _, path, row in listed():
        number += 1
        labels.add(row.label)
        splits.add(row.split)
        if row.group:
            groups.add(path, row)
    _check_classes(roots, labels, listed, left_out)
    said += groups.said(number, by_folder=by_folder) + fixes.said()
    return Manifest(sorted(set(map(cleaned, labels))), number, splits, left_out, said, listed)


class _Groups:
    """What is in each group of files."""

    def __init__(self) -> None:
        self._files = 0
        self._labels = defaultdict[str, set[str]](set)
        self._given = defaultdict[str, dict[str, str]](dict)  # the first path in each given split

    def add(self, path: str, row: Row) -> None:
        self._files += 1
        self._labels[row.group].add(cleaned(row.label))
        if row.split:
            self._given[row.group].setdefault(row.split, path)

    def said(self, files: int, *, by_folder: bool) -> list[str]:
        """A console line about the groups among `files`, if there are any.

        Raises:
            DataError: a group is in several of the given splits, or the folders make none.
        """
        if by_folder and not self._files:
            raise DataError(
                "data.group is folder, and no image lies in a folder inside its class folder, as in cat/tom/1.jpg; "
                "make such folders, or set data.group to none"
            )
        for name, given in sorted(self._given.items()):
            (split, path), *others = given.items()
            for other_split, other in others[:1]:
                raise DataError(
                    f"the group {name!r} reaches over given splits: {printable(path)} is for {split} and "
                    f"{printable(other)} for {other_split}; give all of it to one, or rename one part if they are two "
                    "groups"
                )
        if not self._files:
            return []
        mixed = sum(len(labels) > 1 for labels in self._labels.values())
        several = f"; {mixed:,} of them with several classes" if mixed else ""
        one = len(self._labels) == 1
        number = "1 group holds" if one else f"{len(self._labels):,} groups hold"
        return [f"{number} {self._files:,} of {files:,} files, and {'' if one else 'each '}stays in one split{several}"]


def missed(left_out: Sequence[tuple[str, str, str]]) -> list[str]:
    """Console lines, one per reason, about files that were left out but may be wanted."""
    lines = []
    for reason, remedy in MISSED.items():
        paths = [path for path, problem, _ in left_out if problem == reason]
        if paths:
            lines.append(f"left out {some(paths)}: {reason}; {remedy}")
    return lines


def located(root: str) -> Path:
    """The folder at a path of params.yaml.

    Raises:
        DataError: it is missing, or one of the project's own folders.
    """
    path, name = Path(root), printable(root)
    if not path.is_dir():
        raise DataError(f"{name} {_no_folder(path)}")
    here, there = Path.cwd().resolve(), path.resolve()
    if here.is_relative_to(there) or any(there.is_relative_to(here / own) for own in OURS):
        raise DataError(f"{name} holds the pipeline's own files; set data.path to a folder with only your images")
    return path


def _no_folder(path: Path) -> str:
    """Why `path` is not a folder, and what to do."""
    if path.is_file():
        if path.suffix.lower() == ".csv":
            return "is a table; save it as labels.csv in the folder of its images, and set data.path to that folder"
        if path.suffix == ".dvc":
            return f"is DVC's file for {printable(path.stem)}; set data.path to {printable(path.with_suffix(''))}"
        if zipfile.is_zipfile(path) or tarfile.is_tarfile(path):
            return "is an archive; unpack it and set data.path to the folder that it makes"
        return "is a file; set data.path to a folder of images"
    for place in (path, *path.parents):
        if place.name and place.with_name(f"{place.name}.dvc").is_file() and not place.exists():
            return f"is tracked by DVC but missing; run dvc checkout {printable(place)} or dvc pull"
    if path.is_symlink():
        return f"is a link to {printable(path.readlink())}, which does not exist; fix it"
    siblings = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = next((other for other in sorted(siblings) if look(other) == look(path.name)), "")
    if near:
        return f"is missing, but {printable(path.with_name(near))} exists; set data.path to it"
    return (
        "is missing; set data.path to a folder of images, and if DVC runs it elsewhere (--temp, --queue), dvc add it "
        "or give an absolute path"
    )


def _check_apart(roots: Sequence[str], folders: Sequence[Path]) -> None:
    for inner, outer in permutations(range(len(roots)), 2):
        if folders[inner].resolve().is_relative_to(folders[outer].resolve()):
            raise DataError(
                f"{printable(roots[inner])} lies in {printable(roots[outer])}, whose images would count twice; "
                "set data.path and data.also to separate folders"
            )
    splits = {split_of(folder.resolve().name) for folder in folders}
    if len(splits) > 1 and "" not in splits:
        raise DataError(
            f"{' and '.join(map(printable, roots))} are splits of one data set by their names, and would be mixed; "
            "set data.path to the folder that holds both"
        )


def _check_classes(
    roots: Sequence[str],
    classes: set[str],
    listed: Callable[[], Iterator[Listed]],
    left_out: Sequence[tuple[str, str, str]],
) -> None:
    where = " and ".join(printable(root) for root in roots)
    if not classes:
        raise DataError(f"{where} holds no images; {HOW}")
    for name in classes:
        if not cleaned(name):
            raise DataError(f"{where}: the class {name!r} has an invisible name; rename it")
    if len(classes) == 1:
        paths = [PurePosixPath(path) for _, _, path, _ in listed()]
        place, below = wrapped(paths)
        inner = "".join(f"; {line}" for line in missed(left_out)[:1])
        if len(roots) == 1 and place.parts and place / LABELS in paths:
            inner = f", or set the path to {printable(Path(where) / place)}, where there is one"
        elif len(roots) == 1 and place.parts and len(below) > 1:
            folders = printable(", ".join(below[:3]))
            inner = f", or if its folders {folders} are the classes, set the path to {printable(Path(where) / place)}"
        raise DataError(f"{where} has one class, {printable(*classes)}, and at least two are needed; {HOW}{inner}")
    alike: dict[str, str] = {}
    for name in sorted(classes):
        other = alike.setdefault(look(name), name)
        if other != name:
            kind = difference(other, name)
            shown = ascii if "Unicode" in kind else repr
            raise DataError(
                f"{where}: the classes {shown(other)} and {shown(name)} differ only in {kind}; merge or rename one"
            )
