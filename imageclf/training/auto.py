"""The values of `auto` in the section `train`, chosen once from the network, its initial weights and the data."""

from dataclasses import dataclass
from typing import Any

from imageclf.config.train import TrainParams
from imageclf.models.classifier import scaled_size
from imageclf.models.registry import auto_values
from imageclf.models.spec import AutoValues
from imageclf.training.optimizers import HEAD_LR, OPTIMIZERS

LEAST_STEPS = 10  # of an epoch, with fewer there is little to spare
TRAINED_STEPS = 8  # from trained weights, which need fewer: batch norm averages over a shard, and 4 images are too few
BATCH_SIZE, LEAST_BATCH_SIZE = 512, 8  # between which auto chooses
# Measured (benchmarks/PROFILE.md): smaller shards take longer for each image, and so do larger ones of larger images.
LARGEST_SHARD = 256  # images
SHARD_PIXELS = 2**19  # 128 images of 64x64
SMALLEST_SHARD = 32  # images that batch norm is to average over, however large they are
NEUTRAL = (0, 1, [1.0])  # values that switch something off, which nobody needs to read


class Recipe(TrainParams):
    """The section `train` without auto, except for what weights, device and features decide: size, precision, views."""

    head_lr: float
    freeze_epochs: int
    batch_size: int
    shards: int
    hard_fraction: float
    label_smoothing: float
    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    scales: list[float]


@dataclass(frozen=True)
class Accelerator:
    """What auto looks at of a GPU: the images of a shard that fit, and how many such GPUs share a batch."""

    largest_shard: int
    count: int = 1


def resolve(
    params: TrainParams,
    *,
    images: int,
    size: tuple[int, int],
    begun: bool = False,
    fresh_head: bool = True,
    accelerator: Accelerator | None = None,
) -> Recipe:
    """Choose a value for every auto; given values stay.

    `images` is their number in the training split, `size` (H, W) what the network sees. `begun`: it begins from
    trained weights; `fresh_head`: its last layer does not.
    """
    found: dict[str, Any] = {}

    def choose(name: str, auto: Any) -> Any:
        given = getattr(params, name)
        found[name] = auto if given == "auto" else given
        return found[name]

    network = auto_values(params.model)
    usual = AutoValues() if begun else network
    kind = OPTIMIZERS.get(choose("optimizer", usual.optimizer), OPTIMIZERS["adamw"])  # lbfgs has no rate
    choose("lr", kind.tuning if begun else kind.usual)
    choose("head_lr", HEAD_LR if begun and fresh_head else 1.0)
    choose("freeze_epochs", 0)
    batch_size = choose("batch_size", _batch_size(params, images, TRAINED_STEPS if begun else LEAST_STEPS))
    choose("shards", _shards(batch_size, size, accelerator))
    choose("hard_fraction", _hard_fraction(params, network, images, batch_size))
    choose("momentum", kind.momentum)
    choose("weight_decay", kind.weight_decay)
    choose("label_smoothing", usual.label_smoothing if params.loss == "cross_entropy" else 0.0)
    choose("scales", _scales(network, size))
    return Recipe.model_construct(**dict(params) | found)


def chosen_values(params: TrainParams, recipe: Recipe) -> dict[str, Any]:
    """What auto chose in `recipe`, by key, the optimiser first."""
    names = sorted(Recipe.__annotations__, key=lambda name: name not in ("optimizer", "lr"))
    return {name: getattr(recipe, name) for name in names if getattr(params, name) == "auto"}


def words_of(chosen: dict[str, Any]) -> str:
    """A line about what auto chose, without what it leaves off."""
    words = [str(chosen[name]) if name == "optimizer" else f"{name} {_plain(chosen[name])}" for name in chosen]
    told = [word for word, name in zip(words, chosen, strict=True) if chosen[name] not in NEUTRAL]
    return ", ".join(told)


def _plain(value: Any) -> str:
    return " ".join(map(_plain, value)) if isinstance(value, list) else f"{value:g}"


def _batch_size(params: TrainParams, images: int, steps: int) -> int:
    """512, or the largest power of two that gives an epoch so many whole batches.

    Of very few images 8 have to do, or as many as the smallest epoch has.
    """
    size = BATCH_SIZE
    while size > LEAST_BATCH_SIZE and images < steps * size:
        size //= 2
    fewest = images if params.hard_fraction == "auto" else round(images * params.hard_fraction)
    while size > max(1, fewest):
        size //= 2
    return size


def _shards(batch_size: int, size: tuple[int, int], accelerator: Accelerator | None) -> int:
    """The smallest power of two with small enough shards: at least 2 on a CPU, or one for each GPU."""
    most = min(LARGEST_SHARD, max(SMALLEST_SHARD, SHARD_PIXELS // (size[0] * size[1])))
    count = min(2, batch_size)
    if accelerator:
        most, count = accelerator.largest_shard, 2 ** (min(accelerator.count, batch_size).bit_length() - 1)
    while batch_size > count * most:
        count *= 2
    return count


def _hard_fraction(params: TrainParams, network: AutoValues, images: int, batch_size: int) -> float:
    """A network whose recipe was found with it chooses from many images.

    A mixed image has no loss of its own to go by, and a balanced draw is a choice already.
    """
    mixes = params.augment.mixup > 0 or params.augment.cutmix > 0
    many = images * network.hard_fraction >= LEAST_STEPS * batch_size
    return network.hard_fraction if many and params.sampling == "shuffled" and not mixes else 1.0


def _scales(network: AutoValues, size: tuple[int, int]) -> list[float]:
    """Growing, for the networks whose recipe was found with it, if they take the smallest images."""
    smallest = min(scaled_size(size, min(network.scales)))
    return list(network.scales) if smallest >= network.least_side else [1.0]
