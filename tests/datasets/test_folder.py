"""A user's own folder becomes a manifest, or one sentence says why not."""

import os
import shutil
import socket
from itertools import islice
from pathlib import Path

import pytest
from dvc.fs import localfs
from dvc.ignore import DvcIgnoreFilter

from imageclf.datasets import folder, hashes
from imageclf.datasets.folder import Manifest, make_manifest, missed
from imageclf.runtime.errors import DataError

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
    return [(row.path, row.label, row.split) for row in manifest.rows()]


def left_out(manifest: Manifest) -> dict[str, str]:
    return {path: problem for path, problem, _ in manifest.left_out}


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
    # Each split may stand twice, or around a folder of images, or behind the name of the data set.
    (
        ["seg_train/seg_train/ant/1", "seg_train/seg_train/bee/1", "seg_test/seg_test/ant/1"],
        [
            ("seg_test/seg_test/ant/1", "ant", "test"),
            ("seg_train/seg_train/ant/1", "ant", "train"),
            ("seg_train/seg_train/bee/1", "bee", "train"),
        ],
    ),
    (
        ["Train/images/a/1", "Train/images/b/1"],
        [("Train/images/a/1", "a", "train"), ("Train/images/b/1", "b", "train")],
    ),
    (
        ["own_train/a/1", "own_train/b/1", "own_dev/a/1"],
        [("own_dev/a/1", "a", "val"), ("own_train/a/1", "a", "train"), ("own_train/b/1", "b", "train")],
    ),
    (["test_tube/1", "test_strip/1"], [("test_strip/1", "test_strip", ""), ("test_tube/1", "test_tube", "")]),
    (["test/1", "train/1", "bus/1"], [("bus/1", "bus", ""), ("test/1", "test", ""), ("train/1", "train", "")]),
    # Folders in classes, of other names, and of one name that tells nothing apart.
    (
        ["ant/x/1", "ant/y/1", "bee/x/1", "bee/z/1"],
        [(f"{at}/1", at[:3], "") for at in ("ant/x", "ant/y", "bee/x", "bee/z")],
    ),
    (["ant/images/1", "bee/images/1"], [("ant/images/1", "ant", ""), ("bee/images/1", "bee", "")]),
    ([" ant\u00a0/1", "b\u200be  e/1"], [(" ant\u00a0/1", "ant", ""), ("b\u200be  e/1", "be e", "")]),
]
WRONG_LAYOUTS = [
    ([], "no files and no subfolders"),
    (["1.jpg", "2.jpg"], "2 files and no subfolders"),
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
    ([*PAIR, "train/ant/1"], "train with subfolders, next to ant, bee"),
    (["train/ant/1", "train/bee/1", "val/ant/1", "docs/a.txt"], "train, val with subfolders, next to docs"),
    (["images/ant/1", "images/bee/1"], "one class, images, and at least two"),
    (["ant/x/y/", "bee/1"], "class folder ant in .* is empty; fill it"),
    (["bee/1", "cat/.a", "cat/__MACOSX/1"], "is empty but for a hidden or system file, a hidden or system folder"),
    (["README.txt"], "1 files and no subfolders"),
    ([".git/a"], "no files and no subfolders but for a hidden or system folder with 1 files"),
    (["train/1.jpg", "val/2.jpg"], "images in train and not in a class folder there"),
    (["stra\u00dfe/1", "STRASSE/1"], "differ only in upper and lower case"),
    (["train/ant/", "val/ant/1", "val/bee/1"], "val and no train folder with images in it"),
    (
        ["all/train/a/1", "all/train/b/1", "all/test/a/1"],
        "has test, train in its subfolder all; set the path to .*own/all$",
    ),
    (["all/data/a/1", "all/data/b/1"], "if its folders a, b are the classes, set the path to .*own/all/data$"),
    (["all/labels.csv", "all/1.jpg"], "or set the path to .*own/all, where there is one"),
    (
        ["one/a/1", "one/b/1", "two/A/1", "two/b/1"],
        "the same folders .a, b. in each of one, two; rename these",
    ),
    (["a/train/1", "a/test/1", "b/train/1"], "test, train below a, b; put the splits above the classes .test/a."),
    (
        ["trainA/1", "trainB/1", "testA/1", "testB/1"],
        "names combine a split and something else .testA, testB, trainA, ....",
    ),
    (["seg_train/a/1", "seg_train/b/1", "seg_pred/1"], "seg_train with subfolders, next to seg_pred"),
    (["own_train/1", "own_test/1", "bus/1"], "own_test, own_train named for splits, next to bus"),
    (["train/a/1", "train/b/1", "test/1.jpg"], "images in test and not in a class folder there .1.jpg."),
    (["images/1.jpg", "labels/1.txt"], "images, labels, as in detection or segmentation data sets"),
    (["images.zip"], "1 files and no subfolders; unpack images.zip here"),
    (["1.jpg", "classes.csv"], "if classes.csv names the classes, rename it to labels.csv"),
    (["a b/1", "a\u00a0b/1"], r"'a b' and 'a\\xa0b' differ only in white space; merge or rename one"),
    (["ab/1", "a\u200bb/1"], r"'ab' and 'a\\u200bb' differ only in characters that do not show"),
    (["fish/1", "\ufb01sh/1"], r"'fish' and '\\ufb01sh' differ only in Unicode form"),
    (["Ab/1", "ab /1"], "'Ab' and 'ab ' differ only in white space, and in upper and lower case"),
    ([" \u200b/1", "a/1"], r"the class ' \\u200b' has an invisible name"),
    (
        ["cat/1.jpg.dvc", "dog/1.jpg"],
        "cat in .* is empty but for a file of DVC or a lock; run dvc pull",
    ),
]


