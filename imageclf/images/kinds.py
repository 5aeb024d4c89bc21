"""Recognise kinds of files by their names and first bytes."""

import io
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from PIL import Image, TiffImagePlugin, features

HAS_HEIC = find_spec("pillow_heif") is not None  # the extra of requirements-heic.lock
if HAS_HEIC:
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
# Common formats that Pillow reads without other programs, and HEIC.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"),
    *(["AVIF"] if features.check("avif") else []),
    *(["HEIF"] if HAS_HEIC else []),
)
HEAD = 1024  # bytes of a text file to look at
# Unsupported picture formats: offset and bytes of their signature, name, what to do.
AS_PNG, DEVELOP = "save it as PNG", "develop it as JPEG or PNG"
SLICES = "save its slices as 16-bit PNG, and set prepare.window"
FRAMES = "save frames of it as PNG"
PICTURES = [
    (128, b"DICM", "DICOM", "convert it to 16-bit PNG, with pydicom or dicom2jpg say, and set prepare.window"),
    (344, b"n+1\0", "NIfTI", SLICES),
    (344, b"ni1\0", "NIfTI", SLICES),
    (4, b"n+2\0\r\n\x1a\n", "NIfTI", SLICES),
    (0, b"\x93NUMPY", "a NumPy array", AS_PNG),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5", "save its images as PNG"),
    (0, b"MATLAB 5.0", "a MATLAB file", "save its images as PNG"),
    (0, b"8BPS", "PSD", AS_PNG),
    (0, b"\0\0\1\0", "ICO", AS_PNG),
    (0, b"\xff\x0a", "JPEG XL", AS_PNG),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL", AS_PNG),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000", AS_PNG),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000", AS_PNG),
    (0, b"\x76\x2f\x31\x01", "OpenEXR", AS_PNG),
    (0, b"#?RADIANCE", "Radiance HDR", AS_PNG),
    (0, b"P7\n", "PAM", AS_PNG),
    (0, b"DDS ", "DDS", AS_PNG),
    (0, b"qoif", "QOI", AS_PNG),
    (4, b"ftypcrx", "a camera's raw file", DEVELOP),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file", DEVELOP),
    (0, b"IIRO", "a camera's raw file", DEVELOP),
    (0, b"IIRS", "a camera's raw file", DEVELOP),
    (0, b"IIU\0", "a camera's raw file", DEVELOP),
]
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
GET_HEIC = "run pip install --require-hashes -r requirements-heic.lock, or save it as JPEG"
# The same for other files.
OTHERS = [
    (0, b"%PDF-", "a PDF", "save its pages or figures as PNG"),
    (0, b"%!PS", "PostScript", AS_PNG),
    (0, b"PK\x03\x04", "a ZIP archive", "unpack it"),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (0, b"Rar!\x1a\x07", "a RAR archive", "unpack it"),
    (257, b"ustar", "a tar archive", "unpack it"),
    (4, b"ftyp", "a video (MP4 or MOV)", FRAMES),
    (4, b"moov", "a video (MOV)", FRAMES),
    (8, b"AVI ", "a video (AVI)", FRAMES),
    (0, b"\x1a\x45\xdf\xa3", "a video (WebM or MKV)", FRAMES),
    (0, b"\0\0\1\xba", "a video (MPEG)", FRAMES),
    (0, b"\0\0\1\xb3", "a video (MPEG)", FRAMES),
]
# Signatures of supported formats.
READ = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
MAKE, SUBFILE, DNG_VERSION = 271, 254, 50706  # tags of TIFF
WHOLE = "get a whole copy"


class Name(NamedTuple):
    """A kind of fault, what was found, what to do."""

    kind: str
    found: str
    remedy: str


CAMERA_RAW = Name("unsupported kind", "a camera's raw file cannot be read", DEVELOP)


def name_of(content: bytes, *, read: str) -> Name:
    """Name a file that is not a readable picture; `read` lists the supported formats."""
    if is_camera_raw(content):
        return CAMERA_RAW
    for beginning, name in READ.items():
        if content.startswith(beginning):
            return Name("damaged", f"cannot be read (the head of its {name} is broken)", WHOLE)
    for place, beginning, name, remedy in PICTURES:
        if content.startswith(beginning, place):
            return Name("unsupported kind", f"{name} cannot be read", remedy)
    if content[4:8] == b"ftyp" and content[8:12] in HEIC:
        if not HAS_HEIC and b"avi" not in content[8:40]:  # the brands of AVIF
            return Name("unsupported kind", "HEIC needs the extra pillow-heif", GET_HEIC)
        return Name("unsupported kind", "HEIC or AVIF, damaged or of a kind that cannot be read", "save it as JPEG")
    for place, beginning, name, remedy in OTHERS:
        if content.startswith(beginning, place):
            return Name("not a picture", f"not a picture but {name}", remedy)
    if not content.strip(b"\0"):
        return Name("not a picture", "not a picture but zero bytes alone", WHOLE)
    if _is_text(content[:HEAD]):
        return _name_of_text(content[:HEAD].decode(errors="replace"))
    return Name("not a picture", f"not a picture ({read} can be read)", "take it out or convert it")


def is_camera_raw(content: bytes) -> bool:
    """Whether a TIFF is a camera's raw file; a TIFF reader would return its preview."""
    if not content.startswith((b"II*\0", b"MM\0*")):
        return False
    if content.startswith(b"CR", 8):
        return True
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(content[:8])
        with io.BytesIO(content) as file:
            file.seek(tags.next)
            tags.load(file)
        return DNG_VERSION in tags or (tags.get(SUBFILE) == 1 and MAKE in tags)  # 1: a reduced copy of another page
    except Exception:  # damaged; Pillow reports it
        return False


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < HEAD - 4:  # not just the last character, which may be cut
            return False
    return not any(byte < 9 or 13 < byte < 32 for byte in head)


