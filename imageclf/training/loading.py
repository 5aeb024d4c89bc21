"""From a batch to its shards' images where the network is: read, augmented, mixed, resized, and sent ahead of time.

On a CPU a shard is prepared just before it is computed. For an accelerator a thread, or processes, prepare the next
batches, and each goes up in one piece. Images that fit stay on it: then only random draws go up.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.multiprocessing as multiprocessing
from torch import Tensor

from imageclf.augment import on_device
from imageclf.augment.mixing import Mixing
from imageclf.augment.transforms import Augment, Augmentation, Draws
from imageclf.images.dataset import Split
from imageclf.models.classifier import scaled
from imageclf.models.device import Compute
from imageclf.runtime.errors import MachineError
from imageclf.runtime.platform import keep_freed_memory, release_signals, signals_held
from imageclf.training.packed import EDGE, Plan, pack, plan_of, unpacked
from imageclf.training.shared import check_shared_memory


@dataclass(frozen=True)
class Batch:
    """One step's images: their indices in the training split, and where in the run the step stands."""

    indices: np.ndarray
    epoch: int
    step: int  # counted over the whole run
    scale: float = 1.0  # of the images' sides, as they are trained on
    epochs: np.ndarray | None = (
        None  # of each image its epoch index in augmentation, where one can come twice in an epoch
    )
    head_only: bool = False  # only the last layer is trained


def cut(batch: Batch, shards: int) -> list[np.ndarray]:
    """The positions in the batch of each shard's images."""
    return np.array_split(np.arange(len(batch.indices)), shards)


@dataclass(frozen=True)
class Loaded:
    """A shard's images uint8 (n, h, w, C) on the device, as they are trained on, and how they were mixed, if so."""

    images: Tensor
    indices: Tensor  # (n,) int64, in the training split
    partners: Tensor | None = None  # (n,) int64, positions in the shard
    fractions: Tensor | None = None  # (n,) float32, of each image that is its own


@dataclass(frozen=True)
class Preparation:
    """What the host does for a shard; it can be sent to another process."""

    split: Split
    augment: Augmentation
    mixing: Mixing
    block: range  # of the worker's shards,
    shards: int  # among all of a batch
    resizes: bool  # here, not in the network
    resident: bool  # the images are on the device: only random draws are made
    batch_size: int  # of the largest batch

    def of_shard(self, batch: Batch, shard: int, positions: np.ndarray) -> list[np.ndarray]:
        """Arrays that `finished` makes images of."""
        indices = batch.indices[positions]
        epochs = batch.epoch if batch.epochs is None else batch.epochs[positions]
        height, width = self.split.images.shape[1:3]
        mixture = None
        if self.mixing.on:
            mixture = self.mixing.draw(len(indices), (height, width), step=batch.step, shard=shard)
        mixed = [mixture.partners, mixture.fractions] if mixture else []
        if self.resident:
            assert isinstance(self.augment, Augment)
            draws = Draws(self.augment.seed, epochs, indices)
            plan = on_device.drawn(self.augment.params, draws, (height, width))
            return [indices, *mixed, *plan, *(on_device.arrays_of(mixture) if mixture else [])]
        images = self.augment(self.split.images, indices, epochs)
        if mixture:
            images = mixture.of(images)
        if self.resizes:
            images = scaled(torch.from_numpy(images), batch.scale).numpy()
        return [indices, *mixed, images]

    def of_block(self, batch: Batch) -> dict[int, list[np.ndarray]]:
        """The arrays of each shard that has images."""
        pieces = cut(batch, self.shards)
        return {shard: self.of_shard(batch, shard, pieces[shard]) for shard in self.block if len(pieces[shard])}

    def finished(self, tensors: Sequence[Tensor], batch: Batch, images: Tensor | None) -> Loaded:
        """A shard from its arrays, which are on the device, where `images` (N, H, W, C) are if they are resident."""
        indices, *rest = tensors
        partners, fractions = (rest.pop(0), rest.pop(0)) if self.mixing.on else (None, None)
        if images is None:
            return Loaded(rest[0], indices, partners, fractions)
        made = on_device.augmented(images, indices, rest[: on_device.PLANNED])
        if partners is not None:
            made = on_device.mixed(made, partners, *rest[on_device.PLANNED :])
        if self.resizes:
            made = on_device.scaled(made, batch.scale)
        return Loaded(made, indices, partners, fractions)


