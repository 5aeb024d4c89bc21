"""A recipe's changes of params.yaml."""

import shutil
from pathlib import Path

import pytest

from benchmarks import accuracy
from benchmarks.changes import change_params, changes_of, words
from imageclf.config.params import read_params
from imageclf.runtime.errors import ParamsError
from tests.imports import ROOT


@pytest.fixture
def params(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path / "params.yaml"


def test_changes_arrive_with_their_types_and_nothing_else_changes(params: Path) -> None:
    given = ["train.lr=1e-3", "train.augment.flip=none", "train.tta_flip=false", "train.shards=4"]
    before = read_params(params).model_dump()
    change_params(params, changes_of(given))
    before["train"] |= {"lr": 0.001, "tta_flip": False, "shards": 4}
    before["train"]["augment"]["flip"] = "none"
    assert read_params(params).model_dump() == before


def test_changes_are_said_in_words() -> None:
    assert words(changes_of([])) == "params.yaml as it is"
    assert words(changes_of(["train.seed=6", "train.lr=0.1"])) == "train.seed=6 train.lr=0.1"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["train.lr"], r"-S train.lr is no key=value"),
        (["trian.lr=1"], r"there is no section for trian.lr"),
        (["train.lrr=1"], r"unknown key train.lrr \(did you mean train.lr\?\)"),
    ],
)
def test_a_wrong_change_is_one_sentence(params: Path, given: list[str], sentence: str) -> None:
    with pytest.raises(ParamsError, match=sentence):
        change_params(params, changes_of(given))


@pytest.mark.parametrize("given", [["mine"], ["default", "-S", "train.lr=0.1"]])
def test_no_row_is_called_default_that_is_not_and_none_otherwise_that_is(
    given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["accuracy", *given])
    with pytest.raises(ParamsError, match="the name default, and no other, goes without -S"):
        accuracy.main()
