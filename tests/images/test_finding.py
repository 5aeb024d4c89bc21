"""A folder gives up its pictures, sorted, and hides nothing else."""

import os
from pathlib import Path

from PIL import Image

from imageclf.images.kinds import find_pictures


def make(folder: Path, name: str, content: bytes = b"x") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def names(folder: Path) -> tuple[list[str], list[str]]:
    pictures, others = find_pictures(folder)
    return [str(path.relative_to(folder)) for path in pictures], [str(path.relative_to(folder)) for path in others]


def test_pictures_at_any_depth_come_sorted(tmp_path: Path) -> None:
    for name in ("b.PNG", "a/z.jpeg", "a/b/c.webp", "c.tif"):
        make(tmp_path, name)
    assert names(tmp_path) == (["a/b/c.webp", "a/z.jpeg", "b.PNG", "c.tif"], [])


def test_a_picture_is_known_by_its_content_where_its_name_says_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "photo.jfif", format="JPEG")
    make(tmp_path, "notes.txt")
    assert names(tmp_path) == (["photo.jfif"], ["notes.txt"])


def test_clutter_of_systems_is_neither_a_picture_nor_another_file(tmp_path: Path) -> None:
    for name in (
        ".hidden.png",
        ".ipynb_checkpoints/a.png",
        "__MACOSX/a.png",
        "Thumbs.db",
        "._a.png",
        "@eaDir/a.png",
        "Icon\r",
    ):
        make(tmp_path, name)
    assert names(tmp_path) == ([], [])


def test_what_programs_leave_is_named_and_no_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png~", "~$c.png", "d.png.crdownload", "e.png.dvc", "ehthumbs.db", "lost+found/f.png"):
        make(tmp_path, name)
    assert names(tmp_path) == (["a.png"], ["b.png~", "d.png.crdownload", "e.png.dvc", "~$c.png"])


def test_links_to_the_cache_of_dvc_are_pictures(tmp_path: Path) -> None:
    cached = f"cache/files/md5/0a/{'b' * 30}"
    make(tmp_path, cached)
    make(tmp_path, "own/c.png")
    (tmp_path / "own/a.png").symlink_to(tmp_path / cached)
    (tmp_path / "own/gone.png").symlink_to(tmp_path / cached.replace("b", "c"))
    assert names(tmp_path / "own") == (["a.png", "c.png"], ["gone.png"])


def test_links_and_pipes_are_never_followed(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.png").symlink_to("a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert names(tmp_path) == (["a.png"], ["link.png", "loop", "pipe.png"])


def test_a_file_that_is_no_picture_has_its_reason(tmp_path: Path) -> None:
    make(tmp_path, "scan.dcm", bytes(128) + b"DICM" + bytes(64))
    make(tmp_path, "notes.txt", b"pears")
    make(tmp_path, "pear.dvc.txt", b"outs:\n- md5: 0123\n  path: pear.png\n")
    make(tmp_path, "about.py", b"# reads outs: md5: and path:")
    make(tmp_path, "nothing", b"")
    make(tmp_path, "e.png.part")
    (tmp_path / "dead.png").symlink_to("gone.png")
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "link.png").symlink_to("notes.txt")
    (tmp_path / "pull.png").symlink_to(tmp_path / f"cache/files/md5/0a/{'b' * 30}")
    _, others = find_pictures(tmp_path)
    assert {path.name: reason.partition(";")[0] for path, reason in others.items()} == {
        "about.py": "not a picture but text",
        "circle.png": "a link that leads nowhere",
        "dead.png": "a link that leads nowhere",
        "e.png.part": "an unfinished download or temporary file",
        "folder": "a link to a folder",
        "link.png": "a link that is not DVC's",
        "nothing": "empty",
        "notes.txt": "not a picture but text",
        "pear.dvc.txt": "DVC pointer, not the picture itself",
        "pull.png": "a link to a file that DVC's cache lacks",
        "scan.dcm": "DICOM cannot be read",
    }