@pytest.mark.parametrize(("paths", "expected"), LAYOUTS, ids=str)
def test_layouts(tmp_path: Path, paths: list[str], expected: list[tuple[str, str, str]]) -> None:
    manifest = make_manifest([str(made(tmp_path / "own", paths))])
    assert sorted(lines(manifest)) == sorted(expected)
    assert manifest.classes == sorted({label for _, label, _ in expected})
    assert manifest.left_out == []


@pytest.mark.parametrize(("paths", "words"), WRONG_LAYOUTS, ids=str)
def test_what_cannot_be_told_into_classes_is_one_sentence(tmp_path: Path, paths: list[str], words: str) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(DataError, match=words) as raised:
        make_manifest([str(made(tmp_path / "own", paths))])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["x\u00b2/x2", "1/\u2460", "ant/\u0430nt1", "a-b/a b", "\u2764\ufe0f/\U0001f494"])
def test_classes_that_look_different_are_two(tmp_path: Path, name: str) -> None:
    manifest = make_manifest([str(made(tmp_path / "own", [f"{part}/1" for part in name.split("/")]))])
    assert manifest.classes == sorted(name.split("/"))


@pytest.mark.parametrize(
    "cells",
    [
        "img\\ant 1.jpg,img\\b\u00e9e.JPG",
        "./img/ant 1.jpg,/img/b\u00e9e.JPG",
        "img//ant 1.jpg,img/../img/b\u00e9e.JPG",
        "img/ant%201.jpg,img/b%C3%A9e.JPG",
        "IMG/Ant 1.JPG,img/B\u00c9E.jpg",
        " img/ant 1.jpg ,img/be\u0301e.JPG",
        "own/img/ant 1.jpg,own\\img\\b\u00e9e.JPG",
        "{root}/img/ant 1.jpg,file://{root}/img/b%C3%A9e.JPG",
    ],
)
def test_a_table_may_write_paths_as_any_system_does(tmp_path: Path, cells: str) -> None:
    root = made(tmp_path / "own", ["img/ant 1.jpg", "img/b\u00e9e.JPG"])
    first, second = cells.format(root=root).split(",")
    (root / "labels.csv").write_text(f"path,label\n{first},x\n{second},y\n", encoding="utf-8")
    assert lines(make_manifest([str(root)])) == [("img/ant 1.jpg", "x", ""), ("img/b\u00e9e.JPG", "y", "")]


