"""Training: epochs of sharded steps, each epoch scored on the validation split."""

import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from stages.console.errors import Diverged
from stages.console.progress import Progress
from stages.data.augment import Augment
from stages.data.prepared import Split
from stages.data.randomness import permutation
from stages.model.classifier import Classifier
from stages.params.schema import TrainParams
from stages.scoring.inference import predict_logits
from stages.scoring.scores import top_k_accuracy
from stages.training.compute import Compute
from stages.training.log import RunLog
from stages.training.objective import choose_objective
from stages.training.optimizer import make_optimizers, set_rate
from stages.training.schedule import rate_factor
from stages.training.shards import Batch, Objective, ShardWorker, make_board, shard_count, trainable
from stages.training.workers import WorkerPool

Row = dict[str, float]  # of metrics/history.csv: epoch, train_loss, train_top1, val_loss, val_top1, lr


def fit(
    classifier: Classifier,
    train: Split,
    val: Split,
    *,
    recipe: TrainParams,
    augment: Augment,
    compute: Compute,
    log: RunLog,
    log_every: int,
) -> list[Row]:
    """Train the classifier in place; a row of scores for each epoch.

    Raises:
        Diverged: the loss is nan or infinite.
        MachineError: a worker process has gone.
    """
    objective = choose_objective(recipe.loss, label_smoothing=recipe.label_smoothing)
    shards = shard_count(recipe.batch_size, recipe.shards)
    board = make_board(classifier, shards=shards, workers=compute.workers, device=compute.device)
    make_worker = partial(
        ShardWorker,
        board=board,
        classifier=classifier,
        split=train,
        augment=augment,
        objective=objective,
        compute=compute,
        seed=recipe.seed,
    )
    history = []
    with (
        WorkerPool(board, make_worker) as pool,
        Progress("train", total=_images(train, recipe), unit="img") as progress,
    ):
        epochs = _Epochs(classifier, pool, len(train), recipe, log, log_every, progress)
        for epoch in range(recipe.epochs):
            row = epochs.run(epoch) | _validate(classifier, val, objective, compute)
            _tell(row, recipe.epochs, progress)
            log.scalars(
                (epoch + 1) * epochs.steps, {name.replace("_", "/"): row[name] for name in row if name != "epoch"}
            )
            history.append(row)
    return history


def steps_per_epoch(images: int, batch_size: int, *, drop_last: bool) -> int:
    """Whole batches, and the incomplete last one unless it is dropped."""
    return images // batch_size if drop_last else -(-images // batch_size)


class _Epochs:
    """Runs one epoch after another: order, rate, gradient, update."""

    def __init__(
        self,
        classifier: Classifier,
        pool: WorkerPool,
        images: int,
        recipe: TrainParams,
        log: RunLog,
        log_every: int,
        progress: Progress,
    ) -> None:
        self._pool, self._images, self._recipe = pool, images, recipe
        self._log, self._log_every, self._progress = log, log_every, progress
        self.steps = steps_per_epoch(images, recipe.batch_size, drop_last=recipe.drop_last)
        self._optimizers = make_optimizers(
            recipe.optimizer,
            trainable(classifier),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )

    def run(self, epoch: int) -> Row:
        """Train for an epoch, counted from 0; its mean loss and accuracy while it was trained on."""
        begun, loss_sum, right, seen, rate = time.monotonic(), 0.0, 0.0, 0, 0.0
        for batch in self._batches(epoch):
            rate = self._rate(batch.step)
            loss, hits = self._step(batch, rate)
            loss_sum, right, seen = loss_sum + loss, right + hits, seen + len(batch.indices)
            note = f"epoch {epoch + 1}/{self._recipe.epochs}, loss {loss_sum / seen:.3f}"
            self._progress.advance(len(batch.indices), note=note)
            if batch.step % self._log_every == 0:
                speed = seen / (time.monotonic() - begun)
                mean = loss / len(batch.indices)
                self._log.scalars(batch.step, {"step/loss": mean, "step/lr": rate, "step/images_per_second": speed})
        return {"epoch": epoch + 1, "train_loss": loss_sum / seen, "train_top1": right / seen, "lr": rate}

    def _batches(self, epoch: int) -> Iterator[Batch]:
        """A permutation of all images that is a function of (seed, epoch), cut up."""
        order = permutation(self._images, self._recipe.seed, epoch)
        size = self._recipe.batch_size
        for step in range(self.steps):
            yield Batch(order[step * size : (step + 1) * size], epoch, epoch * self.steps + step)

    def _step(self, batch: Batch, rate: float) -> tuple[float, float]:
        """One update; the batch's sum of losses and its number of right answers."""
        loss, right = self._pool.compute(batch)
        if not np.isfinite(loss):
            raise Diverged(
                f"train: the loss became {loss} at step {batch.step + 1} (learning rate {rate:.4g}); "
                "try a smaller train.lr or a longer train.warmup"
            )
        set_rate(self._optimizers, rate)
        for optimizer in self._optimizers:
            optimizer.step()
        return loss, right

    def _rate(self, step: int) -> float:
        recipe = self._recipe
        return recipe.lr * rate_factor(
            recipe.schedule,
            step,
            total=self.steps * recipe.epochs,
            warmup=recipe.warmup,
            final=recipe.final_lr,
            step_length=recipe.step_epochs * self.steps,
            step_factor=recipe.step_factor,
        )


def _images(train: Split, recipe: TrainParams) -> int:
    """How many images the whole run goes through."""
    steps = steps_per_epoch(len(train), recipe.batch_size, drop_last=recipe.drop_last)
    return recipe.epochs * min(steps * recipe.batch_size, len(train))


def _validate(classifier: Classifier, val: Split, objective: Objective, compute: Compute) -> Row:
    """Loss and accuracy on the validation split, the loss being the one that is trained for."""
    if len(val) == 0:
        return {}
    logits = predict_logits(
        classifier, val.images, device=compute.device, threads=compute.workers, autocast=compute.autocast
    )
    loss = objective(logits, torch.from_numpy(val.labels)).double().mean().item()
    return {"val_loss": loss, "val_top1": top_k_accuracy(logits.numpy(), val.labels, 1)}


def _tell(row: Row, epochs: int, progress: Progress) -> None:
    words = f"epoch {row['epoch']}/{epochs}: train loss {row['train_loss']:.3f}, top-1 {100 * row['train_top1']:.1f} %"
    if "val_top1" in row:
        words += f"; val loss {row['val_loss']:.3f}, top-1 {100 * row['val_top1']:.1f} %"
    progress.line(words)
