"""A user's own images: a manifest of the files below their folder, with classes, splits and hashes."""

import os
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import pandas as pd

from stages.console.errors import DataError
from stages.console.progress import Progress
from stages.console.text import printable
from stages.files.hashing import sha256_of_file
from stages.machine.cores import available_cores
from stages.sources.layout import HOW, lay_out
from stages.sources.walk import walk

NONE = "data/none"  # an empty file that stands for no folder, where DVC must have a path
OURS = ("data/raw", "data/prepared", "models", "metrics", "stages")  # folders that cannot hold a user's images


@dataclass(frozen=True)
class Manifest:
    """files: root, path, label, split, bytes, sha256; left_out: path, problem, action."""

    classes: list[str]
    files: pd.DataFrame
    left_out: pd.DataFrame


def make_manifest(roots: Sequence[str]) -> Manifest:
    """Look through every root, and hash each file that should be an image.

    Raises:
        DataError: a root is no folder with images in at least two classes.
    """
    lines, left_out, places = [], [], []
    folders = [located(root) for root in roots]
    _check_apart(roots, folders)
    for number, (root, place) in enumerate(zip(roots, folders, strict=True)):
        found = walk(place)
        candidates, others = lay_out(place, found)
        for candidate in candidates:
            lines.append((number, str(candidate.path), candidate.label, candidate.split))
            places.append(place / candidate.path)
        above = f"{printable(root)}/" if len(roots) > 1 else ""
        passed_over = found.passed_over | {printable(path): reason for path, reason in others.items()}
        left_out += [(above + path, reason, "left out") for path, reason in passed_over.items()]
    _check_classes(roots, {label for _, _, label, _ in lines})
    files = pd.DataFrame(lines, columns=["root", "path", "label", "split"])
    files["label"] = files["label"].map(_composed)
    files["bytes"] = [path.stat().st_size for path in places]
    files["sha256"] = _hashes(places)
    return Manifest(
        sorted(set(files["label"])),
        files.sort_values(["root", "path"]),
        pd.DataFrame(left_out, columns=["path", "problem", "action"]).sort_values("path"),
    )


def located(root: str) -> Path:
    """The folder that a path of params.yaml means.

    Raises:
        DataError: there is none, or it is one of the project's own.
    """
    path = Path(os.path.expanduser(root))  # noqa: PTH111 - Path's raises on an unknown user
    name = printable(root)
    if path.suffix.lower() == ".csv" and path.is_file():
        raise DataError(
            f"{name} is a table; put it as labels.csv into the folder of its images and set data.path to that folder, "
            "so that a changed image is seen too"
        )
    if not path.is_dir():
        raise DataError(
            f"{name} is {'a file' if path.exists() else 'missing'}; set data.path to a folder of images, and if "
            "DVC runs it elsewhere (--temp, --queue), dvc add it or give an absolute path"
        )
    here, there = Path.cwd().resolve(), path.resolve()
    if here.is_relative_to(there) or any(there.is_relative_to(here / own) for own in OURS):
        raise DataError(f"{name} holds the pipeline's own files; set data.path to a folder of your images alone")
    return path


def _check_apart(roots: Sequence[str], folders: Sequence[Path]) -> None:
    for inner, outer in permutations(range(len(roots)), 2):
        if folders[inner].resolve().is_relative_to(folders[outer].resolve()):
            raise DataError(
                f"{printable(roots[inner])} lies in {printable(roots[outer])}, whose images would count twice; "
                "set data.path and data.also to folders apart"
            )


def _check_classes(roots: Sequence[str], classes: set[str]) -> None:
    where = " and ".join(printable(root) for root in roots)
    if not classes:
        raise DataError(f"{where} holds no images; {HOW}")
    if len(classes) == 1:
        raise DataError(f"{where} has one class, {printable(*classes)}, and at least two are needed; {HOW}")
    alike: dict[str, str] = {}
    for name in sorted(classes):
        other = alike.setdefault(_composed(name).casefold(), name)
        if other != name:
            kind = "Unicode form" if _composed(other) == _composed(name) else "upper and lower case"
            raise DataError(f"{where}: the classes {other!r} and {name!r} differ only in {kind}; merge or rename one")


def _composed(name: str) -> str:
    """One form of letters with accents, which some disks take apart."""
    return unicodedata.normalize("NFC", name)


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