def test_a_path_that_is_there_as_written_is_that_file(tmp_path: Path) -> None:
    paths = ["img/A%20b.jpg", "img/a b.jpg", r"img\1.jpg", "img/1.jpg"]
    made(tmp_path, paths)
    rows = "".join(f"{path},{number % 2}\n" for number, path in enumerate(paths))
    (tmp_path / "labels.csv").write_text(f"path,label\n{rows}")
    assert lines(make_manifest([str(tmp_path)])) == sorted((path, str(at % 2), "") for at, path in enumerate(paths))


TWO = [("ant/1.jpg", "x", "train"), ("bee/1.jpg", "y", "val")]


@pytest.mark.parametrize(
    "content",
    [
        b"path;label;split\nant/1.jpg;x;Train\nbee/1.jpg;y;validation_set\n",
        b"SPLIT\tLabel\tPath\r\nTraining\tx\tant/1.jpg\r\ndev\ty\tbee/1.jpg\r\n\r\n\t\t\r\n",
        "path,label,split\nant/1.jpg,x,train\nbee/1.jpg,y,val\n".encode("utf-16"),
        b"path,label,split,\nant/1.jpg,x,train,\nbee/1.jpg,y,val,\n,,,\n",
        b"sep=;\r\npath;label;split\r\nant/1.jpg;x;train\r\nbee/1.jpg;y;val\r\n",
        b"path,label,split\rant/1.jpg,x,train\rbee/1.jpg,y,val",
        b"path,label,split\nant/1.jpg,x,train\nbee/1.jpg,y,val\nant/1.jpg,x,Training\n",
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["labels.csv", "Labels.CSV"])
def test_a_table_as_any_program_saves_it(tmp_path: Path, content: bytes, name: str) -> None:
    made(tmp_path, PAIR)
    (tmp_path / name).write_bytes(content)
    assert lines(make_manifest([str(tmp_path)])) == TWO


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
        (
            b"Pth,lable,spilt\nant/1.jpg,x,\n",
            "none is known as label; write the first line as path,label,split, with each",
        ),
        (
            b"path,label,Label\nant/1.jpg,x,\n",
            "'label' and 'Label' may each be the label; .* as path,label,other, with",
        ),
        (
            b"file;class;category\nant/1.jpg;x;\n",
            "'class' and 'category' may .* label; .* as path;label;category, with",
        ),
        (
            b"img,patient_id,label,lesion_id\nant/1.jpg,1,x,2\n",
            "'patient_id' and 'lesion_id' may each be the group; write .* as path,group,label,lesion_id, with",
        ),
        (
            b"file,image,label\nant/1.jpg,bee/1.jpg,x\n",
            "'file' and 'image' may each be the path; .* path,image,label, w",
        ),
        (b"a,b,c\n5,6,7\n", "the columns a, b, c, and none is known as path or label; .* as path,label,c, with"),
        (b"path,label\nant/1.jpg,x\nant/1.jpg,y\n", "line 3: ant/1.jpg is listed twice"),
        (b"path,label\nant/1.jpg,\n", "line 2: no label"),
        (b"path,label\n ,x\n", "line 2: no path; name the file that is x"),
        (b'path,label\nant/1.jpg,"x\ry"\n', r"label 'x\\ry' contains a carriage return"),
        (b"path,label\n../secret.jpg,x\n", "line 2: ../secret.jpg is not in the folder of the table"),
        (b"path,label\n/etc/passwd,x\n", "line 2: /etc/passwd is not in the folder of the table"),
        (b"path,label,split\nant/1.jpg,x,pool\n", "split is 'pool'; it can be train, val, test or empty"),
        (b"path,label\nant/1.jpg,x,y\n", "line 2: not 2 cells"),
        (b"path,label\nant/1.jpg\n", "line 2: not 2 cells"),
        (b"path,label\n\xff,x\n", "line 2: byte 0xff is not UTF-8; save the table as CSV UTF-8"),
        (b"", "has the columns"),
        (b"PK\x03\x04", "is an Excel workbook"),
        (b"ant/1.jpg,x\nbee/1.jpg,y\n", "begins with a file, not with column names; write path,label above it$"),
        (b"x;bee/2\ny;bee/1\n", "begins with a file, not with column names; write label;path above it$"),
        (
            b"path\nant/1.jpg\n",
            "the columns path, and none is known as label; write the first line as path,label, with",
        ),
        (b'path,label\n"ant/1.jpg,x\n', "line 2: not valid CSV"),
        (b"path,label\nC:\\own\\bee\\2.jpg,x\n", "is not in the folder of the table; write .* as bee/2.jpg"),
        (b"path,label\nhttps://a.b/2.jpg,x\n", "is not in the folder of the table"),
        (b"id,label\n1,x\n", "line 2: 1 may be ant/1.jpg or bee/1.jpg; write the correct one"),
        (b"path,label\ncat/2.jpg,x\n", "cat/2.jpg is not there, but bee/2.jpg is; if you mean that file, use its name"),
        (b"path,label\nbee/2.png,x\n", "bee/2.png is not there, but bee/2.jpg is"),
        (b"path,label\nbee/3.jpg,x\n", "bee/3.jpg is not there; remove the line or fix it"),
        (b"path,label\nbee,x\n", "bee is a folder; name each file in it"),
        (b"path,label\nbee/.x.jpg,x\n", r"bee/.x.jpg is left out \(a hidden or system file\)"),
        (b"path,label\nant/C.jpg,x\n", "ant/C.jpg may be ant/[cC].JPG or ant/[cC].JPG"),
        (b"path,label\nant/1.jpg,x\nANT/1.jpg,y\n", "line 3: ANT/1.jpg is listed twice, and is x above"),
        (b"path,label\nant/1.jpg,x\nbee/1.jpg,X\n", "differ only in upper and lower case"),
        (b"path,label\nant/1.jpg,x\nbee/1.jpg,x\xe2\x80\x8b\n", "differ only in characters that do not show"),
        (b"path,label\n", "holds no images"),
    ],
    ids=str,
)
def test_a_wrong_table_is_one_sentence(tmp_path: Path, table: bytes, words: str) -> None:
    made(tmp_path, [*PAIR, "bee/2.jpg", "bee/.x.jpg", "ant/c.JPG", "ant/C.JPG"])
    (tmp_path / "labels.csv").write_bytes(table)
    with pytest.raises(DataError, match=words):
        make_manifest([str(tmp_path)])


