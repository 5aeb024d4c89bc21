"""The manifest of own images: every file with its class, split and hash."""

import tarfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path, PurePosixPath

import pandas as pd

from imageclf import CODE_FOLDERS
from imageclf.datasets.labels_csv import LABELS
from imageclf.datasets.layout import HOW, NOT_NAMED, OTHER_TABLE, lay_out, wrapped
from imageclf.datasets.names import cleaned, difference, look, split_of
from imageclf.datasets.walk import HIDDEN_FILE, HIDDEN_FOLDER, walk
from imageclf.images.kinds import DEAD_LINK, LINK, LINKED_FOLDER
from imageclf.runtime.errors import DataError, printable, some
from imageclf.runtime.files import sha256_of_file
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
OURS = ("data/raw", "data/prepared", "models", "metrics", *CODE_FOLDERS)  # folders that cannot hold a user's images


@dataclass(frozen=True)
class Manifest:
    """files: root, path, label, split, group, bytes, sha256; left_out: path, problem, action; said: console lines."""

    classes: list[str]
    files: pd.DataFrame
    left_out: pd.DataFrame
    said: list[str]


def make_manifest(roots: Sequence[str], *, by_folder: bool = False) -> Manifest:
    """List every root, and hash each file that should be an image; `by_folder` makes groups of the classes' folders.

    Raises:
        DataError: a root is not a folder with images in at least two classes, or a group is in several splits.
    """
    lines, passed_over, places, said = [], [], [], []
    folders = [located(root) for root in roots]
    _check_apart(roots, folders)
    for number, (root, place) in enumerate(zip(roots, folders, strict=True)):
        found = walk(place)
        layout = lay_out(place, found, by_folder=by_folder)
        said += [layout.said] * bool(layout.said)
        for candidate in layout.candidates:
            lines.append((number, str(candidate.path), candidate.label, candidate.split, candidate.group))
            places.append(place / candidate.path)
        above = f"{printable(root)}/" if len(roots) > 1 else ""
        reasons = found.passed_over | {printable(path): reason for path, reason in layout.others.items()}
        passed_over += [(above + path, reason, "left out") for path, reason in reasons.items()]
    left_out = pd.DataFrame(passed_over, columns=["path", "problem", "action"]).sort_values("path")
    paths = [PurePosixPath(path) for _, path, *_ in lines]
    _check_classes(roots, paths, {label for _, _, label, *_ in lines}, left_out)
    files = pd.DataFrame(lines, columns=["root", "path", "label", "split", "group"])
    files["label"] = files["label"].map(cleaned)
    said += _groups(files, by_folder=by_folder)
    files["bytes"] = [path.stat().st_size for path in places]
    files["sha256"] = _hashes(places)
    return Manifest(
        sorted(set(files["label"])),
        files.sort_values(["root", "path"]),
        left_out,
        said,
    )


def _groups(files: pd.DataFrame, *, by_folder: bool) -> list[str]:
    """A console line about the groups, if there are any.

    Raises:
        DataError: a group is in several of the given splits, or the folders make none.
    """
    grouped = files[files["group"] != ""]
    if by_folder and grouped.empty:
        raise DataError(
            "data.group is folder, and no image lies in a folder inside its class folder, as in cat/tom/1.jpg; make "
            "such folders, or set data.group to none"
        )
    given = grouped[grouped["split"] != ""]
    for name, its in given.groupby("group"):
        first, *others = its.drop_duplicates("split").itertuples()
        if others:
            raise DataError(
                f"the group {name!r} reaches over given splits: {printable(first.path)} is for {first.split} and "
                f"{printable(others[0].path)} for {others[0].split}; give all of it to one, or rename one part if they "
                "are two groups"
            )
    if grouped.empty:
        return []
    classes = grouped.groupby("group")["label"].nunique()
    mixed = int((classes > 1).sum())
    several = f"; {mixed:,} of them with several classes" if mixed else ""
    number = "1 group holds" if len(classes) == 1 else f"{len(classes):,} groups hold"
    each = "" if len(classes) == 1 else "each "
    return [f"{number} {len(grouped):,} of {len(files):,} files, and {each}stays in one split{several}"]


def missed(left_out: pd.DataFrame) -> list[str]:
    """Console lines, one per reason, about files that were left out but may be wanted."""
    lines = []
    for reason, remedy in MISSED.items():
        paths = left_out["path"][left_out["problem"] == reason].tolist()
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
    roots: Sequence[str], paths: Sequence[PurePosixPath], classes: set[str], left_out: pd.DataFrame
) -> None:
    where = " and ".join(printable(root) for root in roots)
    if not classes:
        raise DataError(f"{where} holds no images; {HOW}")
    for name in classes:
        if not cleaned(name):
            raise DataError(f"{where}: the class {name!r} has an invisible name; rename it")
    if len(classes) == 1:
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


def _hashes(places: Sequence[Path]) -> list[str]:
    with (
        Progress("download", total=len(places), unit="file") as progress,
        ThreadPoolExecutor(available_cores()) as pool,
    ):
        hashes = []
        for digest in pool.map(sha256_of_file, places):
            hashes.append(digest)
            progress.advance(1)
    return hashes
