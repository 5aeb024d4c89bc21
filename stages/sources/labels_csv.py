"""labels.csv: the classes of a user's own images as a table with the columns path, label and, if wanted, split."""

import csv
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from stages.console.errors import DataError
from stages.console.text import printable

LABELS = "labels.csv"
# As people write them, and as the pipeline does.
SPLITS = {"": "", "train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read_labels(table: Path, files: Collection[PurePosixPath]) -> dict[PurePosixPath, tuple[str, str]]:
    """Label and split of each file that the table names, `files` being those that there are.

    Raises:
        DataError: a line is wrong.
    """
    there = set(files)
    found: dict[PurePosixPath, tuple[str, str]] = {}
    for number, line in _lines(table):
        path, label, split = PurePosixPath(line["path"] or ""), (line["label"] or "").strip(), line.get("split") or ""
        where = f"{printable(str(table))}, line {number}"
        if not label:
            raise DataError(f"{where}: no label; name the class of {printable(str(path))}")
        if "\r" in label:
            raise DataError(f"{where}: label {label!r} has a carriage return in it; take it out")
        if path not in there:
            raise DataError(f"{where}: {printable(str(path))} is not there; take the line out or mend it")
        if path in found:
            raise DataError(f"{where}: {printable(str(path))} is listed twice; keep one line")
        if split not in SPLITS:
            raise DataError(f"{where}: split is {split!r}; it can be train, val, test or empty")
        found[path] = label, SPLITS[split]
    return found


def _lines(table: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    name = printable(str(table))
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = [column.strip() for column in reader.fieldnames or []]
            if sorted(columns) not in (["label", "path"], ["label", "path", "split"]):
                raise DataError(f"{name} has the columns {', '.join(columns)}; use path, label and, if wanted, split")
            reader.fieldnames = columns
            for line in reader:
                if None in line or None in line.values():
                    raise DataError(f"{name}, line {reader.line_num}: not {len(columns)} cells; quote commas in names")
                yield reader.line_num, line
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name} cannot be read as CSV in UTF-8 ({error}); save it as that") from None
