"""Recipes: each is valid, the default one is what params.yaml has, and comments survive them."""

import shutil
from pathlib import Path

import pytest

from imageclf.config.params import read_params
from imageclf.config.section import read_content
from imageclf.runtime.errors import ParamsError
from imageclf.runtime.yaml import flat
from tests.imports import ROOT
from tools.recipe import DEFAULT, changed_text, difference, main, read_recipe

NAMES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_default_recipe_has_every_key_of_train_as_params_yaml_has_it() -> None:
    values, params = read_recipe(DEFAULT).values, flat(read_content(Path("params.yaml")))
    assert {key: params[key] for key in values} == values
    assert {key for key in params if key.startswith("train.")} <= values.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_valid_and_its_header_says_for_what_how_long_and_how_good(name: str) -> None:
    recipe = read_recipe(name)
    assert [line.split()[0] for line in recipe.about[1:]] == ["For", "Time", "Accuracy"]
    before, after = changed_text(recipe.values)
    Path("params.yaml").write_text(after)
    params = flat(read_params().model_dump())
    assert {key: params[key] for key in recipe.values} == recipe.values
    assert bool(difference(before, after)) == (name != DEFAULT)


def test_comments_stay_and_the_default_recipe_takes_all_back() -> None:
    text = Path("params.yaml").read_text()
    for name in NAMES:
        _, after = changed_text(read_recipe(name).values)
        Path("params.yaml").write_text(after)
        assert [line.partition("#")[2] for line in after.splitlines()] == [
            line.partition("#")[2] for line in text.splitlines()
        ]
    assert changed_text(read_recipe(DEFAULT).values)[1] == text


def test_what_a_recipe_does_not_name_stays() -> None:
    _, text = changed_text({"data.name": "shapes", "runtime.workers": 2, "prepare.seed": 7})
    Path("params.yaml").write_text(text)
    Path("params.yaml").write_text(changed_text(read_recipe("transfer").values)[1])
    params = read_params()
    assert (params.data.name, params.runtime.workers, params.prepare.seed) == ("shapes", 2, 7)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("transfr", "there is no recipe transfr (did you mean transfer?)"),
        ("mine", "recipes/mine.yaml: train.lrr is not in the recipe cifar10 (did you mean train.lr?)"),
        ("wrong", "params.yaml: train.lr is 'high'"),
        ("list", "recipes/list.yaml has no sections"),
    ],
)
def test_a_wrong_recipe_is_one_sentence_and_changes_nothing(name: str, sentence: str) -> None:
    Path("recipes/mine.yaml").write_text("train:\n  lrr: 1.0\n")
    Path("recipes/wrong.yaml").write_text("train:\n  lr: high\n")
    Path("recipes/list.yaml").write_text("- train\n")
    before = Path("params.yaml").read_text()
    with pytest.raises(ParamsError) as refused:
        changed_text(read_recipe(name).values)
    assert str(refused.value).startswith(sentence)
    assert Path("params.yaml").read_text() == before


def test_a_dry_run_shows_the_difference_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("params.yaml").read_text()
    monkeypatch.setattr("sys.argv", ["recipe", "notes", "--dry-run"])
    main()
    assert "  train.model: notes_cnn (was cifarnet)\n" in capsys.readouterr().out
    assert Path("params.yaml").read_text() == before


def test_without_a_name_they_are_listed_the_defaults_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["recipe"])
    main()
    listed = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert listed[0] == DEFAULT
    assert sorted(listed) == NAMES
