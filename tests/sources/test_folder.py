"""A user's own folder becomes a manifest, or one sentence says why not."""

import os
import socket
from pathlib import Path

import pytest

from stages.console.errors import DataError
from stages.sources.folder import Manifest, make_manifest

PAIR = ["ant/1.jpg", "bee/1.jpg"]


def made(root: Path, paths: list[str]) -> Path:
    """Files below root, each with its own path inside; a path that ends with / is a folder."""
    for path in paths:
        place = root / path
        (place if path.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            place.write_text(path)
    return root


def lines(manifest: Manifest) -> list[tuple[str, str, str]]:
    return list(manifest.files[["path", "label", "split"]].itertuples(index=False, name=None))


def left_out(manifest: Manifest) -> dict[str, str]:
    return dict(manifest.left_out[["path", "problem"]].itertuples(index=False, name=None))


LAYOUTS: list[tuple[list[str], list[tuple[str, str, str]]]] = [
    (PAIR, [("ant/1.jpg", "ant", ""), ("bee/1.jpg", "bee", "")]),
    (["ant/a/b/1.jpg", "bee/1.jpg"], [("ant/a/b/1.jpg", "ant", ""), ("bee/1.jpg", "bee", "")]),
    (["no/1", "1e3/1", "01/1"], [("01/1", "01", ""), ("1e3/1", "1e3", ""), ("no/1", "no", "")]),
    (["train/ant/1", "train/bee/1"], [("train/ant/1", "ant", "train"), ("train/bee/1", "bee", "train")]),
    (
        ["Train/ant/1", "VALID/bee/1", "test/ant/1", "Train/bee/x/2"],
        [
            ("Train/ant/1", "ant", "train"),
            ("Train/bee/x/2", "bee", "train"),
            ("VALID/bee/1", "bee", "val"),
            ("test/ant/1", "ant", "test"),
        ],
    ),
    # A class may be called train where other classes stand beside it.
    (["train/1.jpg", "bus/1.jpg"], [("bus/1.jpg", "bus", ""), ("train/1.jpg", "train", "")]),
    (["-rf/1", 'a "b"/<script>\n.png'], [("-rf/1", "-rf", ""), ('a "b"/<script>\n.png', 'a "b"', "")]),
    (["ant/notes.txt", "bee/1.HEIC"], [("ant/notes.txt", "ant", ""), ("bee/1.HEIC", "bee", "")]),
    (["red ant/1 2.jpg", "bee /1"], [("red ant/1 2.jpg", "red ant", ""), ("bee /1", "bee", "")]),
    (["NA/1", "nan/1", "null/1"], [("NA/1", "NA", ""), ("nan/1", "nan", ""), ("null/1", "null", "")]),
    (["cafe\u0301/1", "\u65e5\u672c/1"], [("cafe\u0301/1", "caf\u00e9", ""), ("\u65e5\u672c/1", "\u65e5\u672c", "")]),
    (["ant/x.jpg/1.png", "labels.csv/1"], [("ant/x.jpg/1.png", "ant", ""), ("labels.csv/1", "labels.csv", "")]),
    ([f"{'a' * 250}/1", f"b/{'1' * 250}"], [(f"{'a' * 250}/1", "a" * 250, ""), (f"b/{'1' * 250}", "b", "")]),
    (["=1+1/1", "$(id)/`id`"], [("=1+1/1", "=1+1", ""), ("$(id)/`id`", "$(id)", "")]),
    # Both words for validation are one split.
    (
        ["train/ant/1", "train/bee/1", "val/ant/2", "valid/bee/2"],
        [
            ("train/ant/1", "ant", "train"),
            ("train/bee/1", "bee", "train"),
            ("val/ant/2", "ant", "val"),
            ("valid/bee/2", "bee", "val"),
        ],
    ),
]
WRONG_LAYOUTS = [
    ([], "no files and no folders"),
    (["1.jpg", "2.jpg"], "2 files and no folders"),
    (["ant/1.jpg"], "one class, ant"),
    ([*PAIR, "cat/"], "class folder cat in .* is empty"),
    ([*PAIR, "cat/.hidden"], "class folder cat in .* is empty"),
    ([*PAIR, "3.png"], "images beside its class folders"),
    (["train/ant/1", "train/bee/1", "train/3.PNG"], r"images in train and not in a class folder there \(3.PNG\)"),
    (["train/ant/1", "train/bee/1", "val/bee/"], "class folder val/bee in .* is empty"),
    (["val/ant/1", "test/bee/1"], "no train folder"),
    (["train/ant/1", "val/ant/1"], "one class, ant"),
    (["cat/1", "Cat/1"], "differ only in upper and lower case"),
    (["caf\u00e9/1", "cafe\u0301/1"], "differ only in Unicode form"),
    (["train/cat/1", "train/dog/1", "test/Cat/1"], "differ only in upper and lower case"),
    (["ant/", "bee/"], "is empty"),
    ([*PAIR, "train/ant/1"], "train with folders in it, and beside it ant, bee"),
    (["train/ant/1", "train/bee/1", "val/ant/1", "docs/a.txt"], "train, val with folders in it, and beside it docs"),
    (["images/ant/1", "images/bee/1"], "one class, images, and at least two"),
    (["ant/x/y/", "bee/1"], "class folder ant in .* is empty; fill it"),
    (["bee/1", "cat/.a", "cat/__MACOSX/1"], "is empty but for a hidden or system file, a hidden or system folder"),
    (["README.txt"], "1 files and no folders"),
    ([".git/a"], "no files and no folders in it but for a hidden or system folder with 1 files"),
    (["train/1.jpg", "val/2.jpg"], "images in train and not in a class folder there"),
    (["stra\u00dfe/1", "STRASSE/1"], "differ only in upper and lower case"),
    (["train/ant/", "val/ant/1", "val/bee/1"], "val and no train folder with images in it"),
]


@pytest.mark.parametrize(("paths", "expected"), LAYOUTS, ids=str)
def test_layouts(tmp_path: Path, paths: list[str], expected: list[tuple[str, str, str]]) -> None:
    manifest = make_manifest([str(made(tmp_path / "own", paths))])
    assert sorted(lines(manifest)) == sorted(expected)
    assert manifest.classes == sorted({label for _, label, _ in expected})
    assert manifest.left_out.empty


@pytest.mark.parametrize(("paths", "words"), WRONG_LAYOUTS, ids=str)
def test_what_cannot_be_told_into_classes_is_one_sentence(tmp_path: Path, paths: list[str], words: str) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(DataError, match=words) as raised:
        make_manifest([str(made(tmp_path / "own", paths))])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("path,label\nant/1.jpg,x\nbee/1.jpg,y\n", [("ant/1.jpg", "x", ""), ("bee/1.jpg", "y", "")]),
        (
            "path,label,split\nant/1.jpg,x,validation\nbee/1.jpg,y,\n",
            [("ant/1.jpg", "x", "val"), ("bee/1.jpg", "y", "")],
        ),
        (
            '\ufeffsplit,label,path\r\ntest,x,ant/1.jpg\r\n,"y, z",bee/1.jpg\r\n',
            [("ant/1.jpg", "x", "test"), ("bee/1.jpg", "y, z", "")],
        ),
    ],
)
def test_a_table_names_the_classes(tmp_path: Path, table: str, expected: list[tuple[str, str, str]]) -> None:
    made(tmp_path, [*PAIR, "spare.jpg"])
    (tmp_path / "labels.csv").write_bytes(table.encode())
    manifest = make_manifest([str(tmp_path)])
    assert lines(manifest) == expected
    assert left_out(manifest) == {"spare.jpg": "not in labels.csv", "labels.csv": "the table of classes"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"file,class\nant/1.jpg,x\n", "has the columns file, class, not path, .*; call file path, call class label$"),
        (b"path,label\nant/1.jpg,x\nant/1.jpg,y\n", "line 3: ant/1.jpg is listed twice"),
        (b"path,label\nant/1.jpg,\n", "line 2: no label"),
        (b'path,label\nant/1.jpg,"x\ry"\n', r"label 'x\\ry' has a carriage return"),
        (b"path,label\n../secret.jpg,x\n", "line 2: ../secret.jpg is not in the folder of the table"),
        (b"path,label\n/etc/passwd,x\n", "line 2: /etc/passwd is not in the folder of the table"),
        (b"path,label,split\nant/1.jpg,x,pool\n", "split is 'pool'; it can be train, val, test or empty"),
        (b"path,label\nant/1.jpg,x,y\n", "line 2: not 2 cells"),
        (b"path,label\nant/1.jpg\n", "line 2: not 2 cells"),
        (b"path,label\n\xff,x\n", "line 2: byte 0xff is not UTF-8; save the table as CSV UTF-8"),
        (b"", "has the columns"),
        (b"path,label\n", "holds no images"),
    ],
    ids=str,
)
def test_a_wrong_table_is_one_sentence(tmp_path: Path, table: bytes, words: str) -> None:
    made(tmp_path, PAIR)
    (tmp_path / "labels.csv").write_bytes(table)
    with pytest.raises(DataError, match=words):
        make_manifest([str(tmp_path)])


