"""A recipe's changes of params.yaml."""

import shutil
from pathlib import Path

import pytest

from benchmarks.changes import change_params, changes_of, words
from stages.console.errors import ParamsError
from stages.params.read import read_params
from tests.imports import ROOT


@pytest.fixture
def params(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path / "params.yaml"


def test_changes_arrive_with_their_types_and_nothing_else_changes(params: Path) -> None:
    given = ["train.lr=1e-3", "train.augment.flip=none", "train.mirror=false", "train.shards=4"]
    before = read_params(params).model_dump()
    change_params(params, changes_of("mine", given, params=params))
    before["train"] |= {"lr": 0.001, "mirror": False, "shards": 4}
    before["train"]["augment"]["flip"] = "none"
    assert read_params(params).model_dump() == before


def test_a_file_comes_first_and_what_is_given_over_it(params: Path, tmp_path: Path) -> None:
    # The file may be a whole params.yaml: only differences count.
    text = params.read_text().replace("  seed: 0 ", "  seed: 5 ").replace("  mistakes: 36 ", "  mistakes: 9 ")
    (tmp_path / "mine.yaml").write_text(text)
    changes = changes_of("mine", ["train.seed=6"], params=params, recipes=tmp_path)
    assert changes == {"prepare.seed": 5, "train.seed": 6, "evaluate.mistakes": 9}
    assert words(changes) == "prepare.seed=5 train.seed=6 evaluate.mistakes=9"


def test_default_changes_nothing(params: Path) -> None:
    assert changes_of("default", [], params=params) == {}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["train.lr"], r"-S train.lr is no key=value"),
        (["trian.lr=1"], r"there is no section for trian.lr"),
        (["train.lrr=1"], r"unknown key train.lrr \(did you mean train.lr\?\)"),
        ([], r"odd.yaml is missing; say what the recipe changes with -S"),
    ],
)
def test_a_wrong_change_is_one_sentence(params: Path, given: list[str], sentence: str) -> None:
    with pytest.raises(ParamsError, match=sentence):
        change_params(params, changes_of("odd", given, params=params))
