"""The training loop: steps from the first, or from where a run was stopped, to the last; each epoch validated."""

import math
import signal
import time
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from imageclf.augment.transforms import Augmentation
from imageclf.evaluation.inference import chunk_of, predict_logits
from imageclf.evaluation.scores import top_k_accuracy
from imageclf.images.dataset import Split
from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute
from imageclf.runtime.errors import Stopped
from imageclf.runtime.progress import Progress
from imageclf.runtime.stage import StopWish
from imageclf.training.auto import Recipe
from imageclf.training.checkpoint import Checkpoint, Checkpoints
from imageclf.training.log import RunLog
from imageclf.training.outcome import Row
from imageclf.training.pruning import prune
from imageclf.training.ranks import ALONE, Ranks
from imageclf.training.run import Run
from imageclf.training.shared import Network
from imageclf.training.step import choose_loss
from imageclf.training.workers import Asked, start_pool

PICTURED = 4  # images whose feature maps are shown
CHECKPOINTS_SHARE = 0.05  # of the time, at most


@dataclass(frozen=True)
class Task:
    """What the epochs train, on what, and how: the whole network on images, or its last layer on features."""

    classifier: Classifier
    train: Split
    val: Split
    augment: Augmentation
    compute: Compute
    ranks: Ranks = ALONE


def fit(
    task: Task,
    recipe: Recipe,
    *,
    begun: Checkpoint | None,
    checkpoints: Checkpoints,
    checkpoint_every: float,
    log: RunLog,
    log_every: int,
) -> list[Row]:
    """Train the classifier in place, from the checkpoint `begun` if there is one; a row of scores for each epoch.

    It ends with the weights that `recipe.keep` and `recipe.ema` ask for, before the last epoch by `recipe.patience`.
    A checkpoint is written every `checkpoint_every` seconds, or less often so that writing takes at most a twentieth of
    the time. Every `log_every` steps are logged.

    Raises:
        Diverged: the loss is nan or infinite.
        MachineError: a worker process has gone, or there is too little shared memory.
        Pruned: a search ends the run after an epoch.
        RankLost: another rank has gone.
        Stopped: Ctrl-C or SIGTERM came, and a checkpoint is written.
    """
    # 1. The network, as it was if this run was stopped before.
    classifier, train, compute, ranks = task.classifier, task.train, task.compute, task.ranks
    network = Network(
        classifier, head_lr=recipe.head_lr, layer_decay=recipe.layer_decay, head_first=recipe.freeze_epochs > 0
    )
    memory = begun.tensors if begun else {}
    if begun:
        network.restore(begun.tensors)
    pool = start_pool(network, train, task.augment, recipe=recipe, compute=compute, ranks=ranks, memory=memory)
    with pool, StopWish() as wish:
        # A thread ahead would share torch's one generator, which the policies draw from, with the network.
        prefetch = compute.prefetch if compute.loaders or recipe.augment.policy == "none" else 0
        run = Run(network, pool, train.labels, recipe, prefetch=prefetch)
        if begun:
            run.restore(begun)
            print(f"train: resuming at step {begun.step:,}/{run.total:,} from its checkpoint", flush=True)

        # 2. Step after step: gradients of a batch (step.py), a step along them (update.py).
        with Progress("train", total=run.total * run.batch_size, unit="img") as progress:
            progress.skip(run.position.step * run.batch_size)
            began = saved = time.monotonic()
            loss, unread = math.nan, 0  # images since the loss was last read

            def asks() -> Asked:
                interval = max(checkpoint_every, checkpoints.seconds / CHECKPOINTS_SHARE)
                return Asked(wish.number, time.monotonic() - saved >= interval)

            while not run.is_over:
                batch, rate = run.next_batch(), run.rate()
                asked = pool.compute(batch, asks)
                run.count(batch)
                images, unread = len(batch.indices), unread + len(batch.indices)
                ends_epoch, logs = run.ends_epoch(batch), batch.step % log_every == 0
                # An accelerator works ahead of us: the loss is read where it is needed, as that waits for it.
                read = compute.device.type == "cpu" or math.isnan(loss) or logs or ends_epoch
                if read or asked.stop or asked.save:
                    loss = run.read_loss(rate)
                pool.update(rate, clip_norm=recipe.clip_norm)
                run.advance()

                if logs:
                    log.step(batch.step, loss=loss, lr=rate, images_per_second=unread / (time.monotonic() - began))
                progress.advance(images, note=f"epoch {batch.epoch + 1}/{recipe.epochs}, loss {loss:.3f}")

                # 3. At the end of an epoch: validation. Every few seconds, and before a stop: a checkpoint.
                if ends_epoch:
                    with run.outcome.shown():
                        row = run.end_epoch(rate, validate(task, recipe))
                    progress.line(words_of(row, recipe.epochs))
                    log.epoch(run.position.step, row)
                    log.insides(run.position.step, classifier, train.images[:PICTURED])
                    prune(
                        [round(each["val_top1"], 6) for each in run.position.history if "val_top1" in each],
                        recipe.epochs,
                    )
                if asked.stop or asked.save:
                    log.flush()  # first: what is taken up again from there has been logged
                    checkpoints.save(run.checkpoint(), wait=asked.stop > 0)
                    saved = time.monotonic()
                if asked.stop:
                    raise Stopped(_farewell(asked.stop, run), asked.stop)
                if read:
                    began, unread = time.monotonic(), 0
        run.outcome.settle()
    return run.position.history


