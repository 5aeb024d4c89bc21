"""What the processes of a run share."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stages.console.errors import MachineError
from stages.training.flat import flat_size, move_into, views
from stages.training.network import Network

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, not written to


@dataclass(frozen=True)
class Board:
    """Tensors that every process reads and writes.

    Shapes: P parameters, B running statistics, S shards, K workers, N training images.
    """

    parameters: Tensor  # (P,)
    statistics: Tensor  # (B,) as they stand before the step
    gradients: Tensor  # (K, P) the sum over each worker's shards; after an update, in [0], over the whole batch
    shard_statistics: Tensor  # (S, B) as each shard leaves them
    shard_scores: Tensor  # (S, 2) sum of losses, number of right answers
    losses: Tensor  # (N,) of each image when it was last trained on; infinite before

    @property
    def shards(self) -> int:
        return len(self.shard_scores)

    @property
    def workers(self) -> int:
        return len(self.gradients)


def make_board(network: Network, *, images: int, shards: int, workers: int, device: torch.device) -> Board:
    """Move the trainable parameters onto a board, which several workers share; `images` is the training split's size.

    Raises:
        MachineError: there is too little shared memory for it.
    """
    size, width = flat_size(network.trainable), flat_size(network.statistics)
    if workers > 1:
        _check_shared_memory(4 * ((1 + workers) * size + (1 + shards) * width + images))

    def zeros(*shape: int) -> Tensor:
        tensor = torch.zeros(*shape, device=device)
        return tensor.share_memory_() if workers > 1 else tensor

    board = Board(
        zeros(size), zeros(width), zeros(workers, size), zeros(shards, width), zeros(shards, 2), zeros(images)
    )
    board.losses.fill_(float("inf"))
    move_into(board.parameters, network.trainable)
    for view, tensor in zip(views(board.statistics, network.statistics), network.statistics, strict=True):
        view.copy_(tensor)
    return board


def _check_shared_memory(needed: int) -> None:
    # Written past its end, shared memory kills the process without a word; containers often have 64 MB.
    if not SHARED_MEMORY.exists():
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed > free:
        raise MachineError(
            f"train: its processes share {needed / 1e6:,.0f} MB and {SHARED_MEMORY} has {free / 1e6:,.0f} MB free; "
            "set runtime.workers to 1, or give it more (docker run --shm-size)"
        )