def test_what_is_passed_over_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, [*PAIR, ".git/a", ".git/b/c", "ant/.x.jpg", "bee/__MACOSX/1.jpg", "ant/Thumbs.db", "README.txt"])
    (tmp_path / "ant/loop").symlink_to(tmp_path)
    (tmp_path / "bee/link.jpg").symlink_to(tmp_path / "ant/1.jpg")
    os.mkfifo(tmp_path / "bee/pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener, monkeypatch.context() as patch:
        patch.chdir(tmp_path / "bee")  # the whole path of a socket may have 107 bytes
        listener.bind("socket")
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
        "ant/loop": "a link to a folder",
        "ant/\\udcff.jpg": "a name that is not UTF-8",
        "bee/@eaDir": "a hidden or system folder with 1 files",
        "bee/__MACOSX": "a hidden or system folder with 1 files",
        "bee/link.jpg": "a link that is not DVC's",
        "bee/pipe.jpg": "a pipe, socket or device",
        "bee/socket": "a pipe, socket or device",
        "ca\\rt": "a wrongly named folder with 1 files",
    }


def test_what_programs_leave_is_no_class_and_no_image(tmp_path: Path) -> None:
    system, remnants = (
        "a hidden or system file",
        {
            "ant/2.jpg.crdownload": "an unfinished download or temporary file",
            "ant/3.jpg.part": "an unfinished download or temporary file",
            "ant/4.TMP": "an unfinished download or temporary file",
            "bee/~$5.jpg": "an editor's copy or lock",
            "bee/6.jpg~": "an editor's copy or lock",
            "bee/7.jpg.dvc": "a file of DVC or a lock",
            "bee/dvc.lock": "a file of DVC or a lock",
        },
    )
    files = [".DS_Store", "THUMBS.DB", "ehthumbs.db", "Desktop.ini", ".gitignore", ".dvcignore", "ant/.gitkeep"]
    folders = ["$RECYCLE.BIN", "System Volume Information", "lost+found", "@eaDir", ".AppleDouble", "__MACOSX"]
    made(tmp_path, [*PAIR, *files, *remnants, *(f"{name}/1.jpg" for name in folders), "8.jpg.download/8.jpg"])
    images = ["ant/#1.jpg", "ant/1.jpg", "ant/a~b.jpg", "ant/part.jpg", "bee/1.jpg"]
    made(tmp_path, images)
    manifest = make_manifest([str(tmp_path)])
    assert manifest.classes == ["ant", "bee"]
    assert [path for path, _, _ in lines(manifest)] == [
        "ant/#1.jpg",
        "ant/1.jpg",
        "ant/a~b.jpg",
        "ant/part.jpg",
        "bee/1.jpg",
    ]
    assert left_out(manifest) == {
        **dict.fromkeys(files, system),
        **dict.fromkeys(folders, "a hidden or system folder with 1 files"),
        **remnants,
        "8.jpg.download": "a half downloaded folder with 1 files",
    }


