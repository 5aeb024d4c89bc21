"""Processes that compute a batch's shards together: this one and its children, each with one thread."""

import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import torch
import torch.multiprocessing as multiprocessing
from torch import Tensor

from stages.console.errors import MachineError
from stages.training.shards import Batch, Board, ShardWorker, finish_step

MakeWorker = Callable[[int], ShardWorker]


class WorkerPool:
    """`board.workers` processes, of which this is the first. Leaving the block ends the others."""

    def __init__(self, board: Board, make_worker: MakeWorker) -> None:
        self._board = board
        # fork: a child starts at once and shares the images' memory. It is safe while this process has one thread.
        context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self._pipes: list[Connection] = []
        self._children = []
        for rank in range(1, board.workers):
            ours, theirs = context.Pipe()
            child = context.Process(target=_serve, args=(make_worker, rank, theirs, [*self._pipes, ours]), daemon=True)
            child.start()
            theirs.close()
            self._pipes.append(ours)
            self._children.append(child)
        self._own = make_worker(0)

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        for pipe in self._pipes:
            pipe.close()  # the child reads an end of file, and ends
        for child in self._children:
            if kind is not None:
                child.terminate()
            child.join()

    @property
    def gradient(self) -> Tensor:
        """The flat tensor behind every parameter's `.grad` in this process."""
        return self._own.gradient

    def compute(self, batch: Batch) -> tuple[float, float]:
        """Fill `gradient` with the batch's; return its sum of losses and its number of right answers.

        Raises:
            MachineError: a worker process has gone, for want of memory as a rule.
        """
        try:
            for pipe in self._pipes:
                pipe.send(batch)
            self._own.compute(batch)
            for pipe in self._pipes:
                pipe.recv()
        except torch.OutOfMemoryError:
            raise MachineError(
                f"train: the GPU's memory is full at step {batch.step + 1}; "
                "raise train.shards, or lower train.batch_size"
            ) from None
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise MachineError(
                f"train: a worker process ended at step {batch.step}, perhaps for want of memory; "
                "lower runtime.workers or train.batch_size"
            ) from None
        scores = finish_step(self._board, self._own.gradient)
        self._own.statistics.copy_(self._board.statistics)  # the classifier of this process is whole again
        return scores


def _serve(make_worker: MakeWorker, rank: int, pipe: Connection, inherited: list[Connection]) -> None:
    """A child's life: compute its shards of every batch that comes, until the pipe closes."""
    for other in inherited:
        other.close()  # a copy of the parent's end here would keep the end of file from coming
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the stage's, which speaks
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends the others
    torch.set_num_threads(1)
    worker = make_worker(rank)
    try:
        while True:
            worker.compute(pipe.recv())
            pipe.send(None)
    except (EOFError, BrokenPipeError):
        return