def test_what_is_passed_over_is_listed(tmp_path: Path) -> None:
    made(tmp_path, [*PAIR, ".git/a", ".git/b/c", "ant/.x.jpg", "bee/__MACOSX/1.jpg", "ant/Thumbs.db", "README.txt"])
    (tmp_path / "ant/loop").symlink_to(tmp_path)
    (tmp_path / "bee/link.jpg").symlink_to(tmp_path / "ant/1.jpg")
    os.mkfifo(tmp_path / "bee/pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "bee/socket"))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/ant/\xff.jpg")).write_text("1")
    made(tmp_path, ["ant/Icon\r", "ant/a\rb.jpg", "ca\rt/1.jpg", "bee/@eaDir/1.jpg"])
    manifest = make_manifest([str(tmp_path)])
    assert [path for path, _, _ in lines(manifest)] == PAIR
    assert left_out(manifest) == {
        ".git": "a hidden or system folder with 2 files",
        "README.txt": "beside the class folders",
        "ant/.x.jpg": "a hidden or system file",
        "ant/Icon\\r": "a hidden or system file",
        "ant/Thumbs.db": "a hidden or system file",
        "ant/a\\rb.jpg": "a name with a carriage return",
        "ant/loop": "a link that is not DVC's",
        "ant/\\udcff.jpg": "a name that is not UTF-8",
        "bee/@eaDir": "a hidden or system folder with 1 files",
        "bee/__MACOSX": "a hidden or system folder with 1 files",
        "bee/link.jpg": "a link that is not DVC's",
        "bee/pipe.jpg": "a pipe, socket or device",
        "bee/socket": "a pipe, socket or device",
        "ca\\rt": "a wrongly named folder with 1 files",
    }