def cached(cache: Path, link: Path) -> None:
    """Move a file into a cache as DVC does, and leave a link."""
    place = cache / "files/md5/0a" / f"{len(list(cache.rglob('*'))):030x}"
    place.parent.mkdir(parents=True, exist_ok=True)
    link.rename(place)
    link.symlink_to(place)


def test_the_links_that_dvc_makes_are_read(tmp_path: Path) -> None:
    made(tmp_path / "own", [*PAIR, "labels.csv"])
    (tmp_path / "own/labels.csv").write_text("path,label\nant/1.jpg,x\nbee/1.jpg,y\n")
    before = list(make_manifest([str(tmp_path / "own")]).rows())
    for path in [*PAIR, "labels.csv"]:
        cached(tmp_path / "shared", tmp_path / "own" / path)
    (tmp_path / "linked").symlink_to(tmp_path / "own")
    for name in ("own", "linked"):
        manifest = make_manifest([str(tmp_path / name)])
        assert list(manifest.rows()) == before
        assert left_out(manifest) == {"labels.csv": "the table of classes"}


def test_a_link_to_what_the_cache_lacks_stops(tmp_path: Path) -> None:
    made(tmp_path / "own", PAIR)
    cached(tmp_path / "cache", tmp_path / "own/ant/1.jpg")
    (tmp_path / "own/ant/1.jpg").resolve().unlink()
    with pytest.raises(DataError, match=r"ant/1.jpg links to a file that DVC's cache lacks; run dvc pull"):
        make_manifest([str(tmp_path / "own")])


def test_what_dvcignore_hides_is_left_out_as_dvc_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, [".dvc/", "own/ant/aug_1.jpg", "own/ant/aug_2.jpg", "own/ant/1.jpg", "own/bee/old/1.jpg"])
    made(tmp_path, ["own/bee/1.jpg", "own/bee/2.jpg", "own/bee/aug_3.jpg", "own/cat/1.jpg", "own/bee/deep/2.jpg"])
    (tmp_path / ".dvcignore").write_text("# made by a script\naug_*\n!aug_2.jpg\nown/cat\n")
    (tmp_path / "own/bee/.dvcignore").write_text("old/\n/2.jpg\n!aug_3.jpg\n")
    monkeypatch.chdir(tmp_path)
    manifest = make_manifest(["own"])
    kept = ["ant/1.jpg", "ant/aug_2.jpg", "bee/1.jpg", "bee/aug_3.jpg", "bee/deep/2.jpg"]
    assert [path for path, _, _ in lines(manifest)] == kept
    hidden = dict.fromkeys(["ant/aug_1.jpg", "bee/2.jpg"], "a file hidden by .dvcignore")
    hidden |= dict.fromkeys(["bee/old", "cat"], "a folder hidden by .dvcignore")
    assert left_out(manifest) == hidden | {"bee/.dvcignore": "a hidden or system file"}
    from_dvc = localfs_files(tmp_path)
    assert {f"own/{path}" for path in [*kept, "bee/.dvcignore"]} == from_dvc


