"""The epochs of a run: how many images and steps each has, and how large the images are."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

from stages.data.scaling import scaled_size
from stages.model.cifarnet import WIDTHS
from stages.params.schema import TrainParams

GROWING = [0.75, 0.875, 1.0, 1.0]
LEAST_SIDE = 16  # pixels, of the images that the cifarnets take
LEAST_STEPS = 10  # of an epoch, with fewer there is little to spare
BATCH_SIZE, LEAST_BATCH_SIZE = 512, 8  # between which auto chooses
HARD_SHARE = 0.4  # 0.3 was less accurate in the same time, 0.5 no more accurate (benchmarks/PROFILE.md)


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
    """Of a run over a training split of so many images: an epoch has all of them, or a share once it is to choose."""
    chosen = round(images * choose_hard_share(recipe, images))
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
    fewest = images if isinstance(recipe.hard_share, str) else round(images * recipe.hard_share)
    while size > max(1, fewest):
        size //= 2
    return size


def choose_hard_share(recipe: TrainParams, images: int) -> float:
    """`train.hard_share` with auto resolved: cifarnet, whose recipe was found with it, chooses from many images.

    A mixed image has no loss of its own to go by, and a balanced draw is a choice already.
    """
    if not isinstance(recipe.hard_share, str):
        return recipe.hard_share
    mixes = recipe.augment.mixup > 0 or recipe.augment.cutmix > 0
    many = images * HARD_SHARE >= LEAST_STEPS * choose_batch_size(recipe, images)
    return HARD_SHARE if many and recipe.model == "cifarnet" and recipe.sampling == "shuffled" and not mixes else 1.0


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
    return GROWING if recipe.model in WIDTHS and min(scaled_size(size, GROWING[0])) >= LEAST_SIDE else [1.0]
