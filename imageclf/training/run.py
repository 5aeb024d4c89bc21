"""One training run: where it stands between two steps, which batch is next, how it is saved and restored."""

import math
from collections import deque
from dataclasses import asdict, dataclass, field

import numpy as np
import torch

from imageclf.runtime.errors import Diverged
from imageclf.training.auto import Recipe
from imageclf.training.checkpoint import Checkpoint
from imageclf.training.loading import Batch
from imageclf.training.outcome import Outcome, Row, has_stalled
from imageclf.training.schedule import epoch_order, hardest, plan_course, rate_factor
from imageclf.training.shared import Network
from imageclf.training.workers import WorkerPool

LOSSES, ORDER, SCALING = "losses", "order", "scaling"  # their names in a checkpoint


@dataclass
class Position:
    """Where a run stands: steps done, sums over the epoch so far, a row for each finished epoch."""

    step: int = 0
    loss_sum: float = 0.0
    correct: float = 0.0
    seen: int = 0
    history: list[Row] = field(default_factory=list)


class Run:
    """Everything that a step changes."""

    def __init__(
        self, network: Network, pool: WorkerPool, labels: np.ndarray, recipe: Recipe, *, prefetch: int
    ) -> None:
        """`labels` (N,) are those of the training images; `prefetch` batches are loaded ahead."""
        self._network, self._pool, self._labels, self._recipe = network, pool, labels, recipe
        self.outcome = Outcome(network, ema=recipe.ema, keep=recipe.keep)
        self._course = plan_course(len(labels), recipe)
        self.total, self.batch_size = self._course.total, self._course.batch_size
        self.position = Position()
        self._scales = recipe.scales
        self._order = np.empty(0, np.int64)  # of the images in this epoch, and the epoch index of each
        self._epochs: np.ndarray | None = None
        self._ordered = -1  # the epoch that they are for
        self._prefetch, self._coming = prefetch, deque[Batch]()  # the batches of the next steps
        self._unread, self._read = 0, 0  # images since the loss was last read, and the step then

    def next_batch(self) -> Batch:
        """The images of the next step."""
        here = self.position.step
        epoch, _ = self._course.place(here)
        # Not past the epoch's end: the order of the next one can depend on losses that are yet to be computed.
        until = min(here + self._prefetch + 1, self._course.ends[epoch])
        for step in range(here + len(self._coming), until):
            self._coming.append(self._batch(step))
            if self._prefetch:
                self._pool.expect(self._coming[-1])
        return self._coming.popleft()

    def _batch(self, number: int) -> Batch:
        """The images of a step: a piece of an order that is a function of (seed, epoch), and of the losses."""
        epoch, step = self._course.place(number)
        if epoch != self._ordered:
            self._order, self._epochs = epoch_order(self._labels, self._recipe.sampling, self._recipe.seed, epoch)
            if self._course.images[epoch] < len(self._order):
                self._order = hardest(self._order, self._pool.losses.cpu().numpy(), self._course.images[epoch])
            self._ordered = epoch
        piece = slice(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = None if self._epochs is None else self._epochs[piece]
        scale = self._scales[len(self._scales) * number // self.total]
        return Batch(self._order[piece], epoch, number, scale, epochs, self._course.is_head_only(number))

    def rate(self) -> float:
        """The learning rate of the next step."""
        recipe, course, step = self._recipe, self._course, self.position.step
        first, after = course.phase(step)
        return recipe.lr * rate_factor(
            recipe.schedule,
            step - course.begin(first),
            total=course.begin(after) - course.begin(first),
            warmup=recipe.warmup,
            final=recipe.final_lr,
            drop=recipe.step_factor ** ((course.place(step)[0] - first) // recipe.step_epochs),
        )

    def count(self, batch: Batch) -> None:
        """Count the images of a batch that is computed."""
        self.position.seen += len(batch.indices)
        self._unread += len(batch.indices)

    def read_loss(self, rate: float) -> float:
        """The mean loss over the images since it was last read; it waits for the device.

        Raises:
            Diverged: it is nan or infinite; `rate` is the learning rate of the step.
        """
        position, scores = self.position, self._pool.scores()
        position.loss_sum, position.correct = scores.loss, scores.correct
        loss, self._unread = scores.recent_loss / self._unread, 0
        first, last = self._read + 1, position.step + 1
        if not math.isfinite(loss):
            when = f"at step {last}" if first == last else f"between steps {first} and {last}"
            raise diverged(f"the loss became {loss} {when}", rate)
        self._read = last
        return loss

    def advance(self) -> None:
        """Count a step that is done."""
        self.position.step += 1
        self.outcome.follow(self.position.step)

    @property
    def is_over(self) -> bool:
        """Whether all steps are done, or validation has stalled for `train.patience` epochs since all layers train."""
        return self.position.step >= self.total or has_stalled(
            self.position.history[self._recipe.freeze_epochs :], self._recipe.patience
        )

    def ends_epoch(self, batch: Batch) -> bool:
        """Whether a batch is the last one of its epoch."""
        return batch.step + 1 in self._course.ends

    def end_epoch(self, rate: float, validation: Row) -> Row:
        """Turn the sums over the epoch into its row; the weights that `validation` is of are still in place.

        Raises:
            Diverged: the weights, or their answers, are no longer finite: the last step may have done it.
        """
        position = self.position
        if not (np.isfinite(list(validation.values())).all() and self._network.is_finite()):
            raise diverged(f"the weights are nan or infinite after step {position.step}", rate)
        row = {
            "epoch": len(position.history) + 1,
            "train_loss": position.loss_sum / position.seen,
            "train_top1": position.correct / position.seen,
            "lr": rate,
        } | validation
        self.position = Position(position.step, history=[*position.history, row])
        self._pool.begin_epoch()
        self.outcome.consider(self.position.history)
        return row

    def checkpoint(self) -> Checkpoint:
        """All of it. No generator is in it: all randomness is a function of the seed and the position."""
        tensors = self._network.tensors() | self._pool.memory() | self.outcome.tensors()
        if min(self._course.images) < len(self._labels):
            tensors |= {LOSSES: self._pool.losses, ORDER: torch.from_numpy(self._order)}
        if self._pool.scaling is not None:
            tensors |= {SCALING: self._pool.scaling}
        return Checkpoint(self.position.step, tensors, asdict(self.position))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Stand where the checkpoint was taken; network and optimisers were restored before the workers began."""
        self.position = Position(**checkpoint.facts)
        self._pool.begin_epoch(self.position.loss_sum, self.position.correct)
        self._read = self.position.step
        self.outcome.restore(checkpoint.tensors)
        if self._pool.scaling is not None and SCALING in checkpoint.tensors:
            self._pool.scaling.copy_(checkpoint.tensors[SCALING])
        if LOSSES in checkpoint.tensors:
            self._pool.losses.copy_(checkpoint.tensors[LOSSES])
            # Chosen by the losses at the epoch's begin, which are no more.
            self._order = checkpoint.tensors[ORDER].numpy()
            self._ordered, _ = self._course.place(checkpoint.step - 1)


def diverged(how: str, rate: float) -> Diverged:
    """What ends a run that cannot be saved; `rate` is the learning rate of the step."""
    return Diverged(f"train: {how} (learning rate {rate:.4g}); try a smaller train.lr or a longer train.warmup")
