"""The picture files in a folder."""

import os
from pathlib import Path

from PIL import Image

from stages.pictures.reading import FORMATS

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
# What systems leave among pictures; "Icon\r" is a Mac's.
CLUTTER = {"__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir", "Icon\r"}  # beside everything whose name begins with a dot


def find_pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """All pictures below `folder`, by name or by content, and all other files, each sorted.

    Links are among the others: followed, they may lead in circles. Clutter is neither. A folder that may not be read
    is among the others.
    """
    pictures: list[Path] = []
    others: list[Path] = []

    def unreadable(error: OSError) -> None:
        others.append(Path(error.filename))

    for place, folders, files in os.walk(folder, onerror=unreadable):
        others += [Path(place, name) for name in folders if Path(place, name).is_symlink()]
        folders[:] = [name for name in folders if not is_clutter(name)]
        for path in (Path(place, name) for name in files if not is_clutter(name)):
            (pictures if _is_picture(path) else others).append(path)
    return sorted(pictures), sorted(others)


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name is hidden or a system's."""
    return name.startswith(".") or name in CLUTTER


def _is_picture(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        Image.open(path, formats=FORMATS).close()  # reads the first bytes
    except Exception:  # whatever it is, Pillow does not know it
        return False
    return True