def validate(task: Task, recipe: Recipe) -> Row:
    """Loss and accuracy on the validation split, the loss being the one that is trained for, without class weights.

    Mirror images are left to evaluate: here they would cost as much as a tenth of the training.
    """
    if len(task.val) == 0:
        return {}
    with task.classifier.one_look():
        logits = _answers(task)
    loss_fn = choose_loss(recipe.loss, label_smoothing=recipe.label_smoothing)
    loss = loss_fn(logits, torch.from_numpy(task.val.labels)).double().mean().item()
    return {"val_loss": loss, "val_top1": top_k_accuracy(logits.numpy(), task.val.labels, 1)}


def _answers(task: Task) -> Tensor:
    """Logits (N, classes) of the validation images: each rank computes some chunks, if there are enough for all."""
    images, compute, ranks = task.val.images, task.compute, task.ranks
    chunk = chunk_of(task.classifier, images, compute.device)
    chunks = -(-len(images) // chunk)
    count, rank = (ranks.count, ranks.rank) if chunks >= ranks.count else (1, 0)
    cuts = [min(chunk * (chunks * each // count), len(images)) for each in range(count + 1)]
    own = predict_logits(
        task.classifier,
        images[cuts[rank] : cuts[rank + 1]],
        device=compute.device,
        threads=compute.workers,
        autocast=compute.autocast,
    )
    if count == 1:
        return own
    logits = own.new_zeros(len(images), own.shape[1])
    logits[cuts[rank] : cuts[rank + 1]] = own
    ranks.share((logits.view(-1), [(end - begin) * own.shape[1] for begin, end in pairwise(cuts)]))
    return logits


def words_of(row: Row, epochs: int) -> str:
    """A line about an epoch's scores."""
    words = f"epoch {row['epoch']}/{epochs}: train loss {row['train_loss']:.3f}, top-1 {100 * row['train_top1']:.1f} %"
    if "val_top1" in row:
        words += f"; val loss {row['val_loss']:.3f}, top-1 {100 * row['val_top1']:.1f} %"
    return words


def _farewell(number: int, run: Run) -> str:
    cause = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    return (
        f"train: stopped by {cause} after step {run.position.step:,}/{run.total:,}; "
        "the checkpoint is written, and the same command goes on from there"
    )