def test_a_class_of_links_alone_says_so(tmp_path: Path) -> None:
    made(tmp_path / "own", [*PAIR, "cat/"])
    (tmp_path / "own/cat/1.jpg").symlink_to(tmp_path / "own/ant/1.jpg")
    with pytest.raises(
        DataError, match=r"class folder cat in .* is empty but for a link that is not DVC's; put the files"
    ):
        make_manifest([str(tmp_path / "own")])


def test_the_layouts_are_many() -> None:
    assert len(LAYOUTS) + len(WRONG_LAYOUTS) >= 35


@pytest.mark.parametrize("also", ["own", "own/ant", "own/../own/"])
def test_a_folder_within_the_other_would_count_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, also: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    made(tmp_path / "own", PAIR)
    with pytest.raises(DataError, match=r"would count twice; set data.path and data.also to folders apart"):
        make_manifest([str(tmp_path / "own"), str(tmp_path / also)])


def test_two_folders_are_added(tmp_path: Path) -> None:
    roots = [str(made(tmp_path / "a", PAIR)), str(made(tmp_path / "b", ["train/ant/2", "train/cat/2", ".x"]))]
    manifest = make_manifest(roots)
    assert manifest.classes == ["ant", "bee", "cat"]
    assert manifest.files["root"].tolist() == [0, 0, 1, 1]
    assert list(left_out(manifest)) == [f"{roots[1]}/.x"]


@pytest.mark.parametrize(
    ("path", "words"),
    [("missing", "is missing"), ("own.csv", "put it as labels.csv"), ("a.jpg", "is a file"), (".", "own files")],
)
def test_a_path_that_is_no_folder_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path, ["own.csv", "a.jpg"])
    with pytest.raises(DataError, match=words):
        make_manifest([path])


def test_the_order_on_the_disk_does_not_matter(tmp_path: Path) -> None:
    paths = [f"{name}/{number}" for name in ("b", "a", "\u00e4") for number in range(20)]
    tables = [
        make_manifest([str(made(tmp_path / folder, order))]).files
        for folder, order in (("x", paths), ("y", paths[::-1]))
    ]
    assert tables[0].equals(tables[1])


def test_one_changed_file_is_one_changed_line(tmp_path: Path) -> None:
    made(tmp_path, [*PAIR, "ant/2.jpg"])
    before = make_manifest([str(tmp_path)]).files
    (tmp_path / "ant/2.jpg").write_text("other")
    after = make_manifest([str(tmp_path)]).files
    assert before.compare(after).index.map(after["path"].to_dict()).tolist() == ["ant/2.jpg"]
