"""The plan of a run: epochs and steps, the order of the images, the learning rate."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from imageclf.augment.transforms import DRAWN_CLASS, DRAWN_IMAGE
from imageclf.config.train import TrainParams
from imageclf.models.classifier import scaled_size
from imageclf.models.registry import auto_values
from imageclf.randomness import permutation, random_bits, random_integers

LEAST_STEPS = 10  # of an epoch, with fewer there is little to spare
BATCH_SIZE, LEAST_BATCH_SIZE = 512, 8  # between which auto chooses


@dataclass(frozen=True)
class Course:
    """One number for each epoch."""

    images: list[int]  # that it trains on
    ends: list[int]  # steps of the run after which it is over
    batch_size: int  # the same in all of them

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.ends[-1]

    def place(self, step: int) -> tuple[int, int]:
        """The epoch of a step, and how many steps of that epoch came before it; all counted from 0."""
        epoch = bisect_right(self.ends, step)
        return epoch, step - (self.ends[epoch - 1] if epoch else 0)


def plan_course(images: int, recipe: TrainParams) -> Course:
    """The epochs of a run over so many training images: all of them at first, then the hard-example fraction."""
    chosen = round(images * choose_hard_fraction(recipe, images))
    each = [images if epoch < recipe.hard_after else chosen for epoch in range(recipe.epochs)]
    batch_size = choose_batch_size(recipe, images)
    steps = [steps_per_epoch(count, batch_size, drop_last=recipe.drop_last) for count in each]
    return Course(each, list(accumulate(steps)), batch_size)


def choose_batch_size(recipe: TrainParams, images: int) -> int:
    """`train.batch_size` with auto resolved: 512, or the largest power of two that gives an epoch ten whole batches.

    Of very few images 8 have to do, or as many as the smallest epoch has.
    """
    if isinstance(recipe.batch_size, int):
        return recipe.batch_size
    size = BATCH_SIZE
    while size > LEAST_BATCH_SIZE and images < LEAST_STEPS * size:
        size //= 2
    fewest = images if isinstance(recipe.hard_fraction, str) else round(images * recipe.hard_fraction)
    while size > max(1, fewest):
        size //= 2
    return size


def choose_hard_fraction(recipe: TrainParams, images: int) -> float:
    """`train.hard_fraction` with auto resolved: a network whose recipe was found with it chooses from many images.

    A mixed image has no loss of its own to go by, and a balanced draw is a choice already.
    """
    if not isinstance(recipe.hard_fraction, str):
        return recipe.hard_fraction
    fraction = auto_values(recipe.model).hard_fraction
    mixes = recipe.augment.mixup > 0 or recipe.augment.cutmix > 0
    many = images * fraction >= LEAST_STEPS * choose_batch_size(recipe, images)
    return fraction if many and recipe.sampling == "shuffled" and not mixes else 1.0


def steps_per_epoch(images: int, batch_size: int, *, drop_last: bool) -> int:
    """Whole batches, and the incomplete last one unless it is dropped."""
    return images // batch_size if drop_last else -(-images // batch_size)


def least_shard(course: Course, *, drop_last: bool, shards: int) -> int:
    """Images in the smallest shard that has any."""
    rests = [] if drop_last else [count % course.batch_size for count in course.images]
    return min(max(1, batch // shards) for batch in (course.batch_size, *rests) if batch)


def choose_scales(recipe: TrainParams, size: tuple[int, int]) -> list[float]:
    """`train.scales` with auto resolved: growing for the networks whose recipe was found with it.

    `size` (H, W) is what the network sees at full scale.
    """
    if not isinstance(recipe.scales, str):
        return recipe.scales
    auto = auto_values(recipe.model)
    return list(auto.scales) if min(scaled_size(size, min(auto.scales))) >= auto.least_side else [1.0]


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
