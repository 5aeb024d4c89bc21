"""A sweep runs its grid, goes on where it was stopped, and ranks by validation, in a real repository of git and DVC."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.sweeping.grid import Member
from stages.sweeping.table import rank
from tests.comparing.stub import commit, make_stub
from tests.conftest import Project

SWEEP = ("python", "-m", "stages.sweep")
GRID = (*SWEEP, "-S", "train.lr=0.1,0.3", "-S", "train.seed=0,1")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = make_stub(tmp_path / "stub")
    commit(project, "the pipeline")
    return project


def _runs(project: Project) -> list[str]:
    """Learning rate and seed of each run that came to its end."""
    path = project.folder / "runs.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_a_grid_runs_once_and_is_ranked_by_validation(project: Project) -> None:
    printed = project.run(*GRID)
    assert _runs(project) == ["0.1 0", "0.1 1", "0.3 0", "0.3 1"]
    # The stub's validation top-1 is 0.9 - |lr - 0.1| + seed / 1000.
    rows = re.findall(r"^  (0\.\d) +2 +(\S+) % +(\S+) +(\S+) to (\S+)$", printed, re.MULTILINE)
    assert rows == [("0.1", "90.05", "0.07", "89.41", "90.69"), ("0.3", "70.05", "0.07", "69.41", "70.69")]
    assert "The first is better than the second over the seeds" in printed
    best = re.search(r"dvc exp apply (lr-0\.1-seed-1-\w+) ", printed)
    assert best
    again = project.run(*GRID)
    assert "4 runs, 4 of them done before" in again
    assert len(_runs(project)) == 4
    compare = re.search(r"python -m (stages\.compare \S+ \S+)", again)
    assert compare
    assert "better" in project.run("python", "-m", *compare[1].split())
    project.run("dvc", "exp", "apply", best[1])
    assert "4 of them done before" in project.run(*GRID)
    assert "lr: 0.1" in project.read("params.yaml")


def test_other_images_are_another_run(project: Project) -> None:
    images = project.folder / "my images"
    images.mkdir()
    (images / "1.png").write_text("1")
    project.change("params.yaml", "path: data/none ", "path: my images ")
    one = (*SWEEP, "-S", "train.lr=0.1")
    assert "1 run, 0 of them done before" in project.run(*one)
    assert "1 run, 1 of them done before" in project.run(*one)
    (images / "1.png").write_text("2")
    assert "1 run, 0 of them done before" in project.run(*one)


def test_a_wider_grid_runs_what_is_new(project: Project) -> None:
    project.run(*GRID)
    printed = project.run(*SWEEP, "-S", "train.lr=0.1,0.2,0.3", "-S", "train.seed=0,1")
    assert "6 runs, 4 of them done before" in printed
    assert _runs(project)[4:] == ["0.2 0", "0.2 1"]


def test_other_code_or_params_are_other_runs(project: Project) -> None:
    project.run(*SWEEP, "-S", "train.seed=0")
    project.change("params.yaml", "lr: 0.15", "lr: 0.2")
    project.run(*SWEEP, "-S", "train.seed=0")
    with (project.folder / "evaluate.py").open("a") as file:
        file.write("# another\n")
    assert "0 of them done before" in project.run(*SWEEP, "-S", "train.seed=0")


def test_a_failed_member_does_not_stop_the_others(project: Project) -> None:
    (project.folder / "fail-0.1-1").touch()
    printed = project.run(*GRID, expect=1)
    assert "sweep: 1 of 4 runs failed; the same line again runs them" in printed
    assert re.search(r"^  0\.3 +2 ", printed, re.MULTILINE)
    assert "lost its way; lower train.lr" in printed
    (project.folder / "fail-0.1-1").unlink()
    assert "3 of them done before" in project.run(*GRID)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_half_way_it_goes_on(project: Project, number: signal.Signals) -> None:
    (project.folder / "wait-0.1-1").touch()
    sweep = subprocess.Popen(
        [sys.executable, *GRID[1:]], cwd=project.folder, env=project.environment, stderr=subprocess.PIPE, text=True
    )
    process = _wait_for(project.folder / "train.pid")
    sweep.send_signal(number)
    _, error = sweep.communicate(timeout=60)
    assert sweep.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), error
    assert error == (
        "sweep: stopped by Ctrl-C; the same line again goes on from there\n" if number == signal.SIGINT else ""
    )
    deadline = time.monotonic() + 20
    while number == signal.SIGINT and _is_alive(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    if _is_alive(process) and number == signal.SIGKILL:
        os.kill(process, signal.SIGKILL)  # the stub does not end with its DVC; the stages do
    assert _runs(project) == ["0.1 0"]
    (project.folder / "wait-0.1-1").unlink()
    assert "4 runs, 1 of them done before" in project.run(*GRID)
    assert _runs(project) == ["0.1 0", "0.1 1", "0.3 0", "0.3 1"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            ["train.lrr=1,2"],
            "-S train.lrr=1,2: a param and its values are wanted, train.lr=0.1,0.2 say (did you mean train.lr?)",
        ),
        (["train.lr"], "-S train.lr: a param and its values are wanted"),
        (["train.lr=0.1,much"], "-S: train.lr is 'much'; it must be a number"),
        (["train.lr=0.1,,0.2"], "a value is empty or given twice"),
        (["train.lr=0.1,0.1"], "a value is empty or given twice"),
        (["train.lr=0.1", "train.lr=0.2"], "given by two -S"),
        (["prepare.val_fraction=0"], "nothing to rank by"),
    ],
)
def test_a_wrong_grid_is_one_sentence_before_any_run(project: Project, changes: list[str], sentence: str) -> None:
    options = [word for change in changes for word in ("-S", change)]
    printed = project.run(*SWEEP, *options, expect=2)
    assert sentence in printed
    assert printed.count("\n") == 1
    assert not _runs(project)


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_member_whose_stage_was_killed_is_said_to_be(project: Project, shell: str) -> None:
    (project.folder / "wait-0.1-0").touch()
    sweep = subprocess.Popen(
        [sys.executable, *SWEEP[1:], "-S", "train.lr=0.1", "-S", "train.seed=0"],
        cwd=project.folder,
        env=project.environment | {"SHELL": shell},
        stdout=subprocess.PIPE,
        text=True,
    )
    os.kill(_wait_for(project.folder / "train.pid"), signal.SIGKILL)
    printed, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 1
    assert "sweep: lr 0.1, seed 0 failed: its stage was killed by signal 9" in printed


def test_the_table_leaves_out_what_all_runs_have_in_common(project: Project) -> None:
    printed = project.run(*SWEEP, "-S", "train.optimizer=sgd", "-S", "train.lr=0.1,0.3")
    assert re.search(r"^  lr +runs +val top-1", printed, re.MULTILINE)
    alone = project.run(*SWEEP, "-S", "train.seed=0,1,2")
    assert re.search(r"^  runs +val top-1", alone, re.MULTILINE)


def test_an_interval_ends_at_100_percent() -> None:
    members = [Member({"train.seed": str(seed)}, str(seed)) for seed in range(2)]
    interval = rank(list(zip(members, (0.99, 1.0), strict=True)))[0].interval
    assert interval is not None
    # Mean 0.995, standard deviation 0.00707, two values: 12.706 * 0.00707 / sqrt(2) = 0.0635.
    assert interval == pytest.approx((0.995 - 0.0635, 1.0), abs=1e-4)


def test_one_seed_is_said_to_be_no_answer(project: Project) -> None:
    printed = project.run(*SWEEP, "-S", "train.lr=0.1,0.3")
    assert "One run is no answer" in printed
    assert "stages.compare" not in printed


def test_values_may_be_lists_and_words(project: Project) -> None:
    printed = project.run(*SWEEP, "-S", "train.scales=[0.5,1.0],auto", "-S", "train.optimizer=sgd,muon")
    assert "4 runs" in printed
    assert re.search(r"^  \[0\.5,1\.0\] +muon +1 ", printed, re.MULTILINE)


def test_without_a_commit_it_says_so(tmp_path: Path) -> None:
    assert "nothing is committed here" in make_stub(tmp_path / "new").run(*SWEEP, "-S", "train.seed=0", expect=3)


def _wait_for(path: Path) -> int:
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(path.read_text())


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
