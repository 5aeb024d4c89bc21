"""A stage ends with one line and a time, or with one sentence and an exit code."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from imageclf.runtime.errors import DataError, Diverged, MachineError, ParamsError, SourceError
from imageclf.runtime.progress import Progress
from imageclf.runtime.stage import run_stage
from tests.conftest import HANGS
from tests.imports import ROOT


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def raising(error: BaseException) -> Callable[[], str]:
    def main() -> str:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ParamsError("params.yaml: no"), 2),
        (DataError("data: no"), 3),
        (SourceError("source: no"), 4),
        (MachineError("machine: no"), 5),
        (Diverged("loss: no"), 6),
    ],
)
def test_a_fault_is_its_sentence_and_its_code(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_stage("train", raising(error))
    assert ended.value.code == code
    assert capsys.readouterr().err == f"{error}\n"


def test_ctrl_c_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_stage("train", raising(KeyboardInterrupt()))
    assert ended.value.code == 130
    assert "stopped by Ctrl-C" in capsys.readouterr().err


def test_a_full_disk_is_5_and_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_stage("train", raising(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "models/x")))
    assert ended.value.code == 5
    assert "models/x: No space left on device" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_stage("train", raising(ZeroDivisionError()))


def test_a_good_end_is_a_line_with_a_time_and_the_time_is_kept(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([0.0, 1.0, 20.0, 22.5])
    monkeypatch.setattr("imageclf.runtime.stage.time.monotonic", lambda: next(seconds))
    run_stage("prepare", lambda: "10 images")
    run_stage("train", lambda: "a model")
    assert capsys.readouterr().out == "prepare: 10 images, 1.0 s\ntrain: a model, 2.5 s\n"
    assert json.loads((workspace / "logs/seconds.json").read_text()) == {"prepare": 1.0, "train": 2.5}


def test_a_time_that_cannot_be_kept_is_a_line_and_no_fault(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "logs").write_text("a file where the folder is to be")
    run_stage("train", lambda: "a model")
    closing, line = capsys.readouterr().out.splitlines()
    assert closing.startswith("train: a model, ")
    assert line.startswith("train: its time is not kept in logs/seconds.json (")


def test_without_a_terminal_progress_is_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([0.0, 5.0, 20.0, 20.0, 20.0])
    monkeypatch.setattr("imageclf.runtime.progress.time.monotonic", lambda: next(seconds))
    with Progress("train", total=1000, unit="img") as progress:
        progress.advance(100)
        progress.advance(300, note="loss 1.0")
    printed = capsys.readouterr().out
    assert printed == "train: 400 img, 20 img/s, 40 %, 00:30 left, loss 1.0\n"


@pytest.mark.parametrize("full", [np.ones, torch.ones])
def test_a_full_memory_is_5(full: Callable[[int], object], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_stage("train", lambda: str(full(10**13)))
    assert ended.value.code == 5
    assert capsys.readouterr().err.startswith("this machine's memory is full; lower train.batch_size")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GiB)"),
    ],
)
def test_a_full_gpu_is_5(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_stage("train", raising(error))
    assert ended.value.code == 5
    assert capsys.readouterr().err.startswith("the GPU's memory is full; raise train.shards")


def test_an_operation_that_a_gpu_cannot_repeat_is_5(capsys: pytest.CaptureFixture[str]) -> None:
    words = "cumsum_cuda_kernel does not have a deterministic implementation, but you set ..."
    with pytest.raises(SystemExit) as ended:
        run_stage("train", raising(RuntimeError(words)))
    assert ended.value.code == 5
    assert capsys.readouterr().err.startswith("the network uses cumsum_cuda_kernel, which does not give the same bits")


def test_a_second_sigterm_does_not_cut_the_tidying_short() -> None:
    program = """
import time
from imageclf.runtime.stage import run_tool

def work():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("tidying", flush=True)
        print(input(), flush=True)

run_tool(work)
"""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout and process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.readline() == "tidying\n"
        process.terminate()
        printed, sentences = process.communicate("tidy\n", timeout=HANGS)
    assert printed == "tidy\n"
    assert (process.returncode, sentences.count("\n")) == (143, 1)


def test_a_reader_that_has_gone_is_no_fault() -> None:
    program = (
        "from imageclf.runtime.stage import run_tool\nrun_tool(lambda: [print(i, flush=True) for i in range(99999)])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_ctrl_c_while_a_stage_is_still_importing_is_one_sentence_and_a_fault_of_ours_a_traceback() -> None:
    said = {}
    for error in ("KeyboardInterrupt", "ZeroDivisionError"):
        command = [sys.executable, "-c", f"import stages; raise {error}"]
        done = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True, check=False
        )
        assert done.returncode
        said[error] = done.stderr
    assert said["KeyboardInterrupt"] == "stopped by Ctrl-C; run again to go on\n"
    assert "Traceback" in said["ZeroDivisionError"]
