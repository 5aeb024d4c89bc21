"""The class and split of each file in a user's folder, from its subfolders or its labels.csv.

torchvision's ImageFolder and Hugging Face's imagefolder read fewer layouts, and do not say which files they leave out.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path, PurePosixPath

from imageclf.datasets.labels_csv import LABELS, Row, read_labels
from imageclf.datasets.names import cleaned, look, split_of, splits_of, subject_of
from imageclf.datasets.walk import TOP, Walk
from imageclf.images.kinds import LINK, LINKED_FOLDER, OF_DVC, SUFFIXES
from imageclf.runtime.errors import DataError, printable

NOT_NAMED = f"not in {LABELS}"
OTHER_TABLE = "a table that is not read"
HOW = "put the images into a folder for each class, or name their classes in labels.csv"
ARCHIVES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"}
TABLES = {".csv", ".tsv", ".xls", ".xlsx", ".ods", ".json", ".jsonl", ".parquet"}
PARTS = {"labels", "annotations", "masks", "boxes", "jsons", "xmls"}  # folders of detection and segmentation data sets


@dataclass(frozen=True)
class Layout:
    """The files that should be images, why the others are not among them, and what to say of the table."""

    candidates: Callable[[], Iterator[tuple[str, Row]]]  # with their paths relative to the folder, in sorted order
    others: dict[str, str]
    said: str = ""


def lay_out(root: Path, found: Walk, *, by_folder: bool = False) -> Layout:
    """Assign the files of a folder to classes.

    A labels.csv at the top decides, if there is one. Otherwise, if all top folders are splits, the folders inside them
    are classes; else the top folders are classes. Deeper folders belong to the class above them. With `by_folder` the
    first folder below the class names the group, in whichever class it is.

    Raises:
        DataError: the files cannot be assigned to classes.
    """
    name = printable(str(root))
    table = next((name for name in found.names_in(TOP) if name.lower() == LABELS), None)
    if table:
        if by_folder:
            raise DataError(
                f"data.group is folder, and {printable(str(root / table))} names the classes; set data.group to none, "
                "and name groups in a column group"
            )
        named, said = read_labels(root / table, found)
        unnamed = (path for path in found.paths() if path not in named)
        others = {path: NOT_NAMED if _is_image(path) else f"no picture, and {NOT_NAMED}" for path in unnamed}
        said = said and f"{printable(str(root / table))}: {said}"
        return Layout(lambda: _named(found, named), others | {table: "the table of classes"}, said)

    below = _folders_below(found)
    if not below[TOP]:
        what = f"{len(found):,} files" if len(found) else "no files"
        raise DataError(f"{name} has {what} and no subfolders{_but_for(found, '')}; {_instead(found)}")
    splits = _splits(name, found, below)
    above = {top: _above_classes(top, split, found, below) for top, split in splits.items()}
    _check_folders(name, found, below, splits, above)
    rows: dict[PurePosixPath, Row] = {}  # of all files in a folder
    others = {}
    for batch in found.batches:
        folders = batch.folder.parts
        top = folders[0] if folders else ""
        place = above.get(top, TOP)
        depth = len(place.parts)
        if len(folders) > depth and batch.folder.is_relative_to(place):
            group = cleaned(folders[depth + 1]) if by_folder and len(folders) > depth + 1 else ""
            rows[batch.folder] = Row(folders[depth], splits.get(top, ""), group)
            continue
        for file, path in zip(batch.names, batch.paths, strict=True):
            if not _is_image(file):
                others[path] = OTHER_TABLE if _suffix(file) in TABLES else "beside the class folders"
            elif top in splits:
                raise DataError(
                    f"{name} has images in {printable(str(batch.folder))} and not in a class folder there "
                    f"({printable(file)}); {HOW}, and move unlabelled ones elsewhere"
                )
            else:
                raise DataError(f"{name} has images beside its class folders ({printable(path)}); {HOW}")
    return Layout(lambda: _in_folders(found, rows), others)


def _named(found: Walk, rows: Mapping[str, Row]) -> Iterator[tuple[str, Row]]:
    return ((path, rows[path]) for path in found.paths() if path in rows)


def _in_folders(found: Walk, rows: Mapping[PurePosixPath, Row]) -> Iterator[tuple[str, Row]]:
    for batch in found.batches:
        if batch.folder in rows:
            yield from zip(batch.paths, repeat(rows[batch.folder]))


def wrapped(found: Sequence[PurePosixPath]) -> tuple[PurePosixPath, list[str]]:
    """The deepest folder that contains all these files, and the names of its subfolders."""
    place = TOP
    while True:
        depth = len(place.parts)
        below = sorted({path.parts[depth] for path in found if len(path.parts) > depth + 1})
        if len(below) != 1 or any(len(path.parts) == depth + 1 for path in found):
            return place, below
        place /= below[0]


def _folders_below(found: Walk) -> dict[PurePosixPath, list[str]]:
    below: dict[PurePosixPath, list[str]] = defaultdict(list)
    for folder in found.folders:
        below[folder.parent].append(folder.name)
    return below


def _splits(name: str, found: Walk, below: Mapping[PurePosixPath, list[str]]) -> dict[str, str]:
    """The split of each top folder; empty if they are classes.

    Raises:
        DataError: they are neither or a mixture.
    """
    tops = below[TOP]
    _check_wrapping(name, tops, below)
    splits = splits_of(tops)
    others = [top for top in tops if top not in splits]
    subjects = {subject_of(top) for top in splits}
    if not others and len(subjects) == 1:
        return splits
    if not others:
        raise DataError(
            f"{name} has folders whose names combine a split and something else ({_some(tops)}); put a folder for each "
            f"class into train/ and test/, or name classes and splits in {LABELS}"
        )
    # train/ may be a class (a vehicle), but not if it has subfolders.
    holding = [top for top in splits if below.get(PurePosixPath(top))]
    if holding or subjects - {""}:
        clear = f"{_some(holding)} with subfolders" if holding else f"{_some(list(splits))} named for splits"
        raise DataError(
            f"{name} has {clear}, next to {_some(others)}; move that elsewhere, rename it to train, val or test if it "
            f"is a split, or name the classes in {LABELS}"
        )
    _check_unknown_splits(name, found, below)
    return {}


def _check_wrapping(name: str, tops: Sequence[str], below: Mapping[PurePosixPath, list[str]]) -> None:
    """Refuse a folder whose only content is a folder with the splits, as in an unpacked archive."""
    place = TOP
    while len(tops) == 1 and not split_of(tops[0]):
        place /= tops[0]
        tops = below.get(place, [])
    if place != TOP and splits_of(tops):
        inner = printable(str(place))
        raise DataError(f"{name} has {_some(tops)} in its subfolder {inner}; set the path to {name}/{inner}")


def _check_unknown_splits(name: str, found: Walk, below: Mapping[PurePosixPath, list[str]]) -> None:
    """Refuse top folders that all have the same subfolders: they are hardly classes."""
    tops = below[TOP]
    inner = [below.get(PurePosixPath(top), []) for top in tops]
    if not all(inner) or any(_has_image(found, PurePosixPath(top)) for top in tops):
        return
    if all(split_of(folder) for folders in inner for folder in folders):
        raise DataError(
            f"{name} has {_some(inner[0])} below {_some(tops)}; put the splits above the classes "
            f"({printable(inner[0][0])}/{printable(tops[0])}), or name classes and splits in {LABELS}"
        )
    if len(tops) > 1 and len(inner[0]) > 1 and len({tuple(sorted(map(look, folders))) for folders in inner}) == 1:
        raise DataError(
            f"{name} has the same folders ({_some(inner[0])}) in each of {_some(tops)}; rename these to train, val "
            f"and test if they are splits, or name the classes in {LABELS}"
        )


def _above_classes(top: str, split: str, found: Walk, below: Mapping[PurePosixPath, list[str]]) -> PurePosixPath:
    """The folder whose subfolders are the classes: `top`, or a repetition inside it (seg_train/seg_train)."""
    place = PurePosixPath(top)
    while len(below.get(place, [])) == 1:
        inner = place / below[place][0]
        repeats = split_of(inner.name) == split or inner.name == place.name or not subject_of(inner.name)
        if not repeats or not below.get(inner) or _has_image(found, place):
            break
        place = inner
    return place


def _has_image(found: Walk, folder: PurePosixPath) -> bool:
    return any(map(_is_image, found.names_in(folder)))


def _is_image(path: str) -> bool:
    return _suffix(path) in SUFFIXES


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _some(names: Sequence[str]) -> str:
    return printable(", ".join(names[:3]) + ", ..." * (len(names) > 3))


def _reasons(found: Walk, above: str) -> set[str]:
    return {reason for path, reason in found.passed_over.items() if path.startswith(above)}


def _but_for(found: Walk, above: str) -> str:
    """What was skipped below a folder that seems empty."""
    reasons = _reasons(found, above)
    return f" but for {', '.join(sorted(reasons))}" if reasons else ""


def _instead(found: Walk) -> str:
    """What to do without subfolders."""
    for path in found.paths():
        if _suffix(path) in ARCHIVES:
            return f"unpack {printable(path)} here"
        if _suffix(path) in TABLES:
            return f"if {printable(path)} names the classes, rename it to {LABELS} (columns path,label); else {HOW}"
    return _remedy(found, "", HOW)


def _remedy(found: Walk, above: str, otherwise: str) -> str:
    reasons = _reasons(found, above)
    if OF_DVC in reasons:
        return "run dvc pull, which may restore the images"
    return "replace links by the files themselves" if reasons & {LINK, LINKED_FOLDER} else otherwise


def _check_folders(
    name: str,
    found: Walk,
    below: Mapping[PurePosixPath, list[str]],
    splits: Mapping[str, str],
    above: Mapping[str, PurePosixPath],
) -> None:
    filled = {batch.folder for batch in found.batches}
    if splits and not any(splits.get(folder.parts[0]) == "train" for folder in filled - {TOP}):
        passed_over = (
            f" ({path} is {reason})" for path, reason in found.passed_over.items() if split_of(path) == "train"
        )
        raise DataError(
            f"{name} has {_some(list(splits))} and no train folder with images in it{next(passed_over, '')}; add it, "
            "with a folder for each class"
        )
    places = above.values() or [TOP]
    folders = [place / inner for place in places for inner in below.get(place, [])]
    names = {folder.name for folder in folders}
    parts = {part for part in names if part.lower() in PARTS}
    if names > parts > set() and not any(subject_of(other) for other in names - parts):
        raise DataError(
            f"{name} has {_some(sorted(names))}, as in detection or segmentation data sets, not classes; {HOW}"
        )
    held = filled.union(*(folder.parents for folder in filled))
    for folder in folders:
        if folder not in held:
            path = printable(str(folder))
            beside = _but_for(found, f"{path}/")
            raise DataError(
                f"the class folder {path} in {name} is empty{beside}; "
                f"{_remedy(found, f'{path}/', 'fill it or remove it')}"
            )