def localfs_files(repository: Path) -> set[str]:
    """What DVC itself finds in own/."""
    found = DvcIgnoreFilter(localfs, str(repository)).find(localfs, str(repository / "own"))
    return {str(Path(path).relative_to(repository)) for path in found}


def test_what_may_be_wanted_of_what_is_left_out_is_said_by_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, [".dvc/", *(f"own/{path}" for path in PAIR), "own/cow/1.jpg", "elsewhere/1.jpg"])
    made(tmp_path, ["own/labels.xlsx", "own/README.txt", "own/ant/.DS_Store", "own/bee/old_1.jpg"])
    (tmp_path / ".dvcignore").write_text("own/cow\nold_*\n")
    for name in ("cat", "dog", "elk", "fox"):
        (tmp_path / "own" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "own/ant/2.jpg").symlink_to(tmp_path / "elsewhere/1.jpg")
    monkeypatch.chdir(tmp_path)
    assert missed(make_manifest(["own"]).left_out) == [
        "left out cat, dog, elk, ... (4 in all): a link to a folder; replace it by the folder itself",
        "left out ant/2.jpg: a link that is not DVC's; replace it by the file itself",
        "left out cow: a folder hidden by .dvcignore; change .dvcignore if it is wanted",
        "left out bee/old_1.jpg: a file hidden by .dvcignore; change .dvcignore if it is wanted",
        "left out labels.xlsx: a table that is not read; if it names the classes, save it as labels.csv at the top, "
        "with the columns path,label",
    ]
    (tmp_path / "own/labels.csv").write_text("path,label\nant/1.jpg,x\nbee/1.jpg,y\n")
    made(tmp_path, ["own/spare.jpg"])
    said = missed(make_manifest(["own"]).left_out)
    assert "left out spare.jpg: not in labels.csv; name its class there if it is wanted" in said
    assert not [line for line in said if "README" in line or ".DS_Store" in line or "labels.xlsx" in line]


def test_a_folder_elsewhere_needs_no_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, ["here/.dvc/", "here/.dvcignore", "own/ant/1.jpg", "own/bee/1.jpg"])
    (tmp_path / "here/.dvcignore").write_text("*.jpg\n")
    monkeypatch.chdir(tmp_path / "here")
    assert left_out(make_manifest([str(tmp_path / "own")])) == {}


def test_a_class_of_links_alone_says_so(tmp_path: Path) -> None:
    made(tmp_path / "own", [*PAIR, "cat/"])
    (tmp_path / "own/cat/1.jpg").symlink_to(tmp_path / "own/ant/1.jpg")
    with pytest.raises(
        DataError, match=r"class folder cat in .* is empty but for a link that is not DVC's; replace links by the files"
    ):
        make_manifest([str(tmp_path / "own")])


def test_a_link_to_a_folder_is_named_where_it_leaves_one_class_or_no_training(tmp_path: Path) -> None:
    made(tmp_path, ["own/bee/1.jpg", "split/test/ant/1.jpg", "elsewhere/1.jpg"])
    (tmp_path / "own/cat").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(
        DataError, match=r"one class, bee, .*; left out cat: a link to a folder; replace it by the folder itself"
    ):
        make_manifest([str(tmp_path / "own")])
    (tmp_path / "split/train").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"no train folder with images in it \(train is a link to a folder\); add it"):
        make_manifest([str(tmp_path / "split")])


def test_the_layouts_are_many() -> None:
    assert len(LAYOUTS) + len(WRONG_LAYOUTS) >= 35


