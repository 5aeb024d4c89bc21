"""Processes that compute a batch's shards together and update the weights: this one and its children, a thread each."""

import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, NamedTuple

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
from imageclf.training.loading import Batch, Loader, Preparation, cut
from imageclf.training.optimizers import Hyperparameters
from imageclf.training.ranks import ALONE, Ranks
from imageclf.training.shared import Board, Network, flat_size, make_board, owned_by
from imageclf.training.step import ShardWorker, choose_loss
from imageclf.training.update import Step, Updater, clip_factor, make_optimizers, unscale


@dataclass(frozen=True)
class Asked:
    """What is to be done after a step."""

    stop: int = 0  # the signal that asks for an end, if any
    save: bool = False  # a checkpoint, by the first rank's clock


ENDING = 10  # seconds that a process has for its end when its pipe is closed


class Scores(NamedTuple):
    """Sums over images: of the epoch so far, and since they were last read."""

    loss: float
    correct: float
    recent_loss: float


class Worker:
    """The part of one process in every step."""

    def __init__(self, shards: ShardWorker, updater: Updater) -> None:
        self._updater = updater
        self.compute, self.add_up = shards.compute, updater.add_up
        self.squares, self.update = updater.squares, updater.update
        self.count, self.catch_up, self.expect, self.close = shards.count, shards.catch_up, shards.expect, shards.close

    def memory(self, _: None) -> bytes:
        """The state of its optimisers, as safetensors."""
        return save({name: tensor.contiguous() for name, tensor in self._updater.memory().items()})


def make_worker(
    number: int,
    *,
    board: Board,
    network: Network,
    split: Split,
    augment: Augmentation,
    compute: Compute,
    recipe: Recipe,
    memory: dict[str, Tensor],
) -> Worker:
    """The worker `number` of a rank; `memory` is what optimisers kept when it was stopped, or empty."""
    preparation = Preparation(
        split,
        augment,
        Mixing(recipe.seed, recipe.augment.mixup, recipe.augment.cutmix),
        board.block(number),
        board.shards,
        resizes=network.classifier.network_size is None,  # else it scales them itself, from the size that they have
        resident=compute.resident,
        batch_size=recipe.batch_size,
    )
    shards = ShardWorker(
        number,
        board,
        network,
        Loader(preparation, compute),
        split.labels,
        weighted=recipe.class_weights == "balanced",
        loss_fn=choose_loss(recipe.loss, label_smoothing=recipe.label_smoothing),
        compute=compute,
        seed=recipe.seed,
    )
    hyper = Hyperparameters(recipe.lr, recipe.momentum, recipe.nesterov, recipe.weight_decay)
    make = partial(make_optimizers, recipe.optimizer, hyper=hyper)
    return Worker(shards, Updater(number, board, network, make, memory))


MakeWorker = Callable[[int], Worker]


