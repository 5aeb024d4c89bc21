"""Read the manifest of own images in data/raw: files.csv and left_out.csv."""

import csv
import mmap
import os
from array import array
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from imageclf.images.dataset import SPLITS
from imageclf.runtime.errors import prefixes, printable

csv.field_size_limit(1 << 20)  # characters; longer than any path
GIVEN = (*SPLITS, "")  # the split that a file is given to: train, val, test or none


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


class LeftOut(NamedTuple):
    """A row of left_out.csv."""

    path: str
    problem: str
    action: str


class Files(Sequence[File]):
    """The rows of files.csv, sorted by path. Each is read from the file when it is asked for.

    25 bytes a row stay in memory: where it begins, and for each file labels int32 (N,), of `classes`; given int8 (N,),
    of GIVEN; group int32 (N,), of `groups`, -1 for none; and sha256 uint64 (N,), its first eight bytes.
    """

    def __init__(self, raw: Path, roots: list[str], classes: list[str]) -> None:
        self._table, self._roots, self._prefixes = raw / "files.csv", roots, prefixes(roots)
        self.classes = classes
        self._open()
        numbers = {name: number for number, name in enumerate(classes)}
        groups: dict[str, int] = {"": -1}
        columns = begins, labels, given, group, sha256 = array("q"), array("i"), array("b"), array("i"), array("Q")
        ordered, before = True, ""
        begin = len(self._mapped.readline())  # the header
        while begin < len(self._mapped):
            file = self._read(begin)
            begins.append(begin)
            labels.append(numbers[file.label])
            given.append(GIVEN.index(file.split))
            group.append(groups.setdefault(file.group, len(groups) - 1))
            sha256.append(int(file.sha256[:16], 16))
            ordered, before, begin = ordered and before <= file.path, file.path, self._mapped.tell()
        self.groups = list(groups)[1:]
        arrays = [np.frombuffer(column, np.dtype(column.typecode)) for column in columns]
        if not ordered:  # with several roots, or with characters that reports escape
            order = np.argsort(np.array([self._read(begin).path for begin in begins], object), kind="stable")
            arrays = [values[order] for values in arrays]
        self._begins, self.labels, self.given, self.group, self.sha256 = arrays

    def __len__(self) -> int:
        return len(self._begins)

    @overload
    def __getitem__(self, index: int) -> File: ...
    @overload
    def __getitem__(self, index: slice) -> list[File]: ...
    def __getitem__(self, index: int | slice) -> File | list[File]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return self._read(int(self._begins[index]))

    def _open(self) -> None:
        with self._table.open("rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_mapped"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._open()

    def _read(self, begin: int) -> File:
        self._mapped.seek(begin)
        # surrogateescape: on Linux a file name is bytes, not necessarily UTF-8. A name may go over several lines.
        lines = (line.decode("utf-8", "surrogateescape") for line in iter(self._mapped.readline, b""))
        return _file(next(csv.reader(lines)), self._roots, self._prefixes)


def _file(row: list[str], roots: list[str], above: list[str]) -> File:
    root, path, label, split, group, size, sha256 = row
    return File(
        place=os.path.join(roots[int(root)], path),  # noqa: PTH118 - ten times as fast as Path's
        path=printable(above[int(root)] + path),
        label=label,
        split=split,
        size=int(size),
        sha256=sha256,
        group=group,
    )


def places_of(raw: Path, roots: list[str], paths: Set[str]) -> dict[str, str]:
    """The actual path of each file whose path for reports is among `paths`."""
    above = prefixes(roots)
    with (raw / "files.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        next(rows)  # the header
        files = (_file(row, roots, above) for row in rows)
        return {file.path: file.place for file in files if file.path in paths}


def read_left_out(raw: Path) -> list[LeftOut]:
    """The rows of left_out.csv."""
    with (raw / "left_out.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return [LeftOut(*row) for row in csv.reader(file)][1:]
