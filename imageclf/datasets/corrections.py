"""data.corrections: a table with the right labels of pictures; one without a label is left out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from imageclf.datasets.labels_csv import Row, check_even, read_table
from imageclf.datasets.names import cleaned
from imageclf.runtime.errors import DataError, closest, printable, some

NEEDED = ("path", "label")


@dataclass
class Corrections:
    """The lines of the table by their path, as reports name it: the line's number, and the label as it is written."""

    table: Path | None = None
    lines: dict[str, tuple[int, str]] = field(default_factory=dict)
    changed: int = 0  # labels, so far
    left_out: list[str] = field(default_factory=list)  # paths, so far

    def applied(self, path: str, row: Row) -> Row | None:
        """What is known of the file now; None: it is left out."""
        if path not in self.lines:
            return row
        label = self.lines[path][1]
        return row._replace(label=label) if label else None

    def check(self, listed: Callable[[], Iterator[tuple[str, Row]]]) -> None:
        """Match the table with all files and what is known of them without it.

        Raises:
            DataError: a line names no file, or a class that there is not.
        """
        classes, missing = set[str](), set(self.lines)
        for path, row in listed():
            classes.add(row.label)
            if path in missing:
                missing.remove(path)
                label = self.lines[path][1]
                self.changed += bool(label) and cleaned(label) != cleaned(row.label)
                if not label:
                    self.left_out.append(path)
        names = {cleaned(name): name for name in classes}
        for path, (number, label) in self.lines.items():
            where = f"{printable(str(self.table))}, line {number}"
            if path in missing:
                # Of names such as IMG_0412.jpg the one that is spelt most like it is another picture.
                same = [known for known, _ in listed() if PurePath(known).name == PurePath(path).name]
                hint = (
                    f"did you mean {printable(same[0])}?"
                    if len(same) == 1
                    else "write it as metrics/predictions.csv does"
                )
                raise DataError(f"{where}: {printable(path)} is none of the pictures; {hint}")
            if label and cleaned(label) not in names:
                near = closest(label, names)
                hint = f"did you mean {near}?" if near else f"there are {some(sorted(names))}"
                raise DataError(f"{where}: there is no class {printable(label)}; {hint}")
            if label:
                self.lines[path] = number, names[cleaned(label)]

    def said(self) -> list[str]:
        """A console line on what the table changes, if there is one."""
        if self.table is None:
            return []
        same = len(self.lines) - self.changed - len(self.left_out)
        return [
            f"{printable(str(self.table))}: labels changed: {self.changed:,}; pictures left out: {len(self.left_out):,}"
            + (f"; lines that change nothing: {same:,}" if same else "")
        ]


def read_corrections(table: Path) -> Corrections:
    """Read the columns path and label of the table; others are for its reader.

    Raises:
        DataError: it is missing, no table, without these columns, or names a picture twice.
    """
    name = printable(str(table))
    if not table.is_file():
        raise DataError(f"data.corrections is {name}, which is no file; correct it, or set it to data/none")
    header, delimiter, rows = read_table(table)
    if missing := [column for column in NEEDED if column not in header]:
        raise DataError(f"{name} has no column {' or '.join(missing)}; its first line must be path,label")
    check_even(table, header, delimiter, rows)
    places = [header.index(column) for column in NEEDED]
    found = Corrections(table)
    for number, cells in rows:
        path, label = (cells[place].strip() for place in places)
        if not path:
            raise DataError(f"{name}, line {number}: no path; name the picture, or remove the line")
        before = found.lines.setdefault(path, (number, label))
        if before[1] != label:
            raise DataError(f"{name}, line {number}: {printable(path)} has another label in line {before[0]}; keep one")
    return found
