"""labels.csv: the files in it, their labels, splits and groups."""

import codecs
import csv
import io
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from imageclf.datasets.columns import Columns, read_columns
from imageclf.datasets.named_files import NamedFiles
from imageclf.datasets.names import cleaned, look, split_of
from imageclf.datasets.walk import Walk
from imageclf.runtime.errors import DataError, printable

LABELS = "labels.csv"
DELIMITERS = ",;\t"  # the second in locales with decimal commas
EXCEL = b"PK\x03\x04"


class Row(NamedTuple):
    """What the table says of a file; split and group may be empty."""

    label: str
    split: str
    group: str


def read_labels(table: Path, found: Walk) -> tuple[dict[PurePosixPath, Row], str]:
    """The row of each file in the table, and how its columns were taken; `found` are the files in its folder.

    Raises:
        DataError: the header is unclear, or a line is wrong.
    """
    files = NamedFiles(table.parent, found)
    columns, lines = _lines(table, files)
    named, loose = dict[PurePosixPath, Row](), 0
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
        loose += len(path.parts) > 1 > len(set(text) & {"/", "\\"}) or look(path.suffix) not in look(text)
        row = Row(label, split, cleaned(line.get("group", "")))
        if named.setdefault(path, row) != row:
            other = printable(" ".join(named[path]).strip())
            raise DataError(f"{where}: {shown} is listed twice, and is {other} above; keep one line")
    said = [columns.said] * bool(columns.said) + [f"{loose:,} files found by their names alone"] * bool(loose)
    return named, "; ".join(said)


def _lines(table: Path, files: NamedFiles) -> tuple[Columns, list[tuple[int, list[str]]]]:
    """What the columns mean, and the number and the cells of each line that is not blank."""
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
    even = [cells for _, cells in lines if len(cells) == len(header)]
    try:
        columns = read_columns(header, even, files, between=delimiter)
    except DataError as error:
        raise DataError(f"{name} {error}") from None
    for number, cells in lines:
        if len(cells) != len(header):
            raise DataError(f"{name}, line {number}: not {len(header)} cells; quote those with {delimiter!r} in them")
    return columns, lines


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
