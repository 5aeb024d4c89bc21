"""Training: epochs of sharded steps, each epoch scored on the validation split."""

import time
from collections.abc import Iterator
from functools import partial

import numpy as np

from stages.console.errors import Diverged
from stages.console.progress import Progress
from stages.data.augment import Augment
from stages.data.prepared import Split
from stages.data.randomness import permutation
from stages.model.classifier import Classifier
from stages.params.schema import TrainParams
from stages.scoring.inference import predict_logits
from stages.scoring.scores import cross_entropy, top_k_accuracy
from stages.training.device import Compute
from stages.training.log import RunLog
from stages.training.objective import choose_objective
from stages.training.optimizer import make_optimizers, set_rate
from stages.training.schedule import rate_factor
from stages.training.shards import Batch, ShardWorker, make_board, trainable
from stages.training.workers import WorkerPool

Row = dict[str, float]


def fit(
    classifier: Classifier,
    train: Split,
    val: Split,
    *,
    recipe: TrainParams,
    augment: Augment,
    compute: Compute,
    shards: int,
    log: RunLog,
    log_every: int,
) -> list[Row]:
    """Train the classifier in place; a row of scores for each epoch.

    Raises:
        Diverged: the loss is nan or infinite.
    """
    board = make_board(classifier, shards=shards, workers=compute.workers, device=compute.device)
    make_worker = partial(
        ShardWorker,
        board=board,
        classifier=classifier,
        split=train,
        augment=augment,
        objective=choose_objective(recipe.loss, label_smoothing=recipe.label_smoothing),
        compute=compute,
        seed=recipe.seed,
    )
    steps = steps_per_epoch(len(train), recipe.batch_size, drop_last=recipe.drop_last)
    history: list[Row] = []
    with (
        WorkerPool(board, make_worker) as pool,
        Progress("train", total=recipe.epochs * len(train), unit="img") as progress,
    ):
        optimizers = make_optimizers(
            recipe.optimizer,
            trainable(classifier),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        for epoch in range(recipe.epochs):
            begun, loss_sum, right, seen, rate = time.monotonic(), 0.0, 0.0, 0, 0.0
            for batch in epoch_batches(len(train), epoch, steps, recipe):
                rate = recipe.lr * rate_factor(
                    recipe.schedule,
                    batch.step,
                    total=steps * recipe.epochs,
                    warmup=recipe.warmup,
                    final=recipe.final_lr,
                    step_length=recipe.step_epochs * steps,
                    step_factor=recipe.step_factor,
                )
                loss, hits = pool.compute(batch)
                if not np.isfinite(loss):
                    raise Diverged(
                        f"train: the loss became {loss} at step {batch.step + 1} (learning rate {rate:.4g}); "
                        "try a smaller train.lr or a longer train.warmup"
                    )
                set_rate(optimizers, rate)
                for optimizer in optimizers:
                    optimizer.step()
                loss_sum, right, seen = loss_sum + loss, right + hits, seen + len(batch.indices)
                speed = seen / (time.monotonic() - begun)
                progress.advance(len(batch.indices), note=f"epoch {epoch + 1}/{recipe.epochs}, loss {loss_sum / seen:.3f}")
                if batch.step % log_every == 0:
                    mean = loss / len(batch.indices)
                    log.scalars(batch.step, {"step/loss": mean, "step/lr": rate, "step/images_per_second": speed})
            row = {"epoch": epoch + 1, "train_loss": loss_sum / seen, "train_top1": right / seen, "lr": rate}
            row |= _validate(classifier, val, compute)
            history.append(row)
            _tell(row, recipe.epochs, speed, (epoch + 1) * steps, progress, log)
    return history


def steps_per_epoch(images: int, batch_size: int, *, drop_last: bool) -> int:
    """Whole batches, and the incomplete last one unless it is dropped."""
    return images // batch_size if drop_last else -(-images // batch_size)


def epoch_batches(images: int, epoch: int, steps: int, recipe: TrainParams) -> Iterator[Batch]:
    """The epoch's batches: a permutation of all images that is a function of (seed, epoch), cut up."""
    order = permutation(images, recipe.seed, epoch)
    for step in range(steps):
        indices = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        yield Batch(indices, epoch, epoch * steps + step)


def _validate(classifier: Classifier, val: Split, compute: Compute) -> Row:
    if len(val) == 0:
        return {}
    logits = predict_logits(
        classifier, val.images, device=compute.device, threads=compute.workers, autocast=compute.autocast
    ).numpy()
    return {"val_loss": cross_entropy(logits, val.labels), "val_top1": top_k_accuracy(logits, val.labels, 1)}


def _tell(row: Row, epochs: int, speed: float, step: int, progress: Progress, log: RunLog) -> None:
    words = f"epoch {row['epoch']}/{epochs}: train loss {row['train_loss']:.3f}, top-1 {100 * row['train_top1']:.1f} %"
    if "val_top1" in row:
        words += f"; val loss {row['val_loss']:.3f}, top-1 {100 * row['val_top1']:.1f} %"
    progress.line(f"{words}; {speed:,.0f} img/s")
    log.scalars(step, {name.replace("_", "/", 1): value for name, value in row.items() if "_" in name})
    log.scalars(step, {"epoch/lr": row["lr"], "epoch/images_per_second": speed})
