"""Read the manifest of own images in data/raw: files.csv and left_out.csv."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imageclf.runtime.errors import printable

csv.field_size_limit(1 << 20)  # characters; longer than any path


@dataclass(frozen=True)
class File:
    """A row of files.csv."""

    place: str  # the actual path
    path: str  # for reports: relative to its root, with the root's name in front if there are several
    label: str
    split: str  # train, val, test; empty: not given
    size: int  # bytes
    sha256: str
    group: str = ""  # what must stay in one split, such as a patient; empty: none


def read_manifest(raw: Path, roots: list[str]) -> tuple[list[File], list[dict[str, str]]]:
    """The candidates, sorted by path, and the rows of left_out.csv (path, problem, action)."""
    names = _names(roots)
    files = [
        File(
            place=os.path.join(roots[int(line["root"])], line["path"]),  # noqa: PTH118 - ten times as fast as Path's
            path=printable(names[int(line["root"])] + line["path"]),
            label=line["label"],
            split=line["split"],
            size=int(line["bytes"]),
            sha256=line["sha256"],
            group=line["group"],
        )
        for line in _lines(raw / "files.csv")
    ]
    return sorted(files, key=lambda file: file.path), list(_lines(raw / "left_out.csv"))


def _names(roots: list[str]) -> list[str]:
    """The prefix of the paths below each root."""
    if len(roots) == 1:
        return [""]
    last = [Path(root).name for root in roots]
    return [f"{name}/" for name in (last if len(set(last)) == len(last) else roots)]


def _lines(path: Path) -> Iterator[dict[str, str]]:
    # surrogateescape: on Linux a file name is bytes, not necessarily UTF-8.
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield from csv.DictReader(file)
