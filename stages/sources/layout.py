"""Which class and split the files of a user's own folder belong to, by the folders they lie in or by its labels.csv."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stages.console.errors import DataError
from stages.console.text import printable
from stages.pictures.finding import SUFFIXES
from stages.sources.labels_csv import LABELS, SPLITS, read_labels
from stages.sources.walk import Walk

NOT_NAMED = f"not in {LABELS}"
HOW = "put the images into a folder for each class, or name their classes in labels.csv"


@dataclass(frozen=True)
class Candidate:
    """A file that should be an image."""

    path: PurePosixPath  # below the folder
    label: str
    split: str  # train, val, test; empty: not given


def lay_out(root: Path, found: Walk) -> tuple[list[Candidate], dict[str, str]]:
    """The candidates, and why each other file is none.

    labels.csv at the top of the folder decides if it is there; else train/, val/ and test/ with class folders below,
    if no other folder stands beside them; else class folders. Deeper folders belong to the class above them.

    Raises:
        DataError: the files cannot be told into classes.
    """
    name = printable(str(root))
    if PurePosixPath(LABELS) in found.files:
        named = read_labels(root / LABELS, found.files)
        unnamed = [path for path in found.files if path not in named]
        listed = [Candidate(path, label, split) for path, (label, split) in named.items()]
        return listed, {str(path): NOT_NAMED if path.name != LABELS else "the table of classes" for path in unnamed}

    tops = [path.name for path in found.folders if len(path.parts) == 1]
    if not tops:
        what = f"{len(found.files):,} files" if found.files else "no files"
        raise DataError(f"{name} has {what} and no folders in it{_but_for(found, '')}; {HOW}")
    depth = _depth(name, found, tops)
    _check_folders(name, found, tops, depth)
    candidates: list[Candidate] = []
    others: dict[str, str] = {}
    for path in found.files:
        if len(path.parts) > depth:
            split = SPLITS[path.parts[0].lower()] if depth == 2 else ""
            candidates.append(Candidate(path, path.parts[depth - 1], split))
        elif path.suffix.lower() in SUFFIXES:
            raise DataError(f"{name} has images beside its class folders ({printable(str(path))}); {HOW}")
        else:
            others[str(path)] = "beside the class folders"
    return candidates, others


def _depth(name: str, found: Walk, tops: Sequence[str]) -> int:
    """How deep the classes lie: 2 below train/, val/ and test/, else 1."""
    others = [top for top in tops if top.lower() not in SPLITS]
    if not others:
        return 2
    # train/ may be a class, of shoes or of vehicles, but not if there are folders in it.
    splits = {path.parts[0] for path in found.folders if len(path.parts) == 2} - set(others)
    if splits:
        raise DataError(
            f"{name} has {printable(', '.join(sorted(splits)))} with folders in it, and beside it "
            f"{printable(', '.join(others[:3]))}; move that elsewhere, or name the classes in labels.csv"
        )
    return 1


def _but_for(found: Walk, above: str) -> str:
    """What was passed over below a folder that seems empty."""
    reasons = {reason for path, reason in found.passed_over.items() if path.startswith(above)}
    return f" but for {', '.join(sorted(reasons))}" if reasons else ""


def _check_folders(name: str, found: Walk, tops: Sequence[str], depth: int) -> None:
    if depth == 2 and not any(path.parts[0].lower() == "train" for path in found.files):
        raise DataError(
            f"{name} has {', '.join(tops)} and no train folder with images in it; add it, with a folder for each class"
        )
    held = {path.parts[:depth] for path in found.files if len(path.parts) > depth}
    for folder in found.folders:
        if len(folder.parts) == depth and folder.parts not in held:
            path = printable(str(folder))
            beside = _but_for(found, f"{path}/")
            raise DataError(f"the class folder {path} in {name} is empty{beside}; fill it or remove it")
