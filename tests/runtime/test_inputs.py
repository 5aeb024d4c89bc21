"""A change of what a stage reads is named, and a change of anything else is not one."""

from pathlib import Path

import pytest

from imageclf.runtime.stage import first_change, inputs_of, run_stage

PIPELINE = """
stages:
  train:
    cmd: python -m stages.train
    deps: [code.py, code.html, data]
    params: [train]
"""


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    Path("dvc.yaml").write_text(PIPELINE)
    Path("params.yaml").write_text("train: {lr: 0.1, augment: {flip: none}}\nruntime: {workers: 1}\n")
    Path("code.py").write_text("1")
    Path("code.html").write_text("1")
    Path("data").mkdir()
    Path("data/images").write_text("x")


@pytest.mark.parametrize(
    ("path", "text", "named"),
    [
        ("params.yaml", "train: {lr: 0.2, augment: {flip: none}}", "params.yaml (train.lr)"),
        ("params.yaml", "train: {lr: 0.1, augment: {flip: random}}", "params.yaml (train.augment.flip)"),
        ("params.yaml", "runtime: {}", "params.yaml (train)"),
        ("params.yaml", "train: {lr: 0.1, augment: {flip: none}}\nruntime: {workers: 2}", ""),
        ("code.py", "2", "code.py"),
        ("code.html", "2", "code.html"),
        ("code.html", "1", ""),  # written again, the same
        ("data/images", "y", "data"),
        ("data/more", "y", "data"),
        ("data/code.py", "y", "data/code.py"),
        ("other.py", "2", ""),
    ],
)
def test_a_change_is_named(path: str, text: str, named: str) -> None:
    before = inputs_of("train")
    Path(path).write_text(text)
    assert first_change(before, inputs_of("train")) == named


def test_a_stage_whose_params_change_while_it_runs_is_not_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> str:
        Path("params.yaml").write_text("train: {lr: 0.2}")
        return "a model"

    with pytest.raises(SystemExit) as ended:
        run_stage("train", main)
    assert ended.value.code == 3
    assert "changed while it ran, so its result is discarded" in capsys.readouterr().err


def test_params_that_are_no_longer_yaml_are_a_change(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> str:
        Path("params.yaml").write_text("train: [")
        return "a model"

    with pytest.raises(SystemExit):
        run_stage("train", main)
    assert "changed while it ran" in capsys.readouterr().err
