"""Groups come from folders inside the classes or from a column of the table, and reach over no given split."""

from pathlib import Path

import pytest

from imageclf.datasets.folder import make_manifest
from imageclf.runtime.errors import DataError
from tests.datasets.test_folder import PAIR, made

LAYOUTS = [
    (["ant/tom/1", "ant/tom/2", "ant/3", "bee/4"], ["tom", "tom", "", ""]),
    (["ant/tom/deep/er/1", "ant/tom/2", "bee/tom/3"], ["tom", "tom", "tom"]),
    (["train/ant/tom/1", "train/bee/ann/2", "test/ant/bob/3"], ["tom", "ann", "bob"]),
    (["ant/ tom\u00a0/1", "bee/tom/2"], ["tom", "tom"]),
]


@pytest.mark.parametrize(("paths", "groups"), LAYOUTS, ids=str)
def test_the_first_folder_inside_a_class_is_the_group(tmp_path: Path, paths: list[str], groups: list[str]) -> None:
    root = str(made(tmp_path, paths))
    found = {row.path: row.group for row in make_manifest([root], by_folder=True).rows()}
    assert [found[path] for path in paths] == groups
    assert {row.group for row in make_manifest([root]).rows()} == {""}


@pytest.mark.parametrize("paths", [["train/ant/tom/1", "train/bee/1", "test/ant/tom/2"], ["train/a/t/1", "val/b/t/1"]])
def test_a_folder_over_given_splits_is_one_sentence(tmp_path: Path, paths: list[str]) -> None:
    with pytest.raises(
        DataError,
        match=r"the group '.*' reaches over given splits: .* is for .* and .* for train.*; give all|for val; give all",
    ):
        make_manifest([str(made(tmp_path, paths))], by_folder=True)


def test_a_group_of_the_table_over_given_splits_is_one_sentence(tmp_path: Path) -> None:
    made(tmp_path, PAIR)
    (tmp_path / "labels.csv").write_text("path,label,split,patient\nant/1.jpg,x,test,7\nbee/1.jpg,y,train,7\n")
    words = "the group '7' reaches over given splits: ant/1.jpg is for test and bee/1.jpg for train; give all of it to"
    with pytest.raises(DataError, match=words):
        make_manifest([str(tmp_path)])
    (tmp_path / "labels.csv").write_text("path,label,split,patient\nant/1.jpg,x,test,7\nbee/1.jpg,y,,7\n")
    assert (
        make_manifest([str(tmp_path)]).said[-1].startswith("1 group holds 2 of 2 files, and stays in one split; 1 of")
    )


def test_folders_as_groups_where_there_are_none_or_beside_a_table_are_one_sentence(tmp_path: Path) -> None:
    made(tmp_path, PAIR)
    with pytest.raises(
        DataError, match=r"no image lies in a folder inside its class folder, as in cat/tom/1.jpg; make"
    ):
        make_manifest([str(tmp_path)], by_folder=True)
    (tmp_path / "labels.csv").write_text("path,label\nant/1.jpg,x\nbee/1.jpg,y\n")
    with pytest.raises(
        DataError, match=r"labels.csv names the classes; set data.group to none, and name groups in a col"
    ):
        make_manifest([str(tmp_path)], by_folder=True)
