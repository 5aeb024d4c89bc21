"""SHA256SUMS: what every file in a folder must be, as `sha256sum -c` reads it.

DVC trusts what lies in its cache, and restores a damaged object without a word. So each folder that passes between
stages says itself what belongs in it, and who reads it checks that first.
"""

from pathlib import Path

from stages.console.errors import DataError
from stages.files.hashing import sha256_of_file
from stages.files.remote import brings

SUMS = "SHA256SUMS"
REPAIR = "python -m stages.verify says how to repair it"


def write_sums(folder: Path) -> None:
    """List every file below `folder`."""
    (folder / SUMS).write_text(_listing(folder), encoding="utf-8", newline="\n")


def check_sums(folder: Path, *, repair: str = REPAIR) -> None:
    """Hold every file below `folder` against the list, and the list against the files.

    Raises:
        DataError: a file is missing, has other bytes or is not listed; `repair` is what it says to do.
    """
    try:
        listed = (folder / SUMS).read_bytes().decode(errors="backslashreplace")
    except OSError:
        if not folder.exists():
            raise DataError(f"{folder} is missing; run {brings()}") from None
        raise DataError(f"{folder / SUMS} is missing; {repair}") from None
    found = _listing(folder)
    if listed != found:
        raise DataError(f"{_difference(folder, listed, found)}; {repair}")


def _listing(folder: Path) -> str:
    # What begins with a dot is a file manager's, not ours.
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != SUMS and path.name[0] != ".")
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return "".join(f"{sha256_of_file(names[name])}  {name}\n" for name in sorted(names))


def _difference(folder: Path, listed: str, found: str) -> str:
    expected, there = (
        {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}
        for text in (listed, found)
    )
    for name, digest in there.items():
        if name in expected and expected[name] != digest:
            return f"{folder / name} is damaged: its sha256 begins {digest[:8]}, not {expected[name][:8]}"
    for name in expected:
        if name not in there:
            return f"{folder / name} is missing, or {folder / SUMS} is damaged"
    return f"{folder / SUMS} is damaged, or a file was added to {folder}"
