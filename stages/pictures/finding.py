"""The picture files in a folder."""

import os
import re
from pathlib import Path

from PIL import Image

from stages.pictures.reading import FORMATS

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
# What systems leave among pictures, beside everything whose name begins with a dot; "icon\r" is a Mac's.
CLUTTER = {
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r", "wpsettings.dat"),
    *("__macosx", "$recycle.bin", "recycler", "system volume information", "lost+found", "found.000"),
    *("@eadir", "#recycle", "@recycle", "#snapshot", "network trash folder", "temporary items", "__pycache__"),
}
UNFINISHED = {".crdownload", ".part", ".partial", ".filepart", ".download", ".opdownload", ".aria2", ".tmp", ".temp"}
EDITORS = {".swp", ".swo", ".bak", ".orig"}
OF_DVC = "a file of DVC or a lock"
CACHED = re.compile(r"/[0-9a-f]{2}/[0-9a-f]{30}$")  # how DVC names every file in any of its caches


def find_pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """All pictures below `folder`, by name or by content, and all other files, each sorted.

    Links are among the others, as followed they may lead in circles; but those that DVC makes to files in its cache
    are pictures like any. Clutter is neither. A folder that may not be read is among the others.
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
    return name.startswith(".") or name.lower() in CLUTTER


def remnant(name: str) -> str:
    """What programs have left a file of this name; empty if it is none that they leave."""
    suffix = Path(name).suffix.lower()
    if suffix in UNFINISHED:
        return "an unfinished download or temporary file"
    if suffix in EDITORS or name.startswith("~$") or name.endswith("~") or (name[0] == name[-1] == "#"):
        return "an editor's copy or lock"
    return OF_DVC if suffix in (".dvc", ".lock") else ""


def cached_by_dvc(path: str | Path) -> str:
    """The file in DVC's cache that a link leads to, be it there or not; empty if `path` is no such link."""
    target = os.path.realpath(path) if os.path.islink(path) else ""  # noqa: PTH114 - ten times as fast as Path's
    return target if CACHED.search(target) else ""


def _is_picture(path: Path) -> bool:
    if (path.is_symlink() and not cached_by_dvc(path)) or not path.is_file() or remnant(path.name):
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        Image.open(path, formats=FORMATS).close()  # reads the first bytes
    except Exception:  # whatever it is, Pillow does not know it
        return False
    return True
