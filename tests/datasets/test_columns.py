"""labels.csv is read under the usual headers, and one line says how its columns were taken."""

from pathlib import Path

import pytest

from imageclf.datasets.folder import Manifest, make_manifest
from tests.datasets.test_folder import made

FOUND = [("img/a1.jpg", "x", "", ""), ("img/b.2.jpg", "y", "", "")]


def read(root: Path, table: str) -> Manifest:
    made(root, ["img/a1.jpg", "img/b.2.jpg"])
    (root / "labels.csv").write_text(table)
    return make_manifest([str(root)])


def rows(manifest: Manifest) -> list[tuple[str, ...]]:
    return [(row.path, row.label, row.split, row.group) for row in manifest.rows()]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("path,label", ""),
        ("Path,LABEL", ""),
        ("filename,class", "label is 'class', path is 'filename'"),
        ("Image Name,Species", "label is 'Species', path is 'Image Name'"),
        ("file_path,target", "label is 'target', path is 'file_path'"),
        ("image_id,dx", "label is 'dx', path is 'image_id'"),
        ("photo,my own word", "label is 'my own word', path is 'photo'"),
        ("my own word,label", "path is 'my own word'"),
    ],
)
@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_usual_headers_are_read(tmp_path: Path, header: str, said: str, between: str) -> None:
    table = f"{header}\nimg/a1.jpg,x\nimg/b.2.jpg,y\n".replace(",", between)
    manifest = read(tmp_path, table)
    assert rows(manifest) == FOUND
    assert manifest.said == ([f"{tmp_path}/labels.csv: {said}"] if said else [])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("path,label,width,notes\n{0},x,3,\n{1},y,4,good\n", "left out: 'width', 'notes'"),
        (",path,label\n0,{0},x\n1,{1},y\n", "left out: '(no name)'"),
        ("id,file,label\n1,{0},x\n2,{1},y\n", "path is 'file'; left out: 'id'"),
        ("path,label,class\n{0},x,0\n{1},y,1\n", "left out: 'class'"),
        ("path,fold,label\n{0},1,x\n{1},2,y\n", "left out: 'fold'"),
        ("id,where,label\n7,{0},x\n8,{1},y\n", "path is 'where'; left out: 'id'"),
    ],
)
def test_other_columns_are_left_out_and_named(tmp_path: Path, table: str, said: str) -> None:
    manifest = read(tmp_path, table.format("img/a1.jpg", "img/b.2.jpg"))
    assert rows(manifest) == FOUND
    assert manifest.said == [f"{tmp_path}/labels.csv: {said}"]


@pytest.mark.parametrize(
    ("first", "second"), [("a1", "b.2"), ("a1.jpg", "b.2.jpg"), ("img/a1", "img/b.2"), ("A1", "B.2.JPG")]
)
def test_a_name_without_extension_or_folder_is_the_only_such_file(tmp_path: Path, first: str, second: str) -> None:
    manifest = read(tmp_path, f"id,breed\n{first},x\n{second},y\n")
    assert rows(manifest) == FOUND
    said = "label is 'breed', path is 'id'; 2 files found by their names alone"
    assert manifest.said == [f"{tmp_path}/labels.csv: {said}"]


def test_a_file_of_that_very_name_is_nearer_than_one_without_its_extension(tmp_path: Path) -> None:
    made(tmp_path, ["b", "img/b.jpg", "c.jpg", "img/c.jpg"])
    (tmp_path / "labels.csv").write_text("path,label\nb,x\nc.jpg,y\n")
    assert rows(make_manifest([str(tmp_path)])) == [("b", "x", "", ""), ("c.jpg", "y", "", "")]


def test_splits_and_groups_are_read_under_their_usual_names(tmp_path: Path) -> None:
    manifest = read(tmp_path, "image,class,subset,patient_id\na1,x,Training, p 1\nb.2,y,,\n")
    assert rows(manifest) == [("img/a1.jpg", "x", "train", "p 1"), ("img/b.2.jpg", "y", "", "")]
    taken = "group is 'patient_id', label is 'class', path is 'image', split is 'subset'"
    assert manifest.said == [
        f"{tmp_path}/labels.csv: {taken}; 2 files found by their names alone",
        "1 group holds 1 of 2 files, and stays in one split",
    ]
