"""A sweep runs its grid, goes on where it was stopped, and ranks by validation, in a real repository of git and DVC."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from imageclf.images.dataset import NOTHING_TO_RANK
from imageclf.runtime.errors import DataError, ParamsError
from tests.conftest import HANGS, Project
from tests.imports import ROOT
from tests.tools.stub import commit, make_stub
from tools.sweeping.grid import _contents, planned_runs

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


@pytest.mark.slow
def test_a_grid_runs_once_and_is_ranked_by_validation(project: Project) -> None:
    printed = project.run(*GRID)
    assert _runs(project) == ["0.1 0", "0.1 1", "0.3 0", "0.3 1"]
    # The stub's validation top-1 is 0.9 - |lr - 0.1| + seed / 1000.
    rows = re.findall(r"^  (0\.\d) +2 +(\S+) % +(\S+) +(\S+) to (\S+)$", printed, re.MULTILINE)
    assert rows == [("0.1", "90.05", "0.07", "89.41", "90.69"), ("0.3", "70.05", "0.07", "69.41", "70.69")]
    assert "The first is better than the second over the seeds" in printed
    best = re.search(r"dvc exp apply (lr-0\.1-seed-1-\w+) ", printed)
    assert best
    assert "3 runs, 2 of them done before" in project.run(*SWEEP, "-S", "train.lr=0.1,0.2,0.3", "-S", "train.seed=0")
    again = project.run(*GRID)
    assert "4 runs, 4 of them done before" in again
    compare = re.search(r"python -m (tools\.compare \S+ \S+)", again)
    assert compare
    assert "better" in project.run("python", "-m", *compare[1].split())
    project.run("dvc", "exp", "apply", best[1])
    assert "4 of them done before" in project.run(*GRID)
    assert "lr: 0.1" in project.read("params.yaml")
    assert _runs(project)[4:] == ["0.2 0"]


def test_a_run_goes_by_the_name_of_its_images_params_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params, images = Path("params.yaml"), tmp_path / "my images"
    images.mkdir()
    (images / "1.png").write_text("1")
    params.write_text((ROOT / "params.yaml").read_text().replace("path: data/none ", f"path: {images} "))

    def name(code: bytes = b"") -> str:
        _contents.cache_clear()  # as in a process of its own
        return planned_runs(["train.seed=0"], code)[0].name

    names = [name(), name(b"code")]
    (images / "1.png").write_text("2")
    names.append(name())
    params.write_text(params.read_text().replace("  lr: auto", "  lr: 0.2"))
    names.append(name())
    assert len(set(names)) == 4
    params.write_text(params.read_text().replace("workers: auto", "workers: 1"))
    assert name() == names[-1]


@pytest.mark.slow
def test_failed_runs_stand_in_the_table_and_do_not_stop_the_others(project: Project) -> None:
    for lr, code in (("0.2", ""), ("0.3", "130"), ("1000000.0", "6")):
        (project.folder / f"fail-{lr}-0").write_text(code or "3")
    printed = project.run(*SWEEP, "-S", "train.lr=0.2,0.3,1e6,0.1", expect=1)
    assert "sweep: lr 0.2 failed: lost its way; lower train.lr" in printed
    rows = [
        r"  0\.1 +1 +90\.00 % +– +– +–",
        r"  0\.2 +0 +– +– +– +data",
        r"  0\.3 +0 +– +– +– +stopped",
        r"  1e6 +0 +– +– +– +diverged",
    ]
    assert re.search("\n".join(["", *rows, ""]), printed)
    assert printed.splitlines()[-1] == (
        "sweep: 3 of 4 runs failed; fix what stopped lr 0.2, then run the same line again; "
        "run the same line again to continue lr 0.3; leave out lr 1e6: it would diverge again"
    )
    (project.folder / "fail-0.2-0").unlink()
    assert "2 runs, 1 of them done before" in project.run(*SWEEP, "-S", "train.lr=0.1,0.2")


@pytest.mark.slow
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
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    outside, inside = tmp_path / "my photos", project.folder / "own"
    outside.mkdir()
    inside.mkdir()
    (inside / "1.png").touch()
    monkeypatch.chdir(project.folder)
    with pytest.raises(DataError, match="outside this repository") as refused:
        planned_runs([f"{key}=../my photos"], b"")
    given = re.search(r'-S "(.*)"$', str(refused.value))
    assert given and planned_runs([given[1]], b"")
    with pytest.raises(DataError, match="is in neither git nor DVC"):
        planned_runs([f"{key}=own"], b"")
    project.run("dvc", "add", "-q", "own")
    assert planned_runs([f"{key}=own"], b"")
    with pytest.raises(DataError, match="which does not exist"):
        planned_runs([f"{key}=../nowhere"], b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.slow
def test_stopped_half_way_it_goes_on(project: Project, number: signal.Signals) -> None:
    two = (*SWEEP, "-S", "train.lr=0.1,0.3")
    (project.folder / "wait-0.3-0").touch()
    sweep = subprocess.Popen(
        [sys.executable, *two[1:]], cwd=project.folder, env=project.environment, stderr=subprocess.PIPE, text=True
    )
    process = _wait_for(project.folder / "train.pid")
    sweep.send_signal(number)
    _, error = sweep.communicate(timeout=HANGS)
    assert sweep.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), error
    assert error == (
        "sweep: stopped by Ctrl-C; run the same line again to continue\n" if number == signal.SIGINT else ""
    )
    deadline = time.monotonic() + HANGS
    while number == signal.SIGINT and _is_alive(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    if _is_alive(process) and number == signal.SIGKILL:
        os.kill(process, signal.SIGKILL)  # the stub does not end with its DVC; the stages do
    assert _runs(project) == ["0.1 0"]
    (project.folder / "wait-0.3-0").unlink()
    assert "2 runs, 1 of them done before" in project.run(*two)
    assert _runs(project) == ["0.1 0", "0.3 0"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            ["train.lrr=1,2"],
            "-S train.lrr=1,2: give a param and its values, such as train.lr=0.1,0.2 (did you mean train.lr?)",
        ),
        (["train.lr"], "-S train.lr: give a param and its values"),
        (["train.lr=0.1,much"], "-S: train.lr is 'much'; it can be auto or a number above 0"),
        (["data.path=/nowhere", "train.lr=0.1,abc"], "-S: train.lr is 'abc'; it can be auto or a number above 0"),
        (["train.lr=0.1,0.3", "data.path=/nowhere", "train.optimizer=sgd,sgdd"], "(did you mean sgd?)"),
        (["data.path=/nowhere", "train.model=cifarnet,resnet-18"], "-S: train.model is 'resnet-18'; it can be"),
        (["train.model=cifarnet,'mine.nets:Net'"], "-S: train.model is 'mine.nets:Net', and there is no module mine"),
        (["lr=0.1"], "(did you mean train.lr?)"),
        (["train.augment={flip: none}"], "give a param and its values"),
        (["train.lr=0.1,,0.2"], "a value is empty"),
        (["train.lr=0.1,0.10"], "a value is given twice"),
        (["runtime.workers=1,2"], "cannot change the validation top-1"),
        (["export.opset=18,19"], "cannot change the validation top-1"),
        (["data.path=/my/café"], "needs nested quotes, -S \"data.path='/my/café'\""),
        (["data.path=[1"], "dvc cannot read this"),
        (["train.lr=interval(0,1)"], "is not a list of values"),
        (["train.lr=glob(*)"], "is not a list of values"),
        (["data.path=${oc.env:HOME}"], "a reference is not a value"),
        (["train.lr=0.1", "train.lr=0.2"], "given by two -S"),
        (["prepare.val_fraction=0"], "nothing to rank by"),
    ],
)
def test_a_wrong_grid_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: list[str], sentence: str
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match=re.escape(sentence)) as refused:
        planned_runs(changes, b"")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
@pytest.mark.slow
def test_a_run_whose_stage_was_killed_is_said_to_be(project: Project, shell: str) -> None:
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


@pytest.mark.slow
def test_values_may_be_lists_and_words(project: Project) -> None:
    printed = project.run(*SWEEP, "-S", "train.scales=[0.5,1.0],auto", "-S", "train.optimizer=muon")
    assert re.search(r"^  \[0\.5,1\.0\] +1 ", printed, re.MULTILINE)


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