class Loader:
    """Loads the shards of a worker's block, and those of later batches that it is told to expect."""

    def __init__(self, preparation: Preparation, compute: Compute) -> None:
        self._preparation, self._compute = preparation, compute
        self._images: Tensor | None = None
        if preparation.resident:
            self._images = torch.from_numpy(np.array(preparation.split.images)).to(compute.device)
        # Either begins with the first batch that is expected.
        self._ahead: Ahead = Processes(preparation, compute) if compute.loaders else Thread(preparation)
        self._step, self._sent = -1, dict[int, list[Tensor]]()  # the batch that is on the device, by shard

    def expect(self, batch: Batch) -> None:
        """Prepare this worker's shards of a batch that will be asked for later, unless none of them has images."""
        if len(cut(batch, self._preparation.shards)[self._preparation.block.start]):  # nor have those after it
            self._ahead.expect(batch)

    def shard(self, batch: Batch, shard: int, positions: np.ndarray) -> Loaded:
        """A shard that has images: those at `positions` (n,) in the batch."""
        if not self._compute.packed:
            arrays = self._preparation.of_shard(batch, shard, positions)
            return self._preparation.finished([torch.from_numpy(array) for array in arrays], batch, self._images)
        if self._step != batch.step:
            sent, plan = self._ahead.packed(batch, self._send)
            self._step, self._sent = batch.step, {shard: unpacked(sent, places) for shard, places in plan.items()}
        return self._preparation.finished(self._sent[shard], batch, self._images)

    def _send(self, piece: Tensor) -> Tensor:
        """A copy on the device; `piece` is not needed any more."""
        if self._compute.pinned:
            return piece.pin_memory().to(self._compute.device, non_blocking=True)
        return piece.to(self._compute.device, copy=True)

    def close(self) -> None:
        """End the processes, if there are any."""
        self._ahead.close()


Send = Callable[[Tensor], Tensor]


class Thread:
    """Prepares batches in a thread."""

    def __init__(self, preparation: Preparation) -> None:
        self._preparation = preparation
        self._thread = ThreadPoolExecutor(1)
        self._expected: dict[int, Future[tuple[Tensor, Plan]]] = {}  # by step

    def expect(self, batch: Batch) -> None:
        self._expected[batch.step] = self._thread.submit(self._packed, batch)

    def packed(self, batch: Batch, send: Send) -> tuple[Tensor, Plan]:
        """A batch in one piece of memory, sent."""
        expected = self._expected.pop(batch.step, None)
        piece, plan = expected.result() if expected else self._packed(batch)
        return send(piece), plan

    def _packed(self, batch: Batch) -> tuple[Tensor, Plan]:
        arrays = self._preparation.of_block(batch)
        plan, size = plan_of(arrays)
        piece = torch.empty(size, dtype=torch.uint8)
        pack(arrays, plan, piece)
        return piece, plan

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)


class Processes:
    """Prepares batches in processes of their own, each batch by one of them in a piece of shared memory."""

    def __init__(self, preparation: Preparation, compute: Compute) -> None:
        self._preparation, self._count = preparation, compute.loaders
        self._pieces, self._free = list[Tensor](), list(range(compute.prefetch + 1))
        self._expected: dict[int, tuple[int, Future[Plan]]] = {}  # by step: a piece, and what lies where in it
        self._pool: ProcessPoolExecutor | None = None

    def expect(self, batch: Batch) -> None:
        """Raises MachineError: there is too little shared memory, or a process has gone."""
        pool = self._pool or self._start()
        piece = self._free.pop()
        with signals_held(), _whole(batch):  # a process that starts here is not to be ended by Ctrl-C yet
            self._expected[batch.step] = piece, pool.submit(_prepare, batch, piece)

    def _start(self) -> ProcessPoolExecutor:
        size = piece_size(self._preparation)
        check_shared_memory(len(self._free) * size, "set runtime.loaders to 0")
        self._pieces = [torch.zeros(size, dtype=torch.uint8).share_memory_() for _ in self._free]
        # Not a fork: this process may have a GPU's context, and has threads.
        context = multiprocessing.get_context("spawn")
        arguments = (self._preparation, self._pieces)
        self._pool = ProcessPoolExecutor(self._count, context, initializer=_begin, initargs=arguments)
        return self._pool

    def packed(self, batch: Batch, send: Send) -> tuple[Tensor, Plan]:
        """A batch, sent.

        Raises:
            MachineError: a process has gone.
        """
        if batch.step not in self._expected:
            self.expect(batch)
        piece, future = self._expected.pop(batch.step)
        with _whole(batch):
            plan = future.result()
        sent = send(self._pieces[piece][: max(place.end for places in plan.values() for place in places)])
        self._free.append(piece)
        return sent, plan

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)


Ahead = Thread | Processes


def piece_size(preparation: Preparation) -> int:
    """Bytes that a batch needs at most, with the numbers of its images."""
    image = preparation.split.images[:1]
    height, width = image.shape[1:3]
    numbers = 16 * (height + width) + 4 * EDGE
    return preparation.batch_size * (image.nbytes + numbers) + len(preparation.block) * 16 * EDGE


@contextmanager
def _whole(batch: Batch) -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise MachineError(
            f"train: a loader process was killed before step {batch.step + 1}; if memory was short, lower "
            "runtime.loaders or train.batch_size; dvc repro goes on from the last checkpoint"
        ) from None


_MINE: list[tuple[Preparation, list[Tensor]]] = []  # of a loader process


def _begin(preparation: Preparation, pieces: list[Tensor]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # they can reach all; the parent ends the others
        signal.signal(number, signal.SIG_IGN)
    release_signals()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    keep_freed_memory()
    _MINE.append((preparation, pieces))


def _end_with_parent() -> None:
    """On every system: the queue that this process waits at does not end with the parent."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _prepare(batch: Batch, piece: int) -> Plan:
    ((preparation, pieces),) = _MINE
    arrays = preparation.of_block(batch)
    plan, _ = plan_of(arrays)
    pack(arrays, plan, pieces[piece])
    return plan
