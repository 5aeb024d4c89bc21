"""Training: steps from the first, or from where a run was stopped, to the last; each epoch scored on validation."""

import signal
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np
import torch

from imageclf.augment.transforms import Augment
from imageclf.config.train import TrainParams
from imageclf.evaluation.inference import predict_logits
from imageclf.evaluation.scores import top_k_accuracy
from imageclf.images.dataset import Split
from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute
from imageclf.runtime.errors import Diverged, Stopped
from imageclf.runtime.progress import Progress
from imageclf.runtime.stage import StopWish
from imageclf.training.checkpoint import Checkpoint, Checkpoints
from imageclf.training.log import RunLog
from imageclf.training.outcome import Outcome, Row, has_stalled
from imageclf.training.schedule import epoch_order, hardest, plan_course, rate_factor
from imageclf.training.shared import Network, make_board
from imageclf.training.step import Batch, Objective, choose_objective
from imageclf.training.workers import WorkerPool, make_worker

LOSSES, ORDER = "losses", "order"  # their names in a checkpoint


@dataclass
class Position:
    """Where a run stands: steps done, sums over the epoch so far, a row for each finished epoch."""

    step: int = 0
    loss_sum: float = 0.0
    right: float = 0.0
    seen: int = 0
    history: list[Row] = field(default_factory=list)


