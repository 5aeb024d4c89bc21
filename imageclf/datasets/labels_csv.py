"""labels.csv: the files in it, their labels and splits."""

import codecs
import csv
import io
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from imageclf.datasets.names import cleaned, look, split_of
from imageclf.datasets.walk import Walk
from imageclf.runtime.errors import DataError, closest, printable
from imageclf.runtime.stage import project_root

ELSEWHERE = re.compile(r"/|[A-Za-z]:|\.\.(/|$)|\w+://")  # the beginning of a path that leaves the folder


class NamedFiles:
    """Finds the files of `found` below `root` by their names in a table."""

    def __init__(self, root: Path, found: Walk) -> None:
        self._files = found.files
        self._there = set(found.files)
        self._folders = set(found.folders)
        self._passed_over = found.passed_over
        places = (root, root.resolve(), project_root() / root)  # the last for a table in a temporary workspace
        self._places = [f"{os.path.abspath(place)}/" for place in places]  # noqa: PTH100 - follows no link
        self._prefixes = [f"{root}/", f"{root.name}/"]

    def find(self, text: str) -> PurePosixPath | None:
        """The only file that `text` can mean; None if there is none, or several."""
        for path in self._readings(text):
            if path in self._there:
                return path
        for path in self._readings(text):
            alike = self._alike(path)
            if alike:
                return alike[0] if len(alike) == 1 else None
        return None

    def why_not(self, text: str) -> str:
        """The probable reason why `text` names no file, and what to do."""
        for path in self._readings(text):
            alike = self._alike(path)
            if alike:
                return f"may be {printable(alike[0])} or {printable(alike[1])}; write the correct one"
            for part in (path, *path.parents):
                reason = self._passed_over.get(printable(str(part)))
                if reason:
                    return f"is left out ({reason}); remove the line, or move the file"
            if path in self._folders:
                return "is a folder; name each file in it"
        near = self._nearest(text)
        if ELSEWHERE.match(text.strip().replace("\\", "/")):
            example = f", such as {printable(near)}" if near else ""
            return f"is not in the folder of the table; write paths relative to it{example}"
        if near:
            return f"is not there, but {printable(near)} is; if you mean that file, use its name"
        if len(self._files) == 1:
            return "is not there, and the table is the only file; if DVC tracks the images, run dvc pull"
        return "is not there; remove the line or fix it"

    def _readings(self, text: str) -> Iterator[PurePosixPath]:
        """All paths that `text` can mean, the most literal first."""
        yield PurePosixPath(text)
        slashes = text.strip().replace("\\", "/")
        for way in (text.strip(), slashes, unquote(slashes.removeprefix("file://"))):
            plain = posixpath.normpath(way)
            yield PurePosixPath(plain)
            yield from (PurePosixPath(plain.removeprefix(place)) for place in self._places if plain.startswith(place))
            yield PurePosixPath(plain.lstrip("/"))
            yield from (PurePosixPath(plain.removeprefix(own)) for own in self._prefixes if plain.startswith(own))

    def _alike(self, path: PurePosixPath) -> list[PurePosixPath]:
        return self._looks[look(str(path))]

    def _nearest(self, text: str) -> PurePosixPath | None:
        """The only file with this name elsewhere in the folder, or with this name and another extension."""
        path = PurePosixPath(text.strip().replace("\\", "/"))
        for names, name in ((self._names, path.name), (self._stems, path.name), (self._stems, path.stem)):
            if len(names[look(name)]) == 1:
                return names[look(name)][0]
        return None

    @cached_property
    def _looks(self) -> dict[str, list[PurePosixPath]]:
        return self._by(str)

    @cached_property
    def _names(self) -> dict[str, list[PurePosixPath]]:
        return self._by(lambda path: path.name)

    @cached_property
    def _stems(self) -> dict[str, list[PurePosixPath]]:
        return self._by(lambda path: path.stem)

    def _by(self, name: Callable[[PurePosixPath], str]) -> dict[str, list[PurePosixPath]]:
        files: dict[str, list[PurePosixPath]] = defaultdict(list)
        for path in self._files:
            files[look(name(path))].append(path)
        return files


