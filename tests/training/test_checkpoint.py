"""A run that is stopped anywhere goes on from its checkpoint and ends with the same bytes."""

import errno
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute
from imageclf.runtime.errors import Busy, Stopped
from imageclf.runtime.files import sha256_of_file, write_bytes
from imageclf.training import checkpoint
from imageclf.training.checkpoint import Checkpoint, Checkpoints, Origin, fingerprint, held_checkpoints
from imageclf.training.log import RunLog
from imageclf.training.loop import Task, fit
from imageclf.training.optimizers import OPTIMIZERS
from imageclf.training.outcome import Row, best_row
from tests.augment.augmenting import augmenting
from tests.training.test_fit import bright_or_dark, recipe

Result = tuple[list[Row], list[torch.Tensor]]


class Killed(BaseException):
    """Stands for the moment at which a process is gone."""


def small_classifier() -> Classifier:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    middle = [nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(6), nn.Flatten()]
    return Classifier(nn.Sequential(nn.Conv2d(3, 4, 3), *middle, nn.Linear(144, 2)), [0.5] * 3, [0.25] * 3)


def train(
    folder: Path, *, after_save: Callable[[int], None] = lambda step: None, workers: int = 1, **changes: Any
) -> Result:
    """Train, taking up what is in `folder`; checkpoints after every step, then `after_save` is called with it."""

    class Watched(Checkpoints):
        def save(self, checkpoint: Checkpoint, *, wait: bool = True) -> None:
            super().save(checkpoint)
            self.seconds = 0.0  # so that the next step has one too
            after_save(checkpoint.step)

    classifier = small_classifier()
    small: dict[str, Any] = {"scales": [0.75, 1.0], "epochs": 2, "momentum": 0.9, "schedule": "cosine"}
    with held_checkpoints(folder / "run") as checkpoints:
        begun = checkpoints.newest()
        with RunLog(folder / "log", first_step=begun.step if begun else 0) as log:
            augment, compute = augmenting(0, flip="random", translate=1), Compute(torch.device("cpu"), "fp32", workers)
            history = fit(
                Task(classifier, bright_or_dark(64), bright_or_dark(10), augment, compute),
                recipe(**small | changes),
                begun=begun,
                checkpoints=Watched(folder / "run"),
                checkpoint_every=1e-9,
                log=log,
                log_every=1,
            )
    return history, list(classifier.state_dict().values())


def killed_at(*steps: int) -> Callable[[int], None]:
    waiting = list(steps)

    def kill(step: int) -> None:
        if step in waiting:
            waiting.remove(step)
            raise Killed

    return kill


def assert_same(one: Result, other: Result) -> None:
    assert one[0] == other[0]
    assert all(torch.equal(a, b) for a, b in zip(one[1], other[1], strict=True))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_killed_after_every_step_it_ends_as_if_unbroken(tmp_path: Path, optimizer: str) -> None:
    unbroken = train(tmp_path / "unbroken", optimizer=optimizer, lr=0.01)
    kill = killed_at(*range(1, 9))
    for _ in range(8):
        with pytest.raises(Killed):
            train(tmp_path / "broken", after_save=kill, optimizer=optimizer, lr=0.01)
    assert_same(train(tmp_path / "broken", optimizer=optimizer, lr=0.01), unbroken)


EVERYTHING: dict[str, Any] = {
    "epochs": 4,
    "optimizer": "adamw",
    "lr": 0.01,
    "sampling": "balanced",
    "clip_norm": 0.5,
    "ema": 0.9,
    "keep": "best",
    "augment": recipe().augment.model_dump() | {"mixup": 0.4, "cutmix": 1.0},
}


