"""labels.csv: what its columns mean, and the files in it with their labels, splits and groups.

Columns are told by their names and, where these leave a choice, by their cells.
"""

import codecs
import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from imageclf.datasets.named_files import NamedFiles
from imageclf.datasets.names import cleaned, look, split_of
from imageclf.datasets.walk import Walk
from imageclf.runtime.errors import DataError, closest, printable

LABELS = "labels.csv"
DELIMITERS = ",;\t"  # the second in locales with decimal commas
EXCEL = b"PK\x03\x04"
NEEDED = ("path", "label")
# Other names of the columns, without blanks and underscores.
WORDS = {
    "path": "file filename filepath fname id image images imagefile imagefilename imageid imagename imagepath img "
    "imgid imgname imgpath imgs name paths photo picture",
    "split": "dataset fold partition phase set subset usage",
    "group": "burst burstid case caseid groupid groups individual lesionid object objectid patient patientid person "
    "personid scene sequence series session specimen subject subjectid",
    "label": "breed category class classes classname diagnosis disease dx labels species tag target variety y",
}
MEANINGS = {word: column for column, words in WORDS.items() for word in (column, *words.split())}
LOOKED_AT = 20  # cells, to see whether a column names files


@dataclass(frozen=True)
class Columns:
    """The positions of path and label, and of split and group if they are there."""

    at: dict[str, int]
    said: str  # how they were taken; empty if they have these names


class Row(NamedTuple):
    """What the table says of a file; split and group may be empty."""

    label: str
    split: str
    group: str


def read_labels(table: Path, found: Walk) -> tuple[dict[str, Row], str]:
    """The row of each file in the table, by its path, and how its columns were taken; `found`: what is in its folder.

    Raises:
        DataError: the header is unclear, or a line is wrong.
    """
    files = NamedFiles(table.parent, found)
    columns, lines = _lines(table, files)
    named, loose = dict[str, Row](), 0
    rows: dict[Row, Row] = {}  # equal ones are one object
    for number, cells in lines:
        line = {column: cells[place] for column, place in columns.at.items()}
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
        loose += ("/" in path and not {"/", "\\"} & set(text)) or look(PurePosixPath(path).suffix) not in look(text)
        row = Row(label, split, cleaned(line.get("group", "")))
        row = rows.setdefault(row, row)
        if named.setdefault(path, row) != row:
            other = printable(" ".join(named[path]).strip())
            raise DataError(f"{where}: {shown} is listed twice, and is {other} above; keep one line")
    said = [columns.said] * bool(columns.said) + [f"{loose:,} files found by their names alone"] * bool(loose)
    return named, "; ".join(said)


def _lines(table: Path, files: NamedFiles) -> tuple[Columns, list[tuple[int, list[str]]]]:
    """What the columns mean, and the number and the cells of each line that is not blank."""
    header, delimiter, lines = read_table(table)
    even = [cells for _, cells in lines if len(cells) == len(header)]
    try:
        columns = read_columns(header, even, files, between=delimiter)
    except DataError as error:
        raise DataError(f"{printable(str(table))} {error}") from None
    check_even(table, header, delimiter, lines)
    return columns, lines


def read_table(table: Path) -> tuple[list[str], str, list[tuple[int, list[str]]]]:
    """The names of the columns, the delimiter, and the number and the cells of each line that is not blank, unchecked.

    Raises:
        DataError: it is no table in UTF-8.
    """
    name = printable(str(table))
    text = _text(table)
    first = text.partition("\n")[0].strip()
    declared = first[4:] if first.lower().startswith("sep=") else ""  # Excel's first line
    delimiter = declared or max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        if declared:
            next(reader)
        header = [column.strip() for column in next(reader, [])]
        while header and not header[-1]:
            header.pop()
        lines = [(reader.line_num, _cells(row, len(header))) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num}: not valid CSV ({error}); save it as CSV again") from None
    return header, delimiter, lines