def start_pool(
    network: Network,
    split: Split,
    augment: Augmentation,
    *,
    recipe: Recipe,
    compute: Compute,
    ranks: Ranks = ALONE,
    memory: dict[str, Tensor] | None = None,
) -> "WorkerPool":
    """The processes of a run over the training images `split`; `memory` is what optimisers kept when it was stopped.

    Raises:
        MachineError: there is too little shared memory.
    """
    board = make_board(
        network,
        images=len(split),
        shards=recipe.shards,
        workers=compute.workers,
        device=compute.device,
        scales=compute.precision == "fp16",
        rank=ranks.rank,
        ranks=ranks.count,
    )
    return WorkerPool(
        board,
        network,
        ranks,
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
    """`board.workers` processes of a rank, of which this is the first. Leaving the block ends the others."""

    def __init__(self, board: Board, network: Network, ranks: Ranks, make_worker: MakeWorker) -> None:
        self._board, self._ranks, self._owned = board, ranks, owned_by(ranks.count, network.trainable)
        self._parts = [flat_size(network.trainable[part.start : part.stop]) for part in self._owned]
        self._step, self._head_only = 0, False
        # Of the epoch, and since they were last read; on the device, as reading them waits for it. Apple's have no
        # float64.
        device = board.shard_scores.device
        self._sums = torch.zeros(2, 2, dtype=torch.float64, device="cpu" if device.type == "mps" else device)
        context: Any = multiprocessing.get_context(start_method())
        self._pipes: list[Connection] = []
        self._children = []
        for number in range(1, board.workers):
            ours, theirs = context.Pipe()
            arguments = (make_worker, number, theirs, [*self._pipes, ours])
            child = context.Process(target=_serve, args=arguments, daemon=True)
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
        self._own.close()

    def expect(self, batch: Batch) -> None:
        """Have this process load its shards of a batch that will be computed later, while it computes others."""
        self._own.expect(batch)

    @property
    def losses(self) -> Tensor:
        """Of each training image when it was last trained on, (N,); infinite before."""
        return self._board.losses

    @property
    def scaling(self) -> Tensor | None:
        """The loss scale in fp16, (2,)."""
        return self._board.scaling

    def compute(self, batch: Batch, asks: Callable[[], Asked] = Asked) -> Asked:
        """Compute a batch's gradients and add up its scores; return what is asked for.

        All of it is the same in every rank; `asks` tells what this one asks for.

        Raises:
            MachineError: a worker process has gone.
            RankLost: another rank has gone.
        """
        self._step, self._head_only = batch.step, batch.head_only
        self._all("compute", batch)
        self._own.count()  # the first shard is this process's in the first rank, and it always has images
        asked = self._exchange(batch, asks())
        self._sums += self._board.shard_scores[:, :2].to(self._sums.device).double().sum(0)
        return asked

    def scores(self) -> Scores:
        """What was added up, which waits for the device."""
        (loss, correct), (recent, _) = self._sums.tolist()
        self._sums[1] = 0
        return Scores(loss, correct, recent)

    def begin_epoch(self, loss: float = 0.0, correct: float = 0.0) -> None:
        """Add up from here, or from what an epoch had that goes on."""
        self._sums.copy_(torch.tensor([[loss, correct], [0, 0]], dtype=torch.float64))

    def update(self, rate: float, *, clip_norm: float = 0.0) -> None:
        """Change parameters and running statistics by what was computed, its norm at most `clip_norm` if above 0.

        Raises:
            MachineError: a worker process has gone.
            RankLost: another rank has gone.
        """
        board, ranks = self._board, self._ranks
        added = bool(clip_norm) or ranks.count > 1 or board.scaling is not None
        if added:
            self._all("add_up", None)
            ranks.add_up(board.gradients[0], self._parts)
        if board.scaling is not None:
            unscale(board.gradients[0], board.scaling, finite=board.shard_scores[:, 2].amin() > 0)
        factor = clip_factor(self._squares(), clip_norm) if clip_norm else None  # in the tensors' order
        self._all("update", Step(rate, self._head_only, added, factor))
        ranks.share((board.parameters, self._parts))
        self._own.catch_up()  # the classifier of this process is whole again

    def memory(self) -> dict[str, Tensor]:
        """The state of the optimisers, by name; in the first rank that of all ranks.

        Raises:
            MachineError: a worker process has gone.
            RankLost: another rank has gone.
        """
        own = _loaded(self._all("memory", None))
        return _loaded(self._ranks.to_first(save(own))) if self._ranks.count > 1 else own

    def _exchange(self, batch: Batch, asked: Asked) -> Asked:
        """Give all ranks what the shards of all leave on the board but their gradients; what any of them asks for."""
        ranks, board = self._ranks, self._board
        if ranks.count == 1:
            return asked
        device, flags = board.losses.device, torch.zeros(ranks.count, 2)
        flags[ranks.rank] = torch.tensor([asked.stop, asked.save])
        if device.type != "cpu":
            ranks.share((flags.view(-1), [2] * ranks.count))  # by gloo: no wait for the device, and a lost rank is seen
        own = board.shards // ranks.count
        shards = cut(batch, board.shards)
        images = [sum(map(len, shards[rank * own : (rank + 1) * own])) for rank in range(ranks.count)]
        indices = torch.from_numpy(batch.indices)
        if device.type == "cuda":
            indices = indices.pin_memory().to(device, non_blocking=True)
        counters = board.counters.float()  # exact up to 2**24 steps
        losses = board.losses[indices]
        ranks.share(
            (board.shard_statistics.view(-1), [own * board.statistics.numel()] * ranks.count),
            (board.shard_scores.view(-1), [own * board.shard_scores.shape[1]] * ranks.count),
            (losses, images),
            *([(flags.view(-1), [2] * ranks.count)] if device.type == "cpu" else []),
            (counters, [len(counters)] + [0] * (ranks.count - 1)),  # the first rank's: others can lack images
        )
        board.losses[indices] = losses
        board.counters.copy_(counters)
        return Asked(int(flags[:, 0].max()), bool(flags[0, 1]))

    def _squares(self) -> list[float]:
        """The squared norm of each gradient, from the workers of all ranks."""
        squares = torch.zeros(sum(map(len, self._owned)), dtype=torch.float64)
        for part in self._all("squares", None):
            for index, square in part.items():
                squares[index] = square
        self._ranks.share((squares, list(map(len, self._owned))))
        return squares.tolist()

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


def _loaded(parts: Iterable[bytes]) -> dict[str, Tensor]:
    return {name: tensor for part in parts for name, tensor in load(part).items()}


def _serve(make_worker: MakeWorker, number: int, pipe: Connection, inherited: list[Connection]) -> None:
    """A child's life: answer every call that comes, until the pipe closes."""
    for other in inherited:
        other.close()  # a copy of the parent's end here would keep the end of file from coming
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the stage's handler, which prints
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends the others
    end_with_parent()  # at once: the pipe is read only between two calls, of which the first takes seconds
    make_deterministic()  # a spawned process has inherited nothing
    keep_freed_memory()
    worker = make_worker(number)
    try:
        while True:
            call, argument = pipe.recv()
            pipe.send(getattr(worker, call)(argument))
    except (EOFError, BrokenPipeError):
        return
