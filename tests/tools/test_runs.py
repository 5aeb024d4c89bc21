"""The table of runs: what differs, how good by validation, and no line longer than the terminal."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.tools.stub import commit, make_stub
from tools.runs import Row, table

RUNS = ("python", "-m", "tools.runs")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """lr 0.15 at HEAD, with the experiments near (lr 0.1) and far (lr 0.4); older is of the commit before."""
    project = make_stub(tmp_path_factory.mktemp("runs") / "stub")
    counts = {"splits": {"val": 400}}
    (project.folder / "metrics").mkdir()
    (project.folder / "metrics/data.json").write_text(json.dumps(counts))
    (project.folder / "metrics/evaluate.json").write_text(json.dumps({"top1": 0.8, "top1_low": 0.7, "top1_high": 0.9}))
    project.change("params.yaml", "  lr: auto ", "  lr: 0.2 ")
    project.run("dvc", "repro", "-q")
    commit(project, "lr 0.2")
    experiment = ("dvc", "exp", "run", "-q", "--temp", "-n")
    project.run(*experiment, "older", "-S", "train.lr=0.3")
    project.change("params.yaml", "lr: 0.2 ", "lr: 0.15 ")
    project.run("dvc", "repro", "-q")
    commit(project, "lr 0.15")
    for name, lr in (("far", 0.4), ("near", 0.1)):
        project.run(*experiment, name, "-S", f"train.lr={lr}")
    return replace(project, environment=project.environment | {"COLUMNS": "200"})


def _names(printed: str) -> list[str]:
    return [line.split()[0] for line in printed.splitlines()]


def test_head_comes_first_then_the_best_by_validation(runs: Project) -> None:
    printed = runs.run(*RUNS)
    assert _names(printed) == ["run", "HEAD", "near", "far"]
    head, near, far = printed.splitlines()[1:]
    assert "85.0 % (81.2–88.2)  80.0 % (70.0–90.0)" in head
    assert near.endswith("train.lr 0.1 (was 0.15)") and "90.0 %" in near
    assert far.endswith("train.lr 0.4 (was 0.15)") and "60.0 %" in far


def test_all_has_those_of_other_commits(runs: Project) -> None:
    assert _names(runs.run(*RUNS, "--all")) == ["run", "HEAD", "near", "older", "far"]


def test_the_workspace_is_a_run_where_it_is_another_one(runs: Project, tmp_path: Path) -> None:
    shutil.copytree(runs.folder, tmp_path / "copy", symlinks=True)
    project = replace(runs, folder=tmp_path / "copy")
    project.change("params.yaml", "lr: 0.15 ", "lr: 0.11 ")
    project.run("dvc", "repro", "-q")
    assert _names(project.run(*RUNS)) == ["run", "HEAD", "near", "workspace", "far"]


def test_before_the_first_commit_it_is_one_sentence(tmp_path: Path) -> None:
    project = make_stub(tmp_path / "stub")
    assert "nothing is committed yet" in project.run(*RUNS, expect=3)


@pytest.mark.parametrize("width", [70, 90, 200, None])
def test_no_line_is_longer_than_the_terminal(width: int | None) -> None:
    rows = [Row("HEAD", None, (0.9, 0.89, 0.91), "2 hours ago", ""), Row("long", (0.5, 0.4, 0.6), None, "", "x" * 90)]
    lines = table(rows, width=width)
    assert max(map(len, lines)) <= max(width or 200, 83)
    assert ("…" in lines[2]) == (width in (70, 90))
    assert "–  " in lines[1] and lines[2].startswith("long  50.0 % (40.0–60.0)")
