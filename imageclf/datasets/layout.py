"""The class and split of each file in a user's folder, from its subfolders or its labels.csv.

torchvision's ImageFolder and Hugging Face's imagefolder read fewer layouts, and do not say which files they leave out.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from imageclf.datasets.labels_csv import LABELS, read_labels
from imageclf.datasets.names import cleaned, look, split_of, splits_of, subject_of
from imageclf.datasets.walk import Walk
from imageclf.images.kinds import LINK, LINKED_FOLDER, OF_DVC, SUFFIXES
from imageclf.runtime.errors import DataError, printable

NOT_NAMED = f"not in {LABELS}"
OTHER_TABLE = "a table that is not read"
HOW = "put the images into a folder for each class, or name their classes in labels.csv"
ARCHIVES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"}
TABLES = {".csv", ".tsv", ".xls", ".xlsx", ".ods", ".json", ".jsonl", ".parquet"}
PARTS = {"labels", "annotations", "masks", "boxes", "jsons", "xmls"}  # folders of detection and segmentation data sets
TOP = PurePosixPath()


@dataclass(frozen=True)
class Candidate:
    """A file that should be an image."""

    path: PurePosixPath  # relative to the folder
    label: str
    split: str  # train, val, test; empty: not given
    group: str = ""  # what stays in one split; empty: none


@dataclass(frozen=True)
class Layout:
    """The candidates, why the other files are not candidates, and what to say of the table."""

    candidates: list[Candidate]
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
    table = next((path for path in found.files if str(path).lower() == LABELS), None)
    if table:
        if by_folder:
            raise DataError(
                f"data.group is folder, and {printable(str(root / table))} names the classes; set data.group to none, "
                "and name groups in a column group"
            )
        named, said = read_labels(root / table, found)
        unnamed = [path for path in found.files if path not in named]
        listed = [Candidate(path, *row) for path, row in named.items()]
        reasons = {path: NOT_NAMED if _is_image(path) else f"no picture, and {NOT_NAMED}" for path in unnamed}
        others = {str(path): reason for path, reason in reasons.items()} | {str(table): "the table of classes"}
        return Layout(listed, others, said and f"{printable(str(root / table))}: {said}")

    below = _folders_below(found)
    if not below[TOP]:
        what = f"{len(found.files):,} files" if found.files else "no files"
        raise DataError(f"{name} has {what} and no subfolders{_but_for(found, '')}; {_instead(found)}")
    splits = _splits(name, found, below)
    above = {top: _above_classes(top, split, found, below) for top, split in splits.items()}
    _check_folders(name, found, below, splits, above)
    candidates: list[Candidate] = []
    others = {}
    for path in found.files:
        top = path.parts[0]
        place = above.get(top, TOP)
        depth = len(place.parts)
        if len(path.parts) > depth + 1 and path.is_relative_to(place):
            group = cleaned(path.parts[depth + 1]) if by_folder and len(path.parts) > depth + 2 else ""
            candidates.append(Candidate(path, path.parts[depth], splits.get(top, ""), group))
        elif not _is_image(path):
            others[str(path)] = OTHER_TABLE if path.suffix.lower() in TABLES else "beside the class folders"
        elif top in splits:
            raise DataError(
                f"{name} has images in {printable(str(path.parent))} and not in a class folder there "
                f"({printable(path.name)}); {HOW}, and move unlabelled ones elsewhere"
            )
        else:
            raise DataError(f"{name} has images beside its class folders ({printable(str(path))}); {HOW}")
    return Layout(candidates, others)


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
    if not all(inner) or any(len(path.parts) == 2 and _is_image(path) for path in found.files):
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
        if not repeats or not below.get(inner) or any(path.parent == place and _is_image(path) for path in found.files):
            break
        place = inner
    return place


def _is_image(path: PurePosixPath) -> bool:
    return path.suffix.lower() in SUFFIXES


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
    for path in found.files:
        if path.suffix.lower() in ARCHIVES:
            return f"unpack {printable(path)} here"
        if path.suffix.lower() in TABLES:
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
    if splits and not any(splits.get(path.parts[0]) == "train" for path in found.files):
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
    held = {path.parents[at] for path in found.files for at in range(len(path.parents))}
    for folder in folders:
        if folder not in held:
            path = printable(str(folder))
            beside = _but_for(found, f"{path}/")
            raise DataError(
                f"the class folder {path} in {name} is empty{beside}; "
                f"{_remedy(found, f'{path}/', 'fill it or remove it')}"
            )
