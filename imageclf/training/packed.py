"""The arrays of a batch in one piece of memory, so that it goes to an accelerator in one copy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

EDGE = 64  # bytes; an array begins at a multiple of it


@dataclass(frozen=True)
class Place:
    """Where in the piece an array lies."""

    begin: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def end(self) -> int:
        return self.begin + int(np.prod(self.shape)) * self.dtype.itemsize


Plan = dict[int, list[Place]]  # by shard


def plan_of(arrays: dict[int, list[np.ndarray]]) -> tuple[Plan, int]:
    """Where the arrays of each shard are to lie, and how many bytes they need in all."""
    plan, end = Plan(), 0
    for shard, each in arrays.items():
        plan[shard] = []
        for array in each:
            plan[shard].append(Place(end, array.shape, array.dtype))
            end = -(-plan[shard][-1].end // EDGE) * EDGE
    return plan, end


def pack(arrays: dict[int, list[np.ndarray]], plan: Plan, piece: Tensor) -> None:
    """Copy the arrays to their places in the piece uint8 (bytes,)."""
    room = piece.numpy()
    for shard, places in plan.items():
        for place, array in zip(places, arrays[shard], strict=True):
            room[place.begin : place.end] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def unpacked(piece: Tensor, places: Sequence[Place]) -> list[Tensor]:
    """The arrays at the places, where the piece is; nothing is copied."""
    kinds = [torch.from_numpy(np.empty(0, place.dtype)).dtype for place in places]
    return [
        piece[place.begin : place.end].view(kind).view(place.shape) for place, kind in zip(places, kinds, strict=True)
    ]