def _name_of_text(text: str) -> Name:
    begun = text.lstrip("\ufeff \t\r\n").lower()
    if begun.startswith("version https://git-lfs"):
        return Name("Git LFS pointer", "Git LFS pointer, not the picture itself", "run git lfs pull")
    if "/annex/objects/" in begun.partition("\n")[0]:
        return Name("git-annex pointer", "git-annex pointer, not the picture itself", "run git annex get")
    if re.search(r"^outs:\n- ", begun, re.MULTILINE) and "path:" in begun and ("md5:" in begun or "hash:" in begun):
        return Name("DVC pointer", "DVC pointer, not the picture itself", "run dvc pull, and take the pointer out")
    if "<svg" in begun:
        return Name("not a picture", "not a picture but an SVG drawing", "draw it as PNG")
    if begun.startswith(("<!doctype html", "<html")):
        page = "a web page, perhaps the error page of a download"
        return Name("not a picture", f"not a picture but {page}", "download the picture again")
    kinds = {"<": "XML", "{": "JSON", "[": "JSON"}
    return Name("not a picture", f"not a picture but {kinds.get(begun[:1], 'text')}", "take it out")


SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
SUFFIXES |= {".heic", ".heif", ".avif"}
# System files, besides all names that begin with a dot; "icon\r" is from macOS.
CLUTTER = {
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r", "wpsettings.dat"),
    *("__macosx", "$recycle.bin", "recycler", "system volume information", "lost+found", "found.000"),
    *("@eadir", "#recycle", "@recycle", "#snapshot", "network trash folder", "temporary items", "__pycache__"),
}
UNFINISHED = {".crdownload", ".part", ".partial", ".filepart", ".download", ".opdownload", ".aria2", ".tmp", ".temp"}
EDITORS = {".swp", ".swo", ".bak", ".orig"}
OF_DVC = "a file of DVC or a lock"
LINK, LINKED_FOLDER, DEAD_LINK = "a link that is not DVC's", "a link to a folder", "a link that leads nowhere"
NO_FILE = "a pipe, socket or device"
FIRST_BYTES = 2**16  # bytes that identify a file
CACHED = re.compile(r"/[0-9a-f]{2}/[0-9a-f]{30}$")  # names in DVC's cache


def find_pictures(folder: Path) -> tuple[list[Path], dict[Path, str]]:
    """All pictures below `folder`, by name or content, sorted; and why the other files are not pictures.

    Links are among the others, since they may form cycles, except DVC's links into its cache. Hidden and system files
    are in neither. An unreadable folder is among the others.
    """
    pictures: list[Path] = []
    others: dict[Path, str] = {}

    def unreadable(error: OSError) -> None:
        others[Path(error.filename)] = f"cannot be read ({error.strerror}); change its permissions"

    for place, folders, files in os.walk(folder, onerror=unreadable):
        others |= {Path(place, name): LINKED_FOLDER for name in folders if Path(place, name).is_symlink()}
        folders[:] = [name for name in folders if not is_clutter(name)]
        for path in (Path(place, name) for name in files if not is_clutter(name)):
            reason = _why_not(path)
            if reason:
                others[path] = reason
            else:
                pictures.append(path)
    return sorted(pictures), dict(sorted(others.items()))


def is_clutter(name: str) -> bool:
    """Whether the name is that of a hidden or system file or folder."""
    return name.startswith(".") or name.lower() in CLUTTER


def remnant(name: str) -> str:
    """The kind of leftover file that has this name; empty if none."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path would be ten times as slow
    if suffix in UNFINISHED:
        return "an unfinished download or temporary file"
    if suffix in EDITORS or name.startswith("~$") or name.endswith("~") or (name[0] == name[-1] == "#"):
        return "an editor's copy or lock"
    return OF_DVC if suffix in (".dvc", ".lock") else ""


def cached_by_dvc(path: str | Path) -> str:
    """The target of a link into DVC's cache, which may be missing; empty if `path` is not such a link."""
    target = os.path.realpath(path) if os.path.islink(path) else ""  # noqa: PTH114 - ten times as fast as Path's
    return target if CACHED.search(target) else ""


def kind_of_link(path: str | Path) -> str:
    """The kind of a link that is not followed."""
    if not os.path.exists(path):  # noqa: PTH110 - Path's raises on a loop
        return DEAD_LINK
    return LINKED_FOLDER if os.path.isdir(path) else LINK  # noqa: PTH112 - the same


def _why_not(path: Path) -> str:
    """Why a file is not a picture; empty if it is."""
    if path.is_symlink() and not cached_by_dvc(path):
        return kind_of_link(path)
    if path.is_symlink() and not path.exists():
        return "a link to a file that DVC's cache lacks; run dvc pull"
    if not path.is_file():
        return NO_FILE
    if remnant(path.name) or path.suffix.lower() in SUFFIXES:
        return remnant(path.name)
    try:
        Image.open(path, formats=FORMATS).close()  # reads the first bytes
    except OSError as error:
        if error.errno:
            return f"cannot be read ({error.strerror}); change its permissions"
        return _named(path)
    except Exception:  # any error means that Pillow cannot read it
        return _named(path)
    return ""


def _named(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(FIRST_BYTES)
    if not head:
        return "empty"
    name = name_of(head, read=", ".join(FORMATS))
    return f"{name.found}; {name.remedy}"