LABELS = "labels.csv"
COLUMNS = ["path", "label", "split"]  # split is optional
DELIMITERS = ",;\t"  # the second in locales with decimal commas
# Other names of the columns.
OTHERS = {
    "path": "file filename file_name filepath file_path fname id "
    "image images img image_path img_path image_name image_id image_file name paths",
    "label": "class classname class_name category target species y labels classes tag",
    "split": "set subset partition phase usage fold dataset",
}
MEANINGS = {word: column for column, words in OTHERS.items() for word in (column, *words.split())}
EXCEL = b"PK\x03\x04"


def read_labels(table: Path, found: Walk) -> dict[PurePosixPath, tuple[str, str]]:
    """Label and split of each file in the table; `found` are the files in its folder.

    Raises:
        DataError: a line is wrong.
    """
    files = NamedFiles(table.parent, found)
    named: dict[PurePosixPath, tuple[str, str]] = {}
    for number, line in _lines(table, files):
        text, label, word = line["path"], line["label"].strip(), line.get("split", "").strip()
        where, shown = f"{printable(str(table))}, line {number}", printable(text)
        if not text.strip():
            raise DataError(f"{where}: no path; name the file that is {printable(label)}")
        if not cleaned(label):
            raise DataError(f"{where}: no label; name the class of {shown}")
        if "\r" in label:
            raise DataError(f"{where}: label {label!r} contains a carriage return; remove it")
        path = files.find(text)
        if path is None:
            raise DataError(f"{where}: {shown} {files.why_not(text)}")
        split = split_of(word)
        if word and not split:
            raise DataError(f"{where}: split is {word!r}; it can be train, val, test or empty")
        if named.setdefault(path, (label, split)) != (label, split):
            other = printable(" ".join(named[path]).strip())
            raise DataError(f"{where}: {shown} is listed twice, and is {other} above; keep one line")
    return named


def _lines(table: Path, files: NamedFiles) -> Iterator[tuple[int, dict[str, str]]]:
    """The number and the cells, by column, of each line that is not blank."""
    name = printable(str(table))
    text = _text(table)
    first = text.partition("\n")[0].strip()
    declared = first[4:] if first.lower().startswith("sep=") else ""  # Excel's first line
    delimiter = declared or max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        if declared:
            next(reader)
        columns = [column.strip() for column in next(reader, [])]
        while columns and not columns[-1]:
            columns.pop()
        meant = [column.lower() for column in columns]
        if sorted(meant) not in (sorted(COLUMNS), sorted(COLUMNS[:2])):
            raise DataError(f"{name} {_wrong_columns(columns, files)}")
        for cells in reader:
            while len(cells) > len(columns) and not cells[-1].strip():
                cells.pop()
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                raise DataError(
                    f"{name}, line {reader.line_num}: not {len(columns)} cells; quote those with {delimiter!r} in them"
                )
            yield reader.line_num, dict(zip(meant, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num}: not valid CSV ({error}); save it as CSV again") from None


def _text(table: Path) -> str:
    name, content = printable(str(table)), table.read_bytes()
    if content.startswith(EXCEL):
        raise DataError(f"{name} is an Excel workbook; save it as CSV UTF-8")
    try:
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8; save the table as CSV UTF-8 "
            "(a separate file type in Excel)"
        ) from None


def _wrong_columns(columns: list[str], files: NamedFiles) -> str:
    if any(files.find(column) for column in columns if column):
        return "begins with a file, not with column names; add path,label as the first line"
    columns = [column or "(no name)" for column in columns]
    needed = [column for column in COLUMNS if column not in map(str.lower, columns)]
    renames, spare, seen = [], [], set()
    for column in columns:
        word, meaning = column.lower(), _meaning(column)
        if meaning in needed:
            needed.remove(meaning)
            renames.append(f"rename {column} to {meaning}")
        elif word not in COLUMNS or word in seen:
            spare.append(repr(column))
        seen.add(word)
    changes = renames + [f"remove {', '.join(spare)}"] * bool(spare)
    missing = " and ".join(column for column in needed if column != "split")
    changes += [f"add {missing}"] * bool(missing)
    said = printable(", ".join(columns)) or "no names"
    return f"has the columns {said}, but needs path, label and optionally split; {printable(', '.join(changes))}"


def _meaning(column: str) -> str:
    """The column that this name means, perhaps misspelt; empty if none."""
    return MEANINGS.get(closest(column.lower().replace(" ", "_"), MEANINGS, cutoff=0.75), "")
