"""A clone for a benchmark has all that its stages read."""

from pathlib import Path

import pytest

from benchmarks.whole_run import clone_project, run_module
from tests.conftest import Project

pytestmark = pytest.mark.slow


def test_train_and_evaluate_run_in_a_clone_with_other_params(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    clone_project(tmp_path / "clone", {"train.seed": 7, "train.epochs": 1})
    _, trained = run_module("stages.train", tmp_path / "clone")
    _, scored = run_module("stages.evaluate", tmp_path / "clone")
    assert "epoch 1/1" in trained
    assert "top-1" in scored
    assert project.run("git", "status", "--porcelain") == ""