@pytest.mark.parametrize(
    "changes",
    [{}, *(pytest.param(each, marks=pytest.mark.slow) for each in ({"keep": "last"}, {"ema": 0.0}, {"patience": 1}))],
    ids=str,
)
def test_with_everything_on_it_is_killed_after_every_step_and_ends_the_same(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    unbroken = train(tmp_path / "unbroken", **EVERYTHING | changes)
    assert best_row(unbroken[0])["epoch"] < len(unbroken[0])  # else nothing would need to be kept
    steps = 4 * len(unbroken[0])
    kill = killed_at(*range(1, steps + 1))
    for number in range(steps):
        with pytest.raises(Killed):
            train(tmp_path / "broken", after_save=kill, workers=1 + number % 2, **EVERYTHING | changes)
    assert_same(train(tmp_path / "broken", **EVERYTHING | changes), unbroken)


@pytest.mark.parametrize("workers", [1, 2])
def test_hard_images_are_chosen_as_if_it_had_not_been_killed(tmp_path: Path, workers: int) -> None:
    chosen: dict[str, Any] = {"epochs": 4, "hard_fraction": 0.5, "hard_after": 1, "lr": 0.01}
    unbroken = train(tmp_path / "unbroken", **chosen)
    assert [row["epoch"] for row in unbroken[0]] == [1, 2, 3, 4]
    assert not all(
        torch.equal(a, b)
        for a, b in zip(unbroken[1], train(tmp_path / "all", **chosen | {"hard_fraction": 1.0})[1], strict=True)
    )
    steps = 4 + 2 + 2 + 2
    kill = killed_at(*range(1, steps + 1))
    for _ in range(steps):
        with pytest.raises(Killed):
            train(tmp_path / "broken", after_save=kill, workers=workers, **chosen)
    assert_same(train(tmp_path / "broken", **chosen), unbroken)


def test_with_everything_on_the_number_of_workers_changes_no_bit(tmp_path: Path) -> None:
    assert_same(train(tmp_path / "one", **EVERYTHING), train(tmp_path / "two", workers=2, **EVERYTHING))


def test_it_goes_on_and_does_not_start_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Killed):
        train(tmp_path, after_save=killed_at(3))
    steps: list[int] = []
    train(tmp_path, after_save=steps.append)
    assert steps == [4, 5, 6, 7, 8]
    assert "resuming at step 3/8" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["nothing", "half", "flip"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    unbroken = train(tmp_path / "unbroken")
    with pytest.raises(Killed):
        train(tmp_path / "broken", after_save=killed_at(5))
    newest = max((tmp_path / "broken/run").glob("step-*"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"nothing": b"", "half": bytes(content[: len(content) // 2]), "flip": bytes(content)}
    newest.write_bytes(damaged[damage])
    assert_same(train(tmp_path / "broken"), unbroken)
    printed = capsys.readouterr().out
    assert f"{newest.name} is damaged" in printed
    assert "resuming at step 4/8" in printed


def test_with_all_damaged_it_starts_over(tmp_path: Path) -> None:
    unbroken = train(tmp_path / "unbroken")
    with pytest.raises(Killed):
        train(tmp_path / "broken", after_save=killed_at(5))
    for path in (tmp_path / "broken/run").glob("step-*"):
        path.write_bytes(b"")
    assert_same(train(tmp_path / "broken"), unbroken)


def test_two_are_kept_and_none_after_the_end(tmp_path: Path) -> None:
    counts: list[int] = []
    train(tmp_path, after_save=lambda step: counts.append(len(list((tmp_path / "run").glob("step-*")))))
    assert counts == [1, 2, 2, 2, 2, 2, 2, 2]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_checkpoint_and_a_sentence(tmp_path: Path, number: signal.Signals) -> None:
    unbroken = train(tmp_path / "unbroken")
    with pytest.raises(Stopped, match=r"after step \d/8; the checkpoint is written") as stopped:
        train(tmp_path / "broken", after_save=lambda step: os.kill(os.getpid(), number) if step == 2 else None)
    assert stopped.value.exit_code == 128 + number
    assert_same(train(tmp_path / "broken"), unbroken)


def test_two_runs_of_the_same_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "PATIENCE", 0.3)
    with held_checkpoints(tmp_path / "run"):
        pass
    ready, end = multiprocessing.Event(), multiprocessing.Event()

    def hold() -> None:
        with held_checkpoints(tmp_path / "run"):
            ready.set()
            end.wait(600)

    other = multiprocessing.get_context("fork").Process(target=hold)
    other.start()
    try:
        assert ready.wait(600)
        with pytest.raises(Busy, match=f"process {other.pid}"), held_checkpoints(tmp_path / "run"):
            pass
    finally:
        end.set()
        other.join()
    with held_checkpoints(tmp_path / "run"):
        pass


def test_a_disk_that_keeps_an_open_file_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rmdir(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTEMPTY, "Directory not empty")  # NFS, of what it calls .nfs0001

    with held_checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(Checkpoint(1, {"a": torch.zeros(1)}, {}))
        monkeypatch.setattr(os, "rmdir", rmdir)
    assert not list((tmp_path / "run").glob("step-*"))


def test_a_fingerprint_is_of_facts_and_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = fingerprint({"lr": 0.1})
    assert plain == fingerprint({"lr": 0.1})
    assert plain != fingerprint({"lr": 0.2})
    # The kernels are imported by the first step in bf16, which is later.
    monkeypatch.delitem(sys.modules, "imageclf.models.kernels", raising=False)
    assert plain == fingerprint({"lr": 0.1})
    known = sha256_of_file
    monkeypatch.setattr(
        "imageclf.training.checkpoint.sha256_of_file",
        lambda path: "an edit" if path.name == "kernels.py" else known(path),
    )
    assert plain != fingerprint({"lr": 0.1})


def test_checkpoints_hold_every_kind_of_tensor(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 4, 2, 2).to(memory_format=torch.channels_last),
        "b": torch.tensor(7),
        "c": torch.arange(3),
    }
    Checkpoints(tmp_path).save(Checkpoint(5, tensors, {"sum": 0.1 + 0.2}))
    found = Checkpoints(tmp_path).newest()
    assert found is not None
    assert found.step == 5
    assert found.facts == {"sum": 0.1 + 0.2}
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    "optimizer", ["muon", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sgd", "adamw"))]
)
def test_killed_while_the_last_layer_is_alone_or_later_it_ends_the_same(tmp_path: Path, optimizer: str) -> None:
    phases: dict[str, Any] = {"optimizer": optimizer, "epochs": 3, "freeze_epochs": 1, "lr": 0.01, "ema": 0.9}
    unbroken = train(tmp_path / "unbroken", **phases)
    at_once = train(tmp_path / "at once", **phases | {"freeze_epochs": 0})
    assert not torch.equal(unbroken[1][0], at_once[1][0])
    kill = killed_at(*range(1, 13))
    for number in range(12):
        with pytest.raises(Killed):
            train(tmp_path / "broken", after_save=kill, workers=1 + number % 2, **phases)
    assert_same(train(tmp_path / "broken", **phases), unbroken)


def test_a_checkpoint_of_another_processor_is_told_of_and_taken_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(KeyboardInterrupt), held_checkpoints(tmp_path / "a", origin=Origin("FAKE GPU", "run")) as checkpoints:
        checkpoints.save(Checkpoint(7, {"trainable.0": torch.ones(3)}, {"step": 7}))
        raise KeyboardInterrupt
    with held_checkpoints(tmp_path / "b", origin=Origin("AVX2", "run")) as checkpoints:
        assert checkpoints.newest() is None
        assert "FAKE GPU left a checkpoint of this run after step 7; this is AVX2" in capsys.readouterr().out
        taken = checkpoints.newest(anywhere=True)
        assert taken is not None and taken.step == 7
    with held_checkpoints(tmp_path / "c", origin=Origin("AVX2", "another run")) as checkpoints:
        capsys.readouterr()
        assert checkpoints.newest(anywhere=True) is None
        assert not capsys.readouterr().out


def test_a_checkpoint_that_a_thread_writes_is_of_the_moment_and_its_failure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, weights, going_on = Checkpoints(tmp_path), torch.zeros(3), threading.Event()

    def slow(path: Path, content: bytes) -> None:
        going_on.wait(10)
        write_bytes(path, content)

    monkeypatch.setattr(checkpoint, "write_bytes", slow)
    checkpoints.save(Checkpoint(1, {"weights": weights}, {}), wait=False)
    weights += 1
    assert checkpoints.newest() is None
    going_on.set()
    checkpoints.wait()
    found = checkpoints.newest()
    assert found is not None and not found.tensors["weights"].any()
    assert checkpoints.seconds > 0

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_bytes", full)
    checkpoints.save(Checkpoint(2, {"weights": weights}, {}), wait=False)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(Checkpoint(3, {"weights": weights}, {}), wait=False)


def test_writing_checkpoints_takes_at_most_a_twentieth_of_the_time(tmp_path: Path) -> None:
    saved: list[int] = []

    class Slow(Checkpoints):
        def save(self, checkpoint: Checkpoint, *, wait: bool = True) -> None:
            saved.append(checkpoint.step)

    compute = Compute(torch.device("cpu"), "fp32", 1)
    with RunLog(None, first_step=0) as log:
        task = Task(small_classifier(), bright_or_dark(64), bright_or_dark(10), augmenting(0), compute)
        settings: dict[str, Any] = {"begun": None, "checkpoint_every": 1e-9, "log": log, "log_every": 1}
        checkpoints = Slow(tmp_path)
        checkpoints.seconds = 1e9
        fit(task, recipe(epochs=1), checkpoints=checkpoints, **settings)
    assert not saved
