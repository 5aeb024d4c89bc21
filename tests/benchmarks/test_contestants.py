"""The contestants: that they are who they say, and that a turn can be taken."""

import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.contestant import training_flops
from benchmarks.enlarge import enlarge
from benchmarks.lineup import CONTESTANTS, PAIRS
from benchmarks.notes_script import notes_network
from benchmarks.peak import matmul_peak
from benchmarks.turn import setups
from benchmarks.watch import family_memory, take_turn
from imageclf.runtime.errors import MachineError
from imageclf.runtime.files import write_sums
from tests.imports import ROOT
from tests.small_run import make_card, make_prepared, random_images

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """128 training images of random 16x16 pixels."""
    card = make_card()
    images, labels = random_images(128, card), np.arange(128) % 3
    make_prepared(tmp_path, card, images=images, labels=labels)
    folder = tmp_path / "data/prepared"
    np.save(folder / "train_images.npy", images)
    np.save(folder / "train_labels.npy", labels)
    write_sums(folder)
    return folder


def test_flops_of_the_notes_network_are_those_counted_by_hand() -> None:
    convolutions = [32 * 32 * 32 * 75, 32 * 16 * 16 * 800, 64 * 8 * 8 * 800]
    multiplications = sum(convolutions) + 1024 * 64 + 64 * 10
    # Twice for multiply and add; three passes, but nobody asks for the gradient of the pixels.
    assert training_flops(notes_network(), (32, 32)) == 2 * (3 * multiplications - convolutions[0])


def test_a_frozen_layer_costs_a_forward_pass_only() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.Flatten(), nn.Linear(4 * 64, 2))
    network[0].requires_grad_(False)
    assert training_flops(network, (8, 8)) == 2 * (64 * 3 * 4 + 2 * 256 * 2)


def test_every_contestant_has_a_set_up_and_every_pair_two_contestants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert set(setups()) == set(CONTESTANTS)
    assert {name for pair in PAIRS for name in (pair.left, pair.right)} <= set(CONTESTANTS)


@pytest.mark.slow
def test_a_turn_brings_its_figures(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    turn = take_turn("ours", data=prepared, warm_up=0, seconds=0)
    assert turn["images_per_second"] > 0
    assert (turn["images"], turn["size"]) == (128, [16, 16])
    if sys.platform == "linux":
        assert turn["peak_memory"] > turn["peak_own_memory"] > 50e6


def test_the_ordinary_loop_takes_a_step(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with setups()["torchvision-same-net"](prepared) as ready:
        assert ready.step() == 128


def test_a_turn_that_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(MachineError, match=r"the turn of ours ended with exit code 1"):
        take_turn("ours", data=tmp_path, warm_up=0, seconds=0)


@LINUX
def test_memory_counts_children_and_tells_files_from_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "zeros"
    file.write_bytes(bytes(40_000_000))
    child = f"import mmap; f = open({str(file)!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); m[::4096]"
    own = "b = bytearray(30_000_000); b[::4096] = bytes([1]) * len(b[::4096])"
    wait = "print('ready', flush=True); input()"
    code = f"import os, sys\n{child}\nif os.fork():\n    os.wait()\nelse:\n    {own}; {wait}"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        memory = family_memory(process.pid)
        process.communicate("\n")
    assert 30e6 < memory.own < 60e6
    assert 40e6 < memory.whole - memory.own < 70e6


def test_the_peak_is_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peak.time.monotonic", count(0, 0.5).__next__)  # half a second for each product
    before = torch.get_num_threads()
    try:
        assert matmul_peak("fp32", size=128) == pytest.approx(2e-9 * 128**3 / 0.5)
    finally:
        torch.set_num_threads(before)


def test_enlarged_images_are_the_same_images(prepared: Path, tmp_path: Path) -> None:
    folder = enlarge(tmp_path / "larger", repeats=2, zoom=4, images=100, source=prepared)
    larger, images = np.load(folder / "train_images.npy"), np.load(prepared / "train_images.npy")[:100]
    assert larger.shape == (200, 64, 64, 3)
    for offset in (0, 3):
        assert np.array_equal(larger[:, offset::4, offset::4], np.concatenate([images, images]))
    assert np.array_equal(np.load(folder / "train_labels.npy")[100:], np.arange(100) % 3)
