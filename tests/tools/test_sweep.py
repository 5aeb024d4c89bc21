"""A sweep runs its grid, goes on where it was stopped, and ranks by validation, in a real repository of git and DVC."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from imageclf.images.dataset import NOTHING_TO_RANK
from tests.conftest import HANGS, Project
from tests.tools.stub import commit, make_stub
from tools.sweeping.grid import Member
from tools.sweeping.table import rank

SWEEP = ("python", "-m", "tools.sweep")
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
    project.change("params.yaml", "path: data/none ", f"path: {images} ")
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
    (project.folder / "fail-0.1-1").write_text("1")
    printed = project.run(*GRID, expect=1)
    assert printed.splitlines()[-1] == (
        "sweep: 1 of 4 runs failed; mend what stopped (lr 0.1, seed 1), then give the same line again"
    )
    assert re.search(r"^  0\.3 +2 ", printed, re.MULTILINE)
    assert re.search(r"^  0\.1 +1 +90\.00 % +– +– +seed 1 failed$", printed, re.MULTILINE)
    assert "sweep: lr 0.1, seed 1 failed: lost its way; lower train.lr" in printed
    (project.folder / "fail-0.1-1").unlink()
    assert "3 of them done before" in project.run(*GRID)


def test_a_rate_that_diverges_stands_in_the_table_and_is_not_asked_for_again(project: Project) -> None:
    (project.folder / "fail-1000000.0-0").write_text("6")
    printed = project.run(*SWEEP, "-S", "train.lr=0.1,1e6", expect=1)
    assert re.search(r"^  0\.1 +1 +90\.00 % +– +– +–$", printed, re.MULTILINE)
    assert re.search(r"^  1e6 +0 +– +– +– +diverged$", printed, re.MULTILINE)
    assert printed.endswith("sweep: 1 of 2 runs failed; leave out lr 1e6: it would diverge again\n")


def test_where_all_failed_the_table_says_so(project: Project) -> None:
    for lr, code in (("0.1", 4), ("0.3", 130)):
        (project.folder / f"fail-{lr}-0").write_text(str(code))
    printed = project.run(*SWEEP, "-S", "train.lr=0.1,0.3", expect=1)
    assert re.search(r"^  0\.1 +0 +– +– +– +no source\n  0\.3 +0 +– +– +– +stopped\n", printed, re.MULTILINE)
    assert "the same line again runs lr 0.1; the same line again goes on with lr 0.3" in printed
    assert "best" not in printed


def test_what_dvc_itself_says_is_the_reason(project: Project, tmp_path: Path) -> None:
    weights = tmp_path / "own.pth"
    weights.touch()
    project.change("dvc.yaml", "deps: [train.py]", "deps: [train.py, '${train.weights}']")
    project.run("git", "commit", "-qam", "weights")
    project.change(
        "train.py", "import json, os", "import json, os  # the weights go while the first run trains\nimport os"
    )
    project.change("train.py", "draw = ", f"pathlib.Path('{weights}').unlink()\ndraw = ")
    printed = project.run(*SWEEP, "-S", f"train.weights={weights}", "-S", "train.lr=0.1,0.3", expect=1)
    assert re.search(r"lr 0\.3 failed: failed to reproduce 'train': \[Errno 2\] No such file .*own\.pth", printed)
    assert re.search(r"^  0\.3 +0 +– +– +– +refused by dvc$", printed, re.MULTILINE)


def test_without_validation_images_it_ends_before_the_first_run_trains(project: Project) -> None:
    printed = project.run(*SWEEP, "-S", "prepare.val_fraction=0", "-S", "train.lr=0.1,0.3", expect=2)
    assert not _runs(project) and printed.count("\n") == 1
    (project.folder / "no-val").touch()
    printed = project.run(*GRID, expect=3)
    assert "1 of 4" in printed and "2 of 4" not in printed and not _runs(project)
    assert printed.splitlines()[-1] == f"sweep: lr 0.1, seed 0: train: there are {NOTHING_TO_RANK}"


def test_a_folder_without_val_needs_a_validation_fraction(project: Project, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / "photos" / split / name / "1.png")
    changes = ["data.name=folder", f"data.path={tmp_path / 'photos'}", "prepare.val_fraction=0", "train.lr=0.1,0.3"]
    printed = project.run(*SWEEP, *(word for change in changes for word in ("-S", change)), expect=3)
    assert f"prepare.val_fraction is 0 and {tmp_path / 'photos'} has no val/" in printed
    assert not _runs(project)


@pytest.mark.parametrize("key", ["data.path", "train.weights"])
def test_a_path_that_a_workspace_of_its_own_does_not_see_is_said_before_any_run(
    project: Project, tmp_path: Path, key: str
) -> None:
    outside, inside = tmp_path / "my photos", project.folder / "own"
    outside.mkdir()
    inside.mkdir()
    (inside / "1.png").touch()
    printed = project.run(*SWEEP, "-S", f"{key}=../my photos", expect=3)
    assert "outside of this repository" in printed
    given = re.search(r'-S "(.*)"$', printed.strip())
    assert given and "1 run," in project.run(*SWEEP, "-S", given[1])
    assert "neither git nor DVC keeps" in project.run(*SWEEP, "-S", f"{key}=own", expect=3)
    project.run("dvc", "add", "-q", "own")
    assert "1 run," in project.run(*SWEEP, "-S", f"{key}=own")
    assert "nothing of that name" in project.run(*SWEEP, "-S", f"{key}=../nowhere", expect=3)


def test_what_a_ranking_cannot_say_is_said_before_the_first_run(project: Project) -> None:
    assert "one recipe, so there is nothing to rank" in project.run(*SWEEP, "-S", "train.seed=0,1")
    printed = project.run(*SWEEP, "-S", "prepare.seed=0,1")
    assert "with prepare.seed the validation images change too" in printed
    # The stub goes by train.lr and train.seed alone.
    assert "The first 2 are tied" in printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_half_way_it_goes_on(project: Project, number: signal.Signals) -> None:
    (project.folder / "wait-0.1-1").touch()
    sweep = subprocess.Popen(
        [sys.executable, *GRID[1:]], cwd=project.folder, env=project.environment, stderr=subprocess.PIPE, text=True
    )
    process = _wait_for(project.folder / "train.pid")
    sweep.send_signal(number)
    _, error = sweep.communicate(timeout=HANGS)
    assert sweep.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), error
    assert error == (
        "sweep: stopped by Ctrl-C; the same line again goes on from there\n" if number == signal.SIGINT else ""
    )
    deadline = time.monotonic() + HANGS
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
        (["data.path=/nowhere", "train.lr=0.1,abc"], "-S: train.lr is 'abc'; it must be a number"),
        (["train.lr=0.1,0.3", "data.path=/nowhere", "train.optimizer=sgd,sgdd"], "(did you mean sgd?)"),
        (["data.path=/nowhere", "train.model=cifarnet,resnet-18"], "-S: train.model is 'resnet-18'; it can be"),
        (["train.model=cifarnet,'mine.nets:Net'"], "-S: train.model is 'mine.nets:Net', and there is no module mine"),
        (["lr=0.1"], "(did you mean train.lr?)"),
        (["train.augment={flip: none}"], "a param and its values are wanted"),
        (["train.lr=0.1,,0.2"], "a value is empty"),
        (["train.lr=0.1,0.10"], "a value is given twice"),
        (["runtime.workers=1,2"], "changes no validation top-1"),
        (["export.opset=18,19"], "changes no validation top-1"),
        (["data.path=/my/café"], "takes quotes within quotes, -S \"data.path='/my/café'\""),
        (["data.path=[1"], "dvc cannot read that"),
        (["train.lr=interval(0,1)"], "no list of values"),
        (["train.lr=glob(*)"], "no list of values"),
        (["data.path=${oc.env:HOME}"], "a reference is no value"),
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
    printed, _ = sweep.communicate(timeout=HANGS)
    assert sweep.returncode == 1
    assert "sweep: lr 0.1, seed 0 failed: its stage was killed by signal 9" in printed


def test_the_table_leaves_out_what_all_runs_have_in_common(project: Project) -> None:
    printed = project.run(*SWEEP, "-S", "train.optimizer=sgd", "-S", "train.lr=0.1,0.3")
    assert re.search(r"^  lr +runs +val top-1", printed, re.MULTILINE)
    one = project.run(*SWEEP, "-S", "train.optimizer=sgd", "-S", "train.seed=0,1")
    assert re.search(r"^  optimizer +runs .*\n  sgd +2 ", one, re.MULTILINE)
    alone = project.run(*SWEEP, "-S", "train.seed=0,1,2")
    assert re.search(r"^  runs +val top-1", alone, re.MULTILINE)


def test_an_interval_ends_at_100_percent() -> None:
    members = [Member({"train.seed": str(seed)}, str(seed)) for seed in range(2)]
    interval = rank(members, dict(zip(members, (0.99, 1.0), strict=True)), {})[0].interval
    assert interval is not None
    # Mean 0.995, standard deviation 0.00707, two values: 12.706 * 0.00707 / sqrt(2) = 0.0635.
    assert interval == pytest.approx((0.995 - 0.0635, 1.0), abs=1e-4)


def test_one_seed_is_said_to_be_no_answer(project: Project) -> None:
    printed = project.run(*SWEEP, "-S", "train.lr=0.1,0.3")
    assert "One run is no answer" in printed
    assert "tools.compare" not in printed


def test_values_may_be_lists_and_words(project: Project) -> None:
    printed = project.run(*SWEEP, "-S", "train.scales=[0.5,1.0],auto", "-S", "train.optimizer=sgd,muon")
    assert "4 runs" in printed
    assert re.search(r"^  \[0\.5,1\.0\] +muon +1 ", printed, re.MULTILINE)


def test_without_a_commit_it_says_so(tmp_path: Path) -> None:
    assert "nothing is committed here" in make_stub(tmp_path / "new").run(*SWEEP, "-S", "train.seed=0", expect=3)


def _wait_for(path: Path) -> int:
    deadline = time.monotonic() + HANGS
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