@pytest.mark.parametrize("also", ["own", "own/ant", "own/../own/"])
def test_a_folder_within_the_other_would_count_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, also: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    made(tmp_path / "own", PAIR)
    with pytest.raises(DataError, match=r"would count twice; set data.path and data.also to separate folders"):
        make_manifest([str(tmp_path / "own"), str(tmp_path / also)])


def test_the_test_split_as_the_other_folder_would_be_mixed_with_training(tmp_path: Path) -> None:
    roots = [str(made(tmp_path / name, PAIR)) for name in ("Training", "test_set")]
    with pytest.raises(DataError, match="are splits of one data set by their names, and would be mixed; set"):
        make_manifest(roots)


def test_two_folders_are_added(tmp_path: Path) -> None:
    roots = [str(made(tmp_path / "a", PAIR)), str(made(tmp_path / "b", ["train/ant/2", "train/cat/2", ".x"]))]
    manifest = make_manifest(roots)
    assert manifest.classes == ["ant", "bee", "cat"]
    assert [row.root for row in manifest.rows()] == [0, 0, 1, 1]
    assert list(left_out(manifest)) == [f"{roots[1]}/.x"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("missing", "is missing; set data.path"),
        ("own.csv", "save it as labels.csv"),
        ("a.jpg", "is a file"),
        (".", "own files"),
        ("all.zip", "all.zip is an archive; unpack it"),
        ("all.tar.gz", "all.tar.gz is an archive; unpack it"),
        ("tracked.dvc", "is DVC's file for tracked; set data.path to tracked$"),
        ("tracked", "tracked is tracked by DVC but missing; run dvc checkout tracked or dvc pull"),
        ("tracked/train/", "is tracked by DVC but missing; run dvc checkout tracked or"),
        ("A.JPG", "is missing, but a.jpg exists"),
        ("gone", "gone is a link to nowhere, which does not exist"),
    ],
)
def test_a_path_that_is_no_folder_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path, ["own.csv", "a.jpg", "tracked.dvc"])
    (tmp_path / "gone").symlink_to("nowhere")
    for kind in ("zip", "gztar"):
        shutil.make_archive("all", kind, tmp_path, "a.jpg")
    with pytest.raises(DataError, match=words):
        make_manifest([path])


def test_the_order_on_the_disk_does_not_matter(tmp_path: Path) -> None:
    paths = [f"{name}/{number}" for name in ("b", "a", "\u00e4") for number in range(20)]
    tables = [
        list(make_manifest([str(made(tmp_path / folder, order))]).rows())
        for folder, order in (("x", paths), ("y", paths[::-1]))
    ]
    assert tables[0] == tables[1]


def test_one_changed_file_is_one_changed_line(tmp_path: Path) -> None:
    made(tmp_path, [*PAIR, "ant/2.jpg"])
    before = set(make_manifest([str(tmp_path)]).rows())
    (tmp_path / "ant/2.jpg").write_text("other")
    after = set(make_manifest([str(tmp_path)]).rows())
    assert [row.path for row in after - before] == [row.path for row in before - after] == ["ant/2.jpg"]


def test_a_run_that_was_killed_goes_on_with_the_hashes_of_unchanged_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "PART", 2)
    paths = [f"{name}/{number}.jpg" for name in ("ant", "bee") for number in range(3)]
    manifest = make_manifest([str(made(tmp_path / "own", paths))])
    whole, kept = list(manifest.rows()), tmp_path / "kept"
    kept.mkdir()
    assert list(islice(manifest.rows(kept), 5)) == whole[:5]  # three parts
    (tmp_path / "own/ant/2.jpg").write_text("changed")

    monkeypatch.setattr(hashes, "_sha256", lambda _: "hashed again")
    again = list(manifest.rows(kept))
    assert [row.path for row in again if row.sha256 == "hashed again"] == ["ant/2.jpg", "bee/0.jpg"]  # the second part
    assert again[:2] + again[4:] == whole[:2] + whole[4:]
    assert again[2].bytes == len("changed")
