"""The plan of a run: epochs and steps, the order of the images, the learning rate."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from imageclf.augment.transforms import DRAWN_CLASS, DRAWN_IMAGE
from imageclf.randomness import permutation, random_bits, random_integers
from imageclf.training.auto import Recipe


@dataclass(frozen=True)
class Course:
    """One number for each epoch."""

    images: list[int]  # that it trains on
    ends: list[int]  # steps of the run after which it is over
    batch_size: int  # the same in all of them
    freeze_epochs: int = 0  # the first ones, in which only the last layer is trained

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.ends[-1]

    def place(self, step: int) -> tuple[int, int]:
        """The epoch of a step, and how many steps of that epoch came before it; all counted from 0."""
        epoch = bisect_right(self.ends, step)
        return epoch, step - self.begin(epoch)

    def begin(self, epoch: int) -> int:
        """Steps of the run before an epoch."""
        return self.ends[epoch - 1] if epoch else 0

    def is_head_only(self, step: int) -> bool:
        """Whether only the last layer is trained in a step."""
        return step < self.begin(self.freeze_epochs)

    def phase(self, step: int) -> tuple[int, int]:
        """The first epoch of the phase of a step, and the epoch after its last: each has a schedule of its own."""
        return (0, self.freeze_epochs) if self.is_head_only(step) else (self.freeze_epochs, len(self.ends))


def plan_course(images: int, recipe: Recipe) -> Course:
    """The epochs of a run over so many training images: all of them at first, then the hard-example fraction."""
    chosen = round(images * recipe.hard_fraction)
    each = [images if epoch < recipe.hard_after else chosen for epoch in range(recipe.epochs)]
    steps = [steps_per_epoch(count, recipe.batch_size, drop_last=recipe.drop_last) for count in each]
    return Course(each, list(accumulate(steps)), recipe.batch_size, recipe.freeze_epochs)


def steps_per_epoch(images: int, batch_size: int, *, drop_last: bool) -> int:
    """Whole batches, and the incomplete last one unless it is dropped."""
    return images // batch_size if drop_last else -(-images // batch_size)


def least_shard(course: Course, *, drop_last: bool, shards: int) -> int:
    """Images in the smallest shard that has any."""
    rests = [] if drop_last else [count % course.batch_size for count in course.images]
    return min(max(1, batch // shards) for batch in (course.batch_size, *rests) if batch)


AGAIN = 2**32 + 1  # between the epoch indices of a repeated image; odd, so that an alternate flip alternates


def epoch_order(labels: np.ndarray, sampling: str, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Indices (N,) of an epoch's images, and the epoch index (N,) of each where an image can be repeated.

    shuffled is every image once. balanced is N draws with replacement, each of a class first, so that every class
    that has images has the same chance; a repeated image has an epoch index of its own, and is augmented differently.
    """
    if sampling == "shuffled":
        return permutation(len(labels), seed, epoch), None
    classes, counts = np.unique(labels, return_counts=True)
    drawn = random_integers(len(classes), seed, DRAWN_CLASS, epoch, np.arange(len(labels)))
    within = random_bits(seed, DRAWN_IMAGE, epoch, np.arange(len(labels))) % counts[drawn].astype(np.uint64)
    first = np.cumsum(counts) - counts  # of each class in an array sorted by class
    indices = np.argsort(labels, kind="stable")[first[drawn] + within.astype(np.int64)]
    return indices, epoch + AGAIN * _times_before(indices)


def hardest(order: np.ndarray, losses: np.ndarray, count: int) -> np.ndarray:
    """The `count` images of `order` (N,), each once in it, with the highest `losses` (N,), in the order they had.

    Such a choice saves the time for easy images (arXiv:1511.06343, arXiv:1910.00762). Of equal losses the
    lower index counts as the higher one.
    """
    chosen = np.zeros(len(losses), bool)
    chosen[np.argsort(-losses, kind="stable")[:count]] = True
    return order[chosen[order]]


def _times_before(values: np.ndarray) -> np.ndarray:
    """How often each value (N,) came before, (N,)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    times = np.empty(len(values), np.int64)
    times[order] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return times


def rate_factor(schedule: str, step: int, *, total: int, warmup: float, final: float, drop: float) -> float:
    """The factor of a step, counted from 0 in a run of `total`.

    `warmup` is the fraction of the run with a linear rise, `final` the factor that cosine and linear end near,
    `drop` the factor that the schedule step has come to.
    """
    rise = warmup * total
    if step < rise:
        return (step + 1) / (rise + 1)
    progress = (step - rise) / max(total - rise, 1)  # 0 to just below 1
    if schedule == "cosine":
        return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2
    if schedule == "linear":
        return final + (1 - final) * (1 - progress)
    if schedule == "step":
        return drop
    return 1.0
