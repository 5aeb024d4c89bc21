"""Ranks: several processes under torchrun that train one classifier, to the bits of one process."""

import json
import subprocess
import sys

import pytest
import torch

from imageclf.runtime.errors import ParamsError
from imageclf.runtime.platform import loopback
from imageclf.training.ranks import ALONE, join_ranks
from imageclf.training.setup import check_ranks
from imageclf.training.shared import owned_by
from tests.imports import ROOT
from tests.training.ranked import outcomes
from tests.training.test_fit import recipe


@pytest.mark.parametrize("count", [2, 4])
def test_the_number_of_ranks_changes_no_bit(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", loopback())
    assert json.loads(printed_by_ranks(count)) == outcomes(ALONE)


def test_the_first_and_those_that_differ_say_in_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", loopback())
    lines = printed_by_ranks(4, "unlike").splitlines()
    assert sorted(line.partition(";")[0] for line in lines) == [
        *2 * ["train: epochs of process 2 is 7, and 6 of the first one"],  # the first, and process 2
        "train: epochs of process 3 is 7, and 6 of the first one",
    ]


def printed_by_ranks(count: int, *arguments: str) -> str:
    engine = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=localhost"]
    command = [*engine, f"--nproc-per-node={count}", "-m", "tests.training.ranked", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_rank_owns_neighbours_of_about_the_same_size() -> None:
    tensors = [torch.empty(size) for size in (3, 1000, 16, 400, 600, 5)]
    assert owned_by(1, tensors) == [range(6)]
    assert owned_by(2, tensors) == [range(2), range(2, 6)]
    assert [len(part) for part in owned_by(16, tensors[:2])].count(0) == 14


def test_torchrun_must_start_a_power_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ParamsError, match="there are 3 processes; torchrun must start a power of two"), join_ranks():
        pass


def test_more_ranks_than_shards_are_refused() -> None:
    check_ranks(4, recipe(shards=4))
    with pytest.raises(ParamsError, match=r"4 processes cannot share the 2 shards.*set train\.shards to 4"):
        check_ranks(4, recipe(shards=2))