def check_even(table: Path, header: Sequence[str], delimiter: str, lines: Sequence[tuple[int, list[str]]]) -> None:
    """Check that each line of a table that was read has as many cells as its header.

    Raises:
        DataError: one has not.
    """
    for number, cells in lines:
        if len(cells) != len(header):
            where = f"{printable(str(table))}, line {number}"
            raise DataError(f"{where}: not {len(header)} cells; quote those with {delimiter!r} in them")


def _cells(row: list[str], width: int) -> list[str]:
    """A row without the empty cells beyond the header."""
    while len(row) > width and not row[-1].strip():
        row.pop()
    return row


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


def read_columns(header: Sequence[str], rows: Sequence[Sequence[str]], files: NamedFiles, *, between: str) -> Columns:
    """Tell the columns of a table apart; `between` is its delimiter.

    Raises:
        DataError: path or label is not there, or several columns may be the same. The message continues the table's
            name.
    """
    meant = [MEANINGS.get(_plain(name), "") for name in header]
    unknown = [place for place, meaning in enumerate(meant) if not meaning]
    if not set(NEEDED) <= set(meant):
        named = [place for place in unknown if header[place] and files.find(header[place])]
        if named:
            first = _header([""] * len(header), {"path": named[0]}, between)
            raise DataError(f"begins with a file, not with column names; write {first} above it")
    at: dict[str, int] = {}
    for column in WORDS:
        found = [place for place, meaning in enumerate(meant) if meaning == column]
        exact = [place for place in found if _plain(header[place]) == column]
        if exact:
            found = exact
        elif column == "path":
            found = _naming(rows, files, found) or _naming(rows, files, unknown) or found
        elif column == "split":
            found = [place for place in found if _are_splits(row[place] for row in rows)]
        elif column == "label" and not found and len(header) == len(at) + 1:
            found = [place for place in unknown if place not in at.values()]  # the only one left
        if len(found) > 1:
            names = " and ".join(repr(header[place]) for place in found)
            raise _unclear(header, f"{names} may each be the {column}", at | {column: found[0]}, between)
        if found:
            at[column] = found[0]
    missing = [column for column in NEEDED if column not in at]
    if missing:
        raise _unclear(header, f"none is known as {' or '.join(missing)}", at, between)
    return Columns(at, _said(header, at))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _naming(rows: Sequence[Sequence[str]], files: NamedFiles, places: Sequence[int]) -> list[int]:
    """Those columns of which at least half of the first cells name files."""
    first = rows[:LOOKED_AT]
    return [place for place in places if 2 * sum(bool(files.find(row[place])) for row in first) >= len(first) > 0]


def _are_splits(cells: Iterable[str]) -> bool:
    words = {cell.strip() for cell in cells} - {""}
    return bool(words) and all(map(split_of, words))


def _unclear(header: Sequence[str], what: str, at: dict[str, int], between: str) -> DataError:
    names = ", ".join(name or "(no name)" for name in header) or "no names"
    return DataError(
        f"has the columns {printable(names)}, and {printable(what)}; write the first line as "
        f"{printable(_header(header, at, between))}, with each name over its column"
    )


def _header(header: Sequence[str], at: dict[str, int], between: str) -> str:
    """The header to write: the columns that were told, misspelt ones, and what is missing in place of unknown ones."""
    names = [*header]
    for column, place in at.items():
        names[place] = column
    free = [place for place in range(len(names)) if place not in at.values()]
    for place in free:
        near = MEANINGS.get(closest(_plain(names[place]), MEANINGS, cutoff=0.75), "")
        if _plain(names[place]) in at:
            names[place] = "other"
        elif near and near not in names:
            names[place] = near
    for column in NEEDED:
        if column not in names:
            place = next((place for place in free if _plain(names[place]) not in MEANINGS), len(names))
            names[place : place + 1] = [column]
    return between.join(name or "other" for name in names)


def _said(header: Sequence[str], at: dict[str, int]) -> str:
    renamed = [f"{column} is {header[place]!r}" for column, place in at.items() if header[place].lower() != column]
    spare = [repr(name or "(no name)") for place, name in enumerate(header) if place not in at.values()]
    words = [", ".join(sorted(renamed))] * bool(renamed) + [f"left out: {', '.join(spare)}"] * bool(spare)
    return printable("; ".join(words))
