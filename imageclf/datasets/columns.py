"""What the columns of labels.csv mean: by their names and, where these leave a choice, by their cells."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imageclf.datasets.named_files import NamedFiles
from imageclf.datasets.names import split_of
from imageclf.runtime.errors import DataError, closest, printable

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
