"""Features are computed once: with the same bytes however often that is interrupted, and never from damaged files."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imageclf.evaluation import inference
from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute
from imageclf.runtime.errors import DataError, MachineError
from imageclf.training import features
from imageclf.training.features import FeatureFile, View, features_of

CHUNK, COUNT, WIDTH = 4, 18, 36
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 4, 4, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(inference.CHUNK_PIXELS, "cpu", CHUNK * 4 * 4)


class Backbone(nn.Sequential):
    """Calls `before` with the number of images that it has seen."""

    def __init__(self, before: Callable[[int], None]) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten())
        self._before, self._seen = before, 0

    def forward(self, pixels: Tensor) -> Tensor:
        self._before(self._seen)
        self._seen += len(pixels)
        return super().forward(pixels)


class Killed(BaseException):
    """Stands for the moment at which a process is gone."""


def compute(
    folder: Path, *, before: Callable[[int], None] = lambda seen: None, workers: int = 1, source: Path = Path()
) -> list[bytes]:
    """The files of two views of the images, as they are and mirrored; those of before stay."""
    views = [
        View(COUNT, lambda indices: IMAGES[indices], {"mirrored": False}),
        View(COUNT, lambda indices: IMAGES[indices, :, ::-1].copy(), {"mirrored": True}),
    ]
    classifier = Classifier(Backbone(before), [0.5] * 3, [0.25] * 3)
    compute = Compute(torch.device("cpu"), "fp32", workers)
    paths = features_of(
        classifier, views, folder, sources=[source], size=(4, 4), width=WIDTH, facts={}, compute=compute
    )
    return [path.read_bytes() for path in paths]


def after(images: int, action: Callable[[], Any]) -> Callable[[int], None]:
    def act(seen: int) -> None:
        if seen >= images:
            action()

    return act


def kill() -> None:
    raise Killed


def test_bytes_are_the_same_for_any_number_of_workers_and_after_kills(tmp_path: Path) -> None:
    unbroken = compute(tmp_path / "unbroken")
    assert compute(tmp_path / "four", workers=4) == unbroken
    for _ in range(4):
        with pytest.raises(Killed):
            compute(tmp_path / "broken", before=after(2 * CHUNK, kill))
    seen: list[int] = []
    assert compute(tmp_path / "broken", before=seen.append) == unbroken
    assert len(seen) == 1  # chunk that no try before had come to


def test_what_is_stored_are_the_features(tmp_path: Path) -> None:
    compute(tmp_path)
    stored = [np.load(path, mmap_mode="r") for path in tmp_path.glob("*.npy")]
    classifier = Classifier(Backbone(lambda seen: None), [0.5] * 3, [0.25] * 3)
    with torch.no_grad():
        own = classifier(torch.from_numpy(IMAGES))[:, None].numpy()
    assert {array.shape for array in stored} == {(COUNT, 1, WIDTH)}
    assert any(np.allclose(array, own, atol=1e-6) for array in stored)


def test_damage_is_named_and_repaired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, draws = compute(tmp_path), Random(0)
    for trial in range(40):
        path = draws.choice(sorted(tmp_path.glob("*.npy")))
        content = bytearray(path.read_bytes())
        at = draws.randrange(len(content))
        content[at] ^= 1 << draws.randrange(8)
        path.write_bytes(content[:at] if trial % 4 == 0 else content)
        capsys.readouterr()
        assert compute(tmp_path) == whole
        assert f"{path.name} are damaged; they are computed again" in (printed := capsys.readouterr().out) or (
            f"{path.name} is damaged; all its features are computed again" in printed
        )


def test_a_disk_without_room_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4 * WIDTH * COUNT))
    with pytest.raises(
        MachineError, match=r"no room for features in .*: they take 0\.0 MB, and 0\.0 MB are free; make room"
    ):
        compute(tmp_path, before=after(0, kill))


def test_a_disk_that_fills_up_keeps_what_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compute(tmp_path / "whole")
    written: list[int] = []
    write = FeatureFile.write

    def full(self: FeatureFile, begin: int, content: np.ndarray) -> None:
        if len(written) == 3:
            self.path = tmp_path / "full"
            monkeypatch.setattr(Path, "open", fails)
        written.append(begin)
        write(self, begin, content)

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(features.FeatureFile, "write", full)
    with pytest.raises(MachineError, match=r"no room for features in .*: what is computed so far is kept; make room"):
        compute(tmp_path / "broken")
    monkeypatch.undo()
    monkeypatch.setitem(inference.CHUNK_PIXELS, "cpu", CHUNK * 4 * 4)
    seen: list[int] = []
    assert compute(tmp_path / "broken", before=seen.append) == whole
    assert len(seen) == 2 * 5 - 3


def test_images_that_change_meanwhile_are_not_stored(tmp_path: Path) -> None:
    source = tmp_path / "train_images.npy"
    source.write_bytes(b"1")
    whole = compute(tmp_path / "whole", source=source)
    with pytest.raises(DataError, match=r"train_images\.npy changed while its features were computed; those of before"):
        compute(tmp_path / "broken", source=source, before=after(2 * CHUNK, lambda: source.write_bytes(b"22")))
    seen: list[int] = []
    assert compute(tmp_path / "broken", source=source, before=seen.append) == whole
    assert len(seen) >= 2 * 5 - 2  # the thread that computes is ahead of the one that stores


def test_features_of_earlier_runs_are_kept_within_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age in range(4):
        path = tmp_path / f"{age}.npy"
        path.write_bytes(bytes(100))
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    monkeypatch.setattr(features, "KEPT", 250)
    compute(tmp_path)
    assert {path.name for path in tmp_path.glob("?.npy")} == {"0.npy", "1.npy"}
    assert len(list(tmp_path.glob("*.npy"))) == 4
