"""What a run is set up from: the counts checked, the classifier's card, its weights and its first layer."""

import os

import numpy as np
import torch

from imageclf.augment.mixing import Mixing
from imageclf.augment.transforms import Augment
from imageclf.config.train import TrainParams
from imageclf.images.dataset import NOTHING_TO_RANK, RANKED, Dataset, Split
from imageclf.models.card import Card
from imageclf.models.classifier import Classifier, scaled, scaled_size
from imageclf.models.device import Compute, instruction_set
from imageclf.models.registry import check_takes, check_takes_one, check_weight
from imageclf.models.spec import StartsFromImages
from imageclf.randomness import torch_seed
from imageclf.runtime.errors import DataError, ParamsError
from imageclf.training.auto import Recipe, chosen_values
from imageclf.training.optimizers import advice_on_rate
from imageclf.training.schedule import Course
from imageclf.weights.freezing import freeze
from imageclf.weights.initial import Beginning, begun_classifier

WHITENING_IMAGES, WHITENING_PIXELS = 5000, 5000 * 32**2  # at most: 1,250 of 64x64, in half a gigabyte
SAMPLES = 64  # images in augmented.png
BUILD = 2**32  # the random stream of the initial weights; steps count from 0


def check_counts(recipe: Recipe, course: Course, train: int, val: int) -> None:
    """Refuse params that so many training and validation images do not allow.

    Raises:
        ParamsError: a batch, a shard or a choice by validation needs more images.
        DataError: a sweep is to rank runs, and there are no validation images.
    """
    fewest = min(course.images)
    if course.batch_size > fewest:
        raise ParamsError(
            f"params.yaml: train.batch_size is {recipe.batch_size}, "
            f"more than the {fewest} training images{'' if fewest == train else ' of train.hard_fraction'}; "
            "lower it, or set it to auto"
        )
    if not val and RANKED in os.environ:
        raise DataError(f"train: there are {NOTHING_TO_RANK}")
    least = 2 if recipe.augment.mixup or recipe.augment.cutmix else 1  # images of a shard
    if course.batch_size < least * recipe.shards:
        raise ParamsError(
            f"params.yaml: train.shards is {recipe.shards}, too many for batches of {course.batch_size} images"
            f"{' with mixup or cutmix' if least > 1 else ''}; lower it"
        )
    for name, asks in (("keep", recipe.keep == "best"), ("patience", recipe.patience > 0)):
        if asks and not val:
            raise ParamsError(
                f"params.yaml: train.{name} is {getattr(recipe, name)}, and there are no validation images; "
                "raise prepare.val_fraction above 0"
            )


def make_card(params: TrainParams, recipe: Recipe, dataset: Dataset, beginning: Beginning, compute: Compute) -> Card:
    """What card.json says of the classifier."""
    return Card(
        model=recipe.model,
        classes=dataset.classes,
        head=recipe.head,
        size=dataset.size,
        network_size=beginning.sees.size,
        channels=dataset.channels,
        mean=beginning.sees.mean,
        std=beginning.sees.std,
        tta_flip=recipe.tta_flip,
        data=dataset.name,
        data_sha256=dataset.sha256,
        made_from=beginning.made_from,
        params={"train": params.model_dump()},
        auto={"train": chosen_values(params, recipe)},
        precision=compute.precision,
        made_with={"torch": torch.__version__, "processor": _processor(compute)},
        window=dataset.window,
        fit=dataset.fit,
    )


def _processor(compute: Compute) -> str:
    if compute.device.type == "cuda":
        return torch.cuda.get_device_name(compute.device)
    return instruction_set() if compute.device.type == "cpu" else compute.device.type


def build(card: Card, beginning: Beginning, recipe: Recipe, train: Split, compute: Compute) -> Classifier:
    """The classifier on its device, from fresh or given weights, with its frozen layers and its first layer set.

    Raises:
        ParamsError: the network cannot be built, or is too large to be exported.
    """
    if words := enlargement(card.size, card.network_size):
        print(f"train: {words}", flush=True)
    torch.manual_seed(torch_seed(recipe.seed, BUILD))
    classifier = begun_classifier(card, beginning).to(compute.device).to(memory_format=torch.channels_last)
    on_weights = beginning.weights is not None
    if advice := advice_on_rate(recipe, begun=on_weights):
        print(f"train: {advice}", flush=True)
    check_weight(classifier.network, recipe.model)
    if recipe.freeze != "none":
        print(f"train: {freeze(classifier, recipe.freeze)}", flush=True)
    if not on_weights:
        _see(classifier, train, compute)
    return classifier


def enlargement(prepared: tuple[int, int], network: tuple[int, int]) -> str:
    """A remark if images of the first (height, width) are enlarged to the second; else empty."""
    if network[0] <= prepared[0] and network[1] <= prepared[1]:
        return ""
    return (
        f"the prepared images of {prepared[1]}x{prepared[0]} pixels are enlarged to {network[1]}x{network[0]}; own "
        f"pictures show more with prepare.size={max(network)}"
    )


def check_sizes(classifier: Classifier, recipe: Recipe, card: Card, *, alone: bool) -> None:
    """Try the network on images of every scale; `alone`: also in training on a single image.

    Raises:
        ParamsError: it cannot take them.
    """
    for scale in recipe.scales:
        size = scaled_size(card.network_size, scale)
        check_takes(classifier.network, recipe.model, card.channels, size, "set train.scales to [1.0]")
        if alone:
            check_takes_one(classifier.network, recipe.model, card.channels, size)


def first_images(train: Split, augment: Augment, recipe: Recipe) -> np.ndarray:
    """The first images uint8 (n, H, W, C) as the first epoch has them: augmented, mixed and resized."""
    images = augment(train.images, np.arange(min(SAMPLES, len(train))), 0)
    mixing = Mixing(recipe.seed, recipe.augment.mixup, recipe.augment.cutmix)
    mixed = mixing(images, step=0, shard=0).images if mixing.on else images
    return scaled(torch.from_numpy(mixed), recipe.scales[0]).numpy()


def _see(classifier: Classifier, train: Split, compute: Compute) -> None:
    """Initialise a network's first layer from the data, if the network asks for it."""
    if isinstance(classifier.network, StartsFromImages):
        height, width = classifier.network_size or train.images.shape[1:3]
        count = min(len(train), WHITENING_IMAGES, max(1, WHITENING_PIXELS // (height * width)))
        # Own images are sorted by class, so the first ones show only one class.
        in_classes = bool((np.diff(train.labels) >= 0).all())
        chosen = np.arange(count) * len(train) // count if in_classes else np.arange(count)
        classifier.network.look_at(classifier.pixels(torch.from_numpy(train.images[chosen]).to(compute.device)))
