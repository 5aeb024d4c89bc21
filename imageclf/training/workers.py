"""Processes that compute a batch's shards together and update the weights: this one and its children, a thread each."""

import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

import torch
import torch.multiprocessing as multiprocessing
from safetensors.torch import load, save
from torch import Tensor

from imageclf.augment.mixing import Mixing
from imageclf.augment.transforms import Augmentation
from imageclf.images.dataset import Split
from imageclf.models.device import Compute, make_deterministic
from imageclf.runtime.errors import MachineError
from imageclf.runtime.platform import end_with_parent, how_it_ended, keep_freed_memory, start_method
from imageclf.training.auto import Recipe
from imageclf.training.optimizers import Hyperparameters
from imageclf.training.shared import Board, Network, make_board
from imageclf.training.step import Batch, ShardWorker, choose_loss
from imageclf.training.update import Updater, clip_factor, make_optimizers

ENDING = 10  # seconds that a process has for its end when its pipe is closed


class Worker:
    """The part of one process in every step."""

    def __init__(self, shards: ShardWorker, updater: Updater) -> None:
        self._shards, self._updater = shards, updater
        self.compute, self.squares, self.update = shards.compute, updater.squares, updater.update
        self.catch_up, self.expect = shards.catch_up, shards.expect

    def memory(self, _: None) -> bytes:
        """The state of its optimisers, as safetensors."""
        return save({name: tensor.contiguous() for name, tensor in self._updater.memory().items()})


def make_worker(
    rank: int,
    *,
    board: Board,
    network: Network,
    split: Split,
    augment: Augmentation,
    compute: Compute,
    recipe: Recipe,
    memory: dict[str, Tensor],
) -> Worker:
    """The worker `rank` of a run; `memory` is what optimisers kept when it was stopped, or empty."""
    shards = ShardWorker(
        rank,
        board,
        network,
        split,
        augment=augment,
        mixing=Mixing(recipe.seed, recipe.augment.mixup, recipe.augment.cutmix),
        weighted=recipe.class_weights == "balanced",
        loss_fn=choose_loss(recipe.loss, label_smoothing=recipe.label_smoothing),
        compute=compute,
        seed=recipe.seed,
    )
    hyper = Hyperparameters(recipe.lr, recipe.momentum, recipe.nesterov, recipe.weight_decay)
    make = partial(make_optimizers, recipe.optimizer, hyper=hyper)
    return Worker(shards, Updater(rank, board, network, make, memory))


MakeWorker = Callable[[int], Worker]


def start_pool(
    network: Network,
    split: Split,
    augment: Augmentation,
    *,
    recipe: Recipe,
    compute: Compute,
    memory: dict[str, Tensor] | None = None,
) -> "WorkerPool":
    """The processes of a run over the training images `split`; `memory` is what optimisers kept when it was stopped.

    Raises:
        MachineError: there is too little shared memory.
    """
    board = make_board(network, images=len(split), shards=recipe.shards, workers=compute.workers, device=compute.device)
    return WorkerPool(
        board,
        partial(
            make_worker,
            board=board,
            network=network,
            split=split,
            augment=augment,
            compute=compute,
            recipe=recipe,
            memory=memory or {},
        ),
    )


class WorkerPool:
    """`board.workers` processes, of which this is the first. Leaving the block ends the others."""

    def __init__(self, board: Board, make_worker: MakeWorker) -> None:
        self._board, self._step, self._head_only = board, 0, False
        context: Any = multiprocessing.get_context(start_method())
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

    def expect(self, batch: Batch) -> None:
        """Have this process load its shards of a batch that will be computed later, while it computes others."""
        self._own.expect(batch)

    @property
    def losses(self) -> Tensor:
        """Of each training image when it was last trained on, (N,); infinite before."""
        return self._board.losses

    def compute(self, batch: Batch) -> tuple[float, float]:
        """Compute a batch's gradients; return its sum of losses and its number of correct answers.

        Raises:
            MachineError: a worker process has gone.
        """
        self._step, self._head_only = batch.step, batch.head_only
        self._all("compute", batch)
        loss, correct = self._board.shard_scores.cpu().double().sum(0).tolist()
        return loss, correct

    def update(self, rate: float, *, clip_norm: float = 0.0) -> None:
        """Change parameters and running statistics by what was computed, its norm at most `clip_norm` if above 0."""
        factor = clip_factor(self._all("squares", None), clip_norm) if clip_norm else None
        self._all("update", (rate, factor, self._head_only))
        self._own.catch_up()  # the classifier of this process is whole again

    def memory(self) -> dict[str, Tensor]:
        """The state of the optimisers, by name."""
        return {name: tensor for part in self._all("memory", None) for name, tensor in load(part).items()}

    def _all(self, call: str, argument: object) -> list[Any]:
        """The answers of every worker to one call."""
        try:
            for pipe in self._pipes:
                pipe.send((call, argument))
            own = getattr(self._own, call)(argument)
            return [own, *(pipe.recv() for pipe in self._pipes)]
        except torch.OutOfMemoryError:
            raise MachineError(
                f"train: the GPU's memory is full at step {self._step + 1}; "
                "raise train.shards, or lower train.batch_size"
            ) from None
        except (EOFError, BrokenPipeError, ConnectionResetError):
            wait([child.sentinel for child in self._children], ENDING)
            code = next((child.exitcode for child in self._children if child.exitcode is not None), None)
            raise MachineError(
                f"train: a worker process at step {self._step} {how_it_ended(code)}; if memory was short, lower "
                "runtime.workers or train.batch_size; dvc repro goes on from the last checkpoint"
            ) from None


def _serve(make_worker: MakeWorker, rank: int, pipe: Connection, inherited: list[Connection]) -> None:
    """A child's life: answer every call that comes, until the pipe closes."""
    for other in inherited:
        other.close()  # a copy of the parent's end here would keep the end of file from coming
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the stage's handler, which prints
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends the others
    end_with_parent()  # at once: the pipe is read only between two calls, of which the first takes seconds
    make_deterministic()  # a spawned process has inherited nothing
    keep_freed_memory()
    worker = make_worker(rank)
    try:
        while True:
            call, argument = pipe.recv()
            pipe.send(getattr(worker, call)(argument))
    except (EOFError, BrokenPipeError):
        return
