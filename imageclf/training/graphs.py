"""CUDA graphs: the kernels of a shard are recorded once, and from then on a GPU is given all of them at once.

A GPU computes a small network faster than Python can name its kernels. A replay runs the same kernels on the same
memory, so it gives the same bits.
"""

from collections.abc import Callable, Hashable
from typing import NamedTuple

import torch
from torch import Tensor

from imageclf.models.device import Compute

Outputs = tuple[Tensor, ...]
Function = Callable[..., Outputs]  # of what is no tensor, in a tuple, and of tensors or None
Record = Callable[[Callable[[], Outputs]], tuple[Outputs, Callable[[], None]]]  # a function; its outputs, its replay
MOST = 16  # recordings: each keeps its memory


class Recording(NamedTuple):
    """A function's kernels, and the memory that they read and write."""

    inputs: list[Tensor | None]
    outputs: Outputs
    replay: Callable[[], None]


class Replayed:
    """A function that is recorded when it is called for the second time with tensors of the same shapes.

    It must not wait for the device, and may change only tensors that keep their place. What it returns is valid until
    it is called again.
    """

    def __init__(self, function: Function, record: Record) -> None:
        self._function, self._record = function, record
        self._recordings: dict[Hashable, Recording | None] = {}  # None: called once

    def __call__(self, kind: tuple[Hashable, ...], *given: Tensor | None) -> Outputs:
        shapes = tuple(None if each is None else (each.shape, each.stride(), each.dtype) for each in given)
        key = (kind, shapes)
        if key not in self._recordings:  # libraries choose their kernels in the first call
            if len(self._recordings) < MOST:
                self._recordings[key] = None
            return self._function(kind, *given)
        recording = self._recordings[key]
        if recording is None:
            inputs = [None if each is None else each.clone() for each in given]
            outputs, replay = self._record(lambda: self._function(kind, *inputs))
            recording = self._recordings[key] = Recording(inputs, outputs, replay)
        for kept, each in zip(recording.inputs, given, strict=True):
            if kept is not None and each is not None:
                kept.copy_(each)
        recording.replay()
        return recording.outputs


def replayed(function: Function, compute: Compute) -> Function:
    """The function, as a CUDA graph if that is asked for and the device has them."""
    if not compute.graphs or compute.device.type != "cuda":
        return function
    pool = torch.cuda.graph_pool_handle()  # of one recording at a time, as each output is read before the next replay

    def record(call: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
        graph = torch.cuda.CUDAGraph()
        # Of this thread alone: others upload images meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            outputs = call()
        return outputs, graph.replay

    return Replayed(function, record)
