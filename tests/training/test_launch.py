"""`runtime.processes`: the train stage under torchrun's engine, and what becomes of it when a process is killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from imageclf.config.runtime import RuntimeParams
from imageclf.config.section import read_section
from imageclf.config.train import TrainParams
from imageclf.runtime.errors import DataError
from imageclf.runtime.files import sha256_of_file
from imageclf.training import launch
from tests.conftest import Project, environment_of
from tests.imports import ROOT

WEIGHTS = "models/classifier/weights.safetensors"
TRAIN = (sys.executable, "-m", "stages.train")


@pytest.fixture
def several(project: Project, tmp_path: Path) -> Project:
    """The project as it is to be trained by two processes, for some epochs."""
    folder = tmp_path / "several"
    shutil.copytree(project.folder, folder, symlinks=True)
    copy = Project(folder, environment_of(folder))
    copy.change("params.yaml", "processes: auto", "processes: 2")
    copy.change("params.yaml", "epochs: 2 ", "epochs: 6 ")
    copy.change("params.yaml", "checkpoint_every: 10 ", "checkpoint_every: 0.1 ")
    return copy


@pytest.mark.parametrize(
    ("gpus", "shards", "device", "started"),
    [(4, 8, "cuda", 4), (3, 8, "cuda", 2), (8, 2, "cuda", 2), (8, 6, "cuda", 4), (8, 8, "cpu", 1)],
)
def test_auto_starts_a_process_for_each_gpu_up_to_a_power_of_two_that_shares_the_shards(
    monkeypatch: pytest.MonkeyPatch, gpus: int, shards: int, device: str, started: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    compute = SimpleNamespace(device=torch.device(device))
    found = SimpleNamespace(recipe=SimpleNamespace(shards=shards), compute=compute)
    monkeypatch.setattr(launch, "set_up", lambda *_: found)
    assert launch.ranks_for_gpus(TrainParams.model_construct(), RuntimeParams.model_construct()) == started


@pytest.mark.parametrize(
    ("gpus", "device", "rank", "has_nccl"),
    [
        *((0, "auto", "", True), (1, "auto", "", True), (8, "cpu", "", True), (8, "cuda:1", "", True)),
        *((8, "auto", "0", True), (8, "auto", "", False)),
    ],
)
def test_auto_starts_one_process_where_there_are_no_two_gpus_to_use(
    monkeypatch: pytest.MonkeyPatch, gpus: int, device: str, rank: str, has_nccl: bool
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: has_nccl)
    if rank:
        monkeypatch.setenv("RANK", rank)  # torchrun has started it
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    runtime = RuntimeParams.model_construct(processes="auto", device=device)
    assert launch.ranks_to_start(TrainParams.model_construct(), runtime) == 1


def test_gpus_are_tried_in_another_process_whose_errors_arrive_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.chdir(ROOT)
    params = read_section(TrainParams)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(launch, "set_up", lambda *_: pytest.fail("the launcher tries them itself"))
    runtime = RuntimeParams.model_construct(processes="auto", device="auto")
    with pytest.raises(DataError, match="data/prepared is missing"):
        launch.ranks_to_start(params, runtime)


@pytest.mark.parametrize(
    ("codes", "ends", "started"), [([143, -9], 0, 2), ([-15, -9], 0, 2), ([143, 143], 143, 1), ([3, -15], 3, 1)]
)
def test_a_process_that_the_engine_ends_as_another_was_killed_is_not_one_that_was_asked_to_stop(
    codes: list[int], ends: int, started: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = list[str]()

    def run(*arguments: str) -> None:
        begun.extend(arguments[-1:])
        if len(begun) == 1:
            failures = {
                rank: ProcessFailure(rank, pid=0, exitcode=code, error_file="") for rank, code in enumerate(codes)
            }
            raise ChildFailedError("train", failures)

    monkeypatch.setattr(launch, "elastic_launch", lambda *_: run)
    monkeypatch.setattr("logging.disable", lambda: None)
    with pytest.raises(SystemExit) as left:
        launch.start_ranks(2, "stages.train")
    assert (left.value.code, len(begun)) == (ends, started)
    assert ("killed by signal 9" in capsys.readouterr().out) == (started > 1)


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one_also_when_one_is_killed(several: Project) -> None:
    several.change("params.yaml", "processes: 2", "processes: 1")
    several.run(*TRAIN)
    alone = sha256_of_file(several.folder / WEIGHTS)

    several.change("params.yaml", "processes: 1", "processes: 2")
    shutil.rmtree(several.folder / "models/classifier")
    printed = _killed_after_an_epoch(several, signal.SIGKILL, expect=0)
    assert "killed by signal 9" in printed
    assert "resuming at step" in printed
    assert sha256_of_file(several.folder / WEIGHTS) == alone


@pytest.mark.slow
def test_ctrl_c_stops_all_and_one_process_goes_on(several: Project) -> None:
    printed = _killed_after_an_epoch(several, signal.SIGINT, expect=130)
    assert "stopped by Ctrl-C" in printed
    assert len(printed.splitlines()[-1].split()) > 1
    several.change("params.yaml", "processes: 2", "processes: 1")
    assert "resuming at step" in several.run(*TRAIN)


@pytest.mark.slow
def test_a_refusal_is_one_sentence_whatever_the_number_of_processes(several: Project) -> None:
    several.change("params.yaml", "processes: 2", "processes: 4")  # and auto makes two shards
    printed = several.run(*TRAIN, expect=2)
    assert printed.count("\n") == 1
    assert "4 processes cannot share the 2 shards" in printed


def _killed_after_an_epoch(project: Project, number: int, *, expect: int) -> str:
    """What train prints, whose last process (or, by Ctrl-C, whose first) gets a signal after the first epoch."""
    log = project.folder / "printed"
    with log.open("w") as file:
        run = subprocess.Popen(TRAIN, cwd=project.folder, env=project.environment, stdout=file, stderr=file)
        while "\nepoch 1/" not in log.read_text():
            assert run.poll() is None, log.read_text()
            time.sleep(0.05)
        ranks = sorted(child.pid for child in psutil.Process(run.pid).children())
        os.kill(run.pid if number == signal.SIGINT else ranks[-1], number)
        assert run.wait() == expect, log.read_text()
    assert not any(psutil.pid_exists(rank) for rank in ranks)
    return log.read_text()