class Run:
    """Everything that a step changes."""

    def __init__(
        self, network: Network, pool: WorkerPool, labels: np.ndarray, recipe: TrainParams, *, prefetch: int
    ) -> None:
        """`labels` (N,) are those of the training images; `prefetch` batches are loaded ahead."""
        assert not isinstance(recipe.scales, str)
        self._network, self._pool, self._labels, self._recipe = network, pool, labels, recipe
        self.outcome = Outcome(network, ema=recipe.ema, keep=recipe.keep)
        self._course = plan_course(len(labels), recipe)
        self.total, self.batch_size = self._course.total, self._course.batch_size
        self.position = Position()
        self._scales = recipe.scales
        self._order = np.empty(0, np.int64)  # of the images in this epoch, and their turns
        self._turns: np.ndarray | None = None
        self._ordered = -1  # the epoch that they are for
        self._prefetch, self._coming = prefetch, deque[Batch]()  # the batches of the next steps

    def next_batch(self) -> Batch:
        """The images of the next step."""
        here = self.position.step
        epoch, _ = self._course.place(here)
        # Not past the epoch's end: the order of the next one can hang on losses that are yet to come.
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
            self._order, self._turns = epoch_order(self._labels, self._recipe.sampling, self._recipe.seed, epoch)
            if self._course.images[epoch] < len(self._order):
                self._order = hardest(self._order, self._pool.losses.cpu().numpy(), self._course.images[epoch])
            self._ordered = epoch
        piece = slice(step * self.batch_size, (step + 1) * self.batch_size)
        turns = None if self._turns is None else self._turns[piece]
        scale = self._scales[len(self._scales) * number // self.total]
        return Batch(self._order[piece], epoch, number, scale, turns)

    def rate(self) -> float:
        """The learning rate of the next step."""
        recipe = self._recipe
        return recipe.lr * rate_factor(
            recipe.schedule,
            self.position.step,
            total=self.total,
            warmup=recipe.warmup,
            final=recipe.final_lr,
            drop=recipe.step_factor ** (self._course.place(self.position.step)[0] // recipe.step_epochs),
        )

    def take(self, batch: Batch, rate: float) -> float:
        """One step; the batch's mean loss.

        Raises:
            Diverged: it is nan or infinite.
        """
        loss, right = self._pool.compute(batch)
        if not np.isfinite(loss):
            raise _diverged(f"the loss became {loss} at step {batch.step + 1}", rate)
        self._pool.update(rate, clip_norm=self._recipe.clip_norm)
        position = self.position
        position.step += 1
        self.outcome.follow(position.step)
        position.loss_sum, position.right = position.loss_sum + loss, position.right + right
        position.seen += len(batch.indices)
        return loss / len(batch.indices)

    @property
    def at_epochs_end(self) -> bool:
        """Whether the last step was the last one of an epoch."""
        return self.position.step in self._course.ends

    def end_epoch(self, rate: float, validation: Row) -> Row:
        """Turn the sums over the epoch into its row; the weights that `validation` is of are still in place.

        Raises:
            Diverged: the weights, or their answers, are no longer finite: the last step may have done it.
        """
        position = self.position
        if not (np.isfinite(list(validation.values())).all() and self._network.is_finite()):
            raise _diverged(f"the weights are nan or infinite after step {position.step}", rate)
        row = {
            "epoch": len(position.history) + 1,
            "train_loss": position.loss_sum / position.seen,
            "train_top1": position.right / position.seen,
            "lr": rate,
        } | validation
        self.position = Position(position.step, history=[*position.history, row])
        self.outcome.consider(self.position.history)
        return row

    def checkpoint(self) -> Checkpoint:
        """All of it. No generator is in it: every chance is a function of the seed and the position."""
        tensors = self._network.tensors() | self._pool.memory() | self.outcome.tensors()
        if min(self._course.images) < len(self._labels):
            tensors |= {LOSSES: self._pool.losses, ORDER: torch.from_numpy(self._order)}
        return Checkpoint(self.position.step, tensors, asdict(self.position))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Stand where the checkpoint was taken; network and optimisers were restored before the workers began."""
        self.position = Position(**checkpoint.facts)
        self.outcome.restore(checkpoint.tensors)
        if LOSSES in checkpoint.tensors:
            self._pool.losses.copy_(checkpoint.tensors[LOSSES])
            # Chosen by the losses at the epoch's begin, which are no more.
            self._order = checkpoint.tensors[ORDER].numpy()
            self._ordered, _ = self._course.place(checkpoint.step - 1)


def _diverged(how: str, rate: float) -> Diverged:
    return Diverged(f"train: {how} (learning rate {rate:.4g}); try a smaller train.lr or a longer train.warmup")


PICTURED = 4  # images whose feature maps are shown


def fit(
    classifier: Classifier,
    train: Split,
    val: Split,
    *,
    recipe: TrainParams,
    augment: Augment,
    compute: Compute,
    begun: Checkpoint | None,
    checkpoints: Checkpoints,
    checkpoint_every: float,
    log: RunLog,
    log_every: int,
) -> list[Row]:
    """Train the classifier in place, from the checkpoint `begun` if there is one; a row of scores for each epoch.

    In `recipe` scales and shards are resolved. It ends with the weights that `recipe.keep` and `recipe.ema` ask for,
    before the last epoch by `recipe.patience`.

    Raises:
        Diverged: the loss is nan or infinite.
        MachineError: a worker process has gone.
        Stopped: Ctrl-C or SIGTERM came, and a checkpoint is written.
    """
    # 1. The network, as it was if this run was stopped before.
    objective = choose_objective(recipe.loss, label_smoothing=recipe.label_smoothing)
    assert isinstance(recipe.shards, int)
    network = Network(classifier, head_lr=recipe.head_lr)
    if begun:
        network.restore(begun.tensors)
    board = make_board(network, images=len(train), shards=recipe.shards, workers=compute.workers, device=compute.device)
    make = partial(
        make_worker,
        board=board,
        network=network,
        split=train,
        augment=augment,
        objective=objective,
        compute=compute,
        recipe=recipe,
        memory=begun.tensors if begun else {},
    )
    with WorkerPool(board, make) as pool, StopWish() as wish:
        # A thread ahead would share torch's one generator, which the policies draw from, with the network.
        prefetch = compute.prefetch if recipe.augment.policy == "none" else 0
        run = Run(network, pool, train.labels, recipe, prefetch=prefetch)
        if begun:
            run.restore(begun)
            print(f"train: resuming at step {begun.step:,}/{run.total:,} from its checkpoint", flush=True)

        # 2. Step after step.
        with Progress("train", total=run.total * run.batch_size, unit="img") as progress:
            progress.skip(run.position.step * run.batch_size)
            saved = time.monotonic()
            while run.position.step < run.total and not has_stalled(run.position.history, recipe.patience):
                rate = _step(run, recipe, progress, log, log_every)
                if run.at_epochs_end:
                    with run.outcome.shown():
                        row = run.end_epoch(rate, _validate(classifier, val, objective, compute))
                    _tell(row, recipe.epochs, run.position.step, progress, log)
                    log.insides(run.position.step, classifier, train.images[:PICTURED])
                if wish.number or time.monotonic() - saved >= checkpoint_every:
                    log.flush()  # first: what is taken up again from there has been logged
                    checkpoints.save(run.checkpoint())
                    saved = time.monotonic()
                if wish.number:
                    raise Stopped(_farewell(wish.number, run), wish.number)
        run.outcome.settle()
    return run.position.history


def _step(run: Run, recipe: TrainParams, progress: Progress, log: RunLog, log_every: int) -> float:
    """Take a step and show it; its learning rate."""
    begun = time.monotonic()
    batch, rate = run.next_batch(), run.rate()
    loss = run.take(batch, rate)
    images = len(batch.indices)
    if batch.step % log_every == 0:
        values = {"loss": loss, "lr": rate, "images_per_second": images / (time.monotonic() - begun)}
        # The HParams tab shows the first five scalars in the alphabet: those of the epochs come before these.
        log.scalars(batch.step, {f"within epochs/{name}": value for name, value in values.items()})
    progress.advance(images, note=f"epoch {batch.epoch + 1}/{recipe.epochs}, loss {loss:.3f}")
    return rate


def _validate(classifier: Classifier, val: Split, objective: Objective, compute: Compute) -> Row:
    """Loss and accuracy on the validation split, the loss being the one that is trained for, without class weights.

    Mirror images are left to evaluate: here they would cost as much as a tenth of the training.
    """
    if len(val) == 0:
        return {}
    with classifier.one_look():
        logits = predict_logits(
            classifier, val.images, device=compute.device, threads=compute.workers, autocast=compute.autocast
        )
    loss = objective(logits, torch.from_numpy(val.labels)).double().mean().item()
    return {"val_loss": loss, "val_top1": top_k_accuracy(logits.numpy(), val.labels, 1)}


def _tell(row: Row, epochs: int, step: int, progress: Progress, log: RunLog) -> None:
    words = f"epoch {row['epoch']}/{epochs}: train loss {row['train_loss']:.3f}, top-1 {100 * row['train_top1']:.1f} %"
    if "val_top1" in row:
        words += f"; val loss {row['val_loss']:.3f}, top-1 {100 * row['val_top1']:.1f} %"
    progress.line(words)
    log.scalars(step, {name.replace("_", "/"): value for name, value in row.items() if "_" in name})


def _farewell(number: int, run: Run) -> str:
    cause = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    return (
        f"train: stopped by {cause} after step {run.position.step:,}/{run.total:,}; "
        "the checkpoint is written, and the same command goes on from there"
    )
