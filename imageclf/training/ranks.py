"""Ranks: the processes of one run that torchrun starts, on one machine or on several.

Each rank computes a block of every batch's shards and adds their gradients as a tree. The sums of all blocks go to the
rank that owns a tensor, which adds them as the rest of the same tree. So the number of ranks changes no bit; plain
all_reduce does, from four ranks on. Each step a rank receives 2P(1 - 1/R) floats for P parameters on R ranks: half of
them gradients, half of them updated parameters.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from imageclf.runtime.errors import DataError, ParamsError, RankLost
from imageclf.runtime.platform import end_with_parent

PATIENCE = timedelta(minutes=10)  # for the others in a step, with the validation and the checkpoint of a slow disk
PREPARING = timedelta(days=7)  # for what the first does ahead of the others
SAME = "same"


class Ranks:
    """A process among those of its run. All of them must make the same calls in the same order."""

    def __init__(self, rank: int = 0, count: int = 1, *, local_rank: int = 0, local_count: int = 1) -> None:
        """`rank` of `count`; on its machine it is `local_rank` of `local_count`."""
        self.rank, self.count, self.local_rank, self.local_count = rank, count, local_rank, local_count
        self._patient: Any = dist.new_group(backend="gloo", timeout=PREPARING) if count > 1 else None

    @property
    def first(self) -> bool:
        """Whether this one speaks and writes for all."""
        return self.rank == 0

    @contextmanager
    def first_ahead(self) -> Iterator[None]:
        """Run the block in the first rank, then in the others, which find what it has computed and stored."""
        if self.first:
            yield
            self.from_first(b"")
        else:
            self.from_first(b"")
            yield

    def share(self, *tensors: tuple[Tensor, Sequence[int]]) -> None:
        """Bring every rank's part of each flat tensor to all ranks; with a tensor come the lengths of its parts.

        Raises:
            RankLost: another rank has gone.
        """
        if self.count == 1:
            return
        parts = [tensor.split(list(lengths)) for tensor, lengths in tensors]
        own = torch.cat([each[self.rank] for each in parts])
        totals = [sum(lengths) for lengths in zip(*(lengths for _, lengths in tensors), strict=True)]
        received = own.new_empty(sum(totals))
        with _others():
            dist.all_to_all_single(received, own.repeat(self.count), totals, [len(own)] * self.count)
        for rank, piece in enumerate(received.split(totals)):
            views = [each[rank] for each in parts]
            for view, values in zip(views, piece.split([len(view) for view in views]), strict=True):
                view.copy_(values)

    def add_up(self, flat: Tensor, lengths: Sequence[int]) -> None:
        """Leave in this rank's part of `flat` the sum over all ranks, added as a fixed tree.

        Raises:
            RankLost: another rank has gone.
        """
        if self.count == 1:
            return
        part = flat.split(list(lengths))[self.rank]
        received = part.new_empty(self.count * len(part))
        with _others():
            dist.all_to_all_single(received, flat, [len(part)] * self.count, list(lengths))
        level = list(received.view(self.count, len(part)))
        while len(level) > 1:
            level = [left.add_(right) for left, right in zip(level[::2], level[1::2], strict=True)]
        part.copy_(level[0])

    def check_same(self, facts: dict[str, Any]) -> None:
        """Refuse to train together what differs: `facts` are what the result depends on.

        Raises:
            DataError: a fact of this rank, or in the first one of any, is not that of the first.
            RankLost: another rank has gone.
        """
        first = json.loads(self.from_first(json.dumps(facts, sort_keys=True).encode()))
        own = json.loads(json.dumps(facts))
        said = SAME
        if name := next((name for name in own if own[name] != first.get(name)), ""):
            said = (
                f"train: {name} of process {self.rank} is {own[name]}, and {first.get(name)} of the first one; "
                "give all machines the same code, params, data and kind of processor"
            )
        others = [words.decode() for words in self.to_first(said.encode())]
        for words in (said, *others):
            if words != SAME:
                raise DataError(words)

    def to_first(self, content: bytes) -> list[bytes]:
        """What every rank gives, in the first one; nothing in the others.

        Raises:
            RankLost: another rank has gone.
        """
        lengths = torch.zeros(self.count, dtype=torch.int64)
        lengths[self.rank] = len(content)
        self.share((lengths, [1] * self.count))
        with _others():
            if not self.first:
                dist.send(_tensor(content), 0)
                return []
            received = [torch.empty(length, dtype=torch.uint8) for length in lengths.tolist()]
            for rank in range(1, self.count):
                dist.recv(received[rank], rank)
        return [content, *(each.numpy().tobytes() for each in received[1:])]

    def from_first(self, content: bytes) -> bytes:
        """What the first rank gives; the others' is ignored.

        Raises:
            RankLost: another rank has gone.
        """
        if self.count == 1:
            return content
        length = torch.tensor([len(content)])
        with _others():
            dist.broadcast(length, 0, group=self._patient)
            sent = _tensor(content) if self.first else torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(sent, 0, group=self._patient)
        return sent.numpy().tobytes()


ALONE = Ranks()


def _tensor(content: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy())


@contextmanager
def _others() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        raise RankLost("train: another process of this run has gone, or cannot be reached any more") from None


@contextmanager
def join_ranks() -> Iterator[Ranks]:
    """The ranks that torchrun's environment variables describe; without them one alone.

    Raises:
        ParamsError: their number is no power of two.
        RankLost: the others cannot be reached.
    """
    count, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if count & (count - 1):
        raise ParamsError(f"train: there are {count} processes; torchrun must start a power of two, such as 1, 2 or 4")
    if count == 1:
        yield ALONE
        return
    end_with_parent()
    with _others():
        has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
        dist.init_process_group("cpu:gloo,cuda:nccl" if has_nccl else "gloo", timeout=PATIENCE)
        local_rank, local_count = (int(os.environ.get(f"LOCAL_{name}", 0)) for name in ("RANK", "WORLD_SIZE"))
        ranks = Ranks(rank, count, local_rank=local_rank, local_count=max(1, local_count))
    yield ranks
    dist.destroy_process_group()  # not after an error: it could wait for those that have gone
