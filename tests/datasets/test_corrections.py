"""data.corrections: labels are changed as the table says, pictures left out, and every wrong line is a sentence."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from imageclf.datasets.corrections import read_corrections
from imageclf.datasets.folder import Manifest, make_manifest
from imageclf.runtime.errors import DataError

NAMES = ["ant/1.png", "ant/2.png", "bee/1.png", "bee/2.png", "c\u00e9p/1.png"]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(path)
    return tmp_path / "own"


def manifest(own: Path, text: str, *, more: tuple[Path, ...] = ()) -> Manifest:
    table = own.with_name("fixes.csv")
    table.write_text(text, encoding="utf-8")
    return make_manifest([str(own), *map(str, more)], corrections=read_corrections(table))


def labels(found: Manifest) -> dict[str, str]:
    return {line.path: line.label for line in found.rows()}


@pytest.mark.parametrize("text", ["path,label\n{},bee\n{},\n", "given;label;path\nant;bee;{}\n;;{}\n"])
def test_labels_change_and_pictures_without_one_are_left_out(own: Path, text: str) -> None:
    found = manifest(own, "\ufeff" + text.format("ant/2.png", "bee/1.png"))
    assert labels(found) == {"ant/1.png": "ant", "ant/2.png": "bee", "bee/2.png": "bee", "c\u00e9p/1.png": "c\u00e9p"}
    assert found.number == 4
    assert found.left_out == [("bee/1.png", "without a label in data.corrections", "left out")]
    assert "labels changed: 1; pictures left out: 1" in found.said[-1]


def test_a_class_that_loses_its_last_picture_is_gone_and_one_in_another_unicode_form_is_known(own: Path) -> None:
    assert manifest(own, "path,label\nc\u00e9p/1.png,ant\n").classes == ["ant", "bee"]
    assert labels(manifest(own, "path,label\nant/1.png,ce\u0301p\n"))["ant/1.png"] == "c\u00e9p"


def test_with_two_folders_paths_are_those_of_the_reports(own: Path) -> None:
    more = own.with_name("more") / "ant"
    more.mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(more / "1.png")
    found = manifest(own, "path,label\nmore/ant/1.png,bee\n", more=(more.parent,))
    assert [(line.root, line.label) for line in found.rows() if line.path == "ant/1.png"] == [(0, "ant"), (1, "bee")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column path or label"),
        ("picture,label\nant/1.png,bee\n", "no column path;"),
        ("path,label\nant/3.png,bee\n", "line 2: ant/3.png is none of the pictures; write it as metrics/predictions"),
        ("path,label\nxxxxxxxx,bee\n", "line 2: xxxxxxxx is none of the pictures; write it as metrics/predictions"),
        ("path,label\nant/1.png,bees\n", "line 2: there is no class bees; did you mean bee?"),
        ("path,label\nant/1.png,zzz\n", "line 2: there is no class zzz; there are ant, bee, c\u00e9p"),
        ("path,label\n\nant/1.png,bee\nant/1.png,ant\n", "line 4: ant/1.png has another label in line 3; keep one"),
        ("path,label\n,bee\n", "line 2: no path"),
        ("path,label\nant/1.png,bee,more\n", "line 2: not 2 cells"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(own: Path, text: str, words: str) -> None:
    with pytest.raises(DataError) as error:
        manifest(own, text)
    assert words in str(error.value)
    assert "fixes.csv" in str(error.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no file; correct it"):
        read_corrections(tmp_path / "fixes.csv")


def test_a_table_of_all_pictures_as_they_are_changes_nothing(own: Path, tmp_path: Path) -> None:
    before = make_manifest([str(own)])
    with (tmp_path / "fixes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *((line.path, line.label) for line in before.rows())])
    after = make_manifest([str(own)], corrections=read_corrections(tmp_path / "fixes.csv"))
    assert list(after.rows()) == list(before.rows())
    assert "labels changed: 0; pictures left out: 0; lines that change nothing: 5" in after.said[-1]
