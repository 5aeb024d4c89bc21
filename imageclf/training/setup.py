"""What a run is set up from: the data read, the params resolved and checked, the classifier built."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from imageclf.augment.mixing import Mixing
from imageclf.augment.on_device import can_augment
from imageclf.augment.transforms import Augment
from imageclf.config.runtime import RuntimeParams
from imageclf.config.train import TrainParams
from imageclf.images.dataset import NOTHING_TO_RANK, RANKED, Dataset, Split, read_dataset, read_split
from imageclf.models.card import Card
from imageclf.models.classifier import Classifier, channels_last_on, scaled, scaled_size
from imageclf.models.device import Compute, best_precision, choose_compute, choose_device, processor_kind
from imageclf.models.layers import make_pooling_repeatable
from imageclf.models.registry import build_network, check_takes, check_takes_one, check_weight
from imageclf.models.spec import StartsFromImages
from imageclf.randomness import torch_seed
from imageclf.runtime.errors import DataError, ParamsError
from imageclf.runtime.platform import free_shared_memory
from imageclf.training.auto import (
    LARGEST_SHARD,
    SMALLEST_SHARD,
    Accelerator,
    Recipe,
    chosen_values,
    resolve,
    words_of,
)
from imageclf.training.loop import Task
from imageclf.training.memory import bytes_per_image, largest_shard, memory_of
from imageclf.training.optimizers import LBFGS, advice_on_rate
from imageclf.training.ranks import ALONE, Ranks
from imageclf.training.schedule import Course, epoch_order, least_shard, plan_course
from imageclf.weights.freezing import freeze
from imageclf.weights.initial import Beginning, begun_classifier, choose_beginning

WHITENING_IMAGES, WHITENING_PIXELS = 5000, 5000 * 32**2  # at most: 1,250 of 64x64, in half a gigabyte
SAMPLES = 64  # images in augmented.png
LEEWAY = 2  # times an image's bytes, for what goes with it
RESIDENT = 0.25  # of a GPU's memory, within which the training images stay there
BUILD = 2**32  # the random stream of the initial weights; steps count from 0


@dataclass(frozen=True)
class Setup:
    """A run before its classifier is built: its data, its recipe, and the card of what it makes."""

    dataset: Dataset
    train: Split
    val: Split
    beginning: Beginning
    recipe: Recipe
    course: Course
    compute: Compute
    ranks: Ranks
    card: Card
    advice: str = ""  # about memory, if there may be too little

    def opening(self) -> list[str]:
        """What is trained, on what and how, and what auto chose."""
        recipe, course, compute = self.recipe, self.course, self.compute
        how = f"{recipe.epochs} epoch{'s' if recipe.epochs > 1 else ''}, "
        how += f"{course.total:,} steps of {course.batch_size} images"
        if recipe.optimizer == LBFGS:
            how = "logistic regression by L-BFGS, without epochs, batches and rates"
        line = f"{recipe.model} on {self.dataset.name}, {len(self.train):,} images, {how}; "
        line += f"{compute.device}, {compute.precision}, "
        line += f"{self.ranks.count} processes, each with " if self.ranks.count > 1 else ""
        line += f"{compute.workers} worker{'s' if compute.workers > 1 else ''}"
        chosen = words_of(self.card.auto["train"])
        return [line, *([f"auto: {chosen}"] if chosen else []), *([self.advice] if self.advice else [])]


def set_up(params: TrainParams, runtime: RuntimeParams, downloads: Path, ranks: Ranks = ALONE) -> Setup:
    """Read the prepared data, resolve the params and choose the device; published weights come to `downloads`.

    Raises:
        ParamsError: the params do not fit each other, the data or the machine.
        DataError: the prepared data or the weights are missing or damaged.
        SourceError: published weights cannot be downloaded.
    """
    dataset, train, val = read_dataset(), read_split("train"), read_split("val")
    beginning = choose_beginning(params, dataset, downloads)
    device = choose_device(runtime.device, local_rank=ranks.local_rank, local_count=ranks.local_count)
    accelerator = None if device.type == "cpu" else _accelerator(device, params, dataset, beginning)
    recipe = resolve(
        params,
        images=len(train),
        size=beginning.sees.size,
        begun=beginning.weights is not None,
        fresh_head=beginning.fresh_head,
        accelerator=accelerator,
    )
    course = plan_course(len(train), recipe)
    check_counts(recipe, course, len(train), len(val))
    check_ranks(ranks.count, recipe)
    resident = device.type == "cuda" and can_augment(params.augment) and params.freeze != "backbone"
    compute = choose_compute(
        device,
        recipe.precision,
        runtime.workers,
        shards=recipe.shards // ranks.count,
        prefetch=runtime.prefetch,
        loaders=runtime.loaders,
        pin_memory=runtime.pin_memory,
        resident=resident and train.images.nbytes <= RESIDENT * memory_of(device),
        graphs=runtime.cuda_graphs,
        local_count=ranks.local_count,
    )
    if runtime.loaders == "auto" and compute.loaders:
        compute = within_shared_memory(compute, recipe.batch_size * train.images[:1].nbytes)
    card = _card(params, recipe, dataset, beginning, compute)
    advice = memory_advice(recipe, accelerator) if accelerator else ""
    return Setup(dataset, train, val, beginning, recipe, course, compute, ranks, card, advice)


def within_shared_memory(compute: Compute, batch: int) -> Compute:
    """The same with as many loader processes as have room for batches of so many bytes; if none has, with a thread."""
    free = free_shared_memory()
    if free is None:
        return compute
    loaders = min(compute.loaders, max(0, free // (LEEWAY * batch) - 1) // 2)
    return replace(compute, loaders=loaders, prefetch=min(compute.prefetch, max(2, 2 * loaders)))


def _accelerator(device: torch.device, params: TrainParams, dataset: Dataset, beginning: Beginning) -> Accelerator:
    """What auto looks at of the device. A network that does not tell what it keeps has small shards, as on a CPU."""
    sees, channels = beginning.sees.size, dataset.channels
    network = build_network(params.model, classes=len(dataset.classes), channels=channels, size=sees, head=params.head)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    precision = best_precision(device) if params.precision == "auto" else params.precision
    per_image = bytes_per_image(network, channels, sees) / (1 if precision == "fp32" else 2)
    sizes = [LARGEST_SHARD >> power for power in range(LARGEST_SHARD.bit_length())]
    found = largest_shard(memory_of(device), parameters=parameters, per_image=per_image, sizes=sizes)
    return Accelerator(
        found if per_image else SMALLEST_SHARD, torch.cuda.device_count() if device.type == "cuda" else 1
    )


def memory_advice(recipe: Recipe, accelerator: Accelerator) -> str:
    """A sentence where a shard has more images than the memory is estimated to hold, else nothing."""
    most, shards = accelerator.largest_shard, recipe.shards
    while recipe.batch_size > shards * most and shards < recipe.batch_size:
        shards *= 2
    if shards == recipe.shards:
        return ""
    return (
        f"shards of {recipe.batch_size // recipe.shards} images may not fit the GPU's memory, which is estimated to "
        f"hold {most}; if it is full, set train.shards to {shards}"
    )


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


def check_ranks(count: int, recipe: Recipe) -> None:
    """Refuse more processes than a batch has shards.

    Raises:
        ParamsError: there are more.
    """
    if count > recipe.shards:
        raise ParamsError(
            f"train: {count} processes cannot share the {recipe.shards} shards of a batch; start at most "
            f"{recipe.shards}, or set train.shards to {count}, which gives another classifier"
        )


def _card(params: TrainParams, recipe: Recipe, dataset: Dataset, beginning: Beginning, compute: Compute) -> Card:
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
    return processor_kind() if compute.device.type == "cpu" else compute.device.type


def build(setup: Setup) -> Task:
    """The classifier on its device, from fresh or given weights, with its frozen layers and its first layer set.

    It is to be trained on the images, augmented.

    Raises:
        ParamsError: the network cannot be built, cannot take the images, or is too large to be exported.
    """
    card, recipe, beginning = setup.card, setup.recipe, setup.beginning
    if words := enlargement(card.size, card.network_size):
        print(f"train: {words}", flush=True)
    torch.manual_seed(torch_seed(recipe.seed, BUILD))
    classifier = begun_classifier(card, beginning)
    if beginning.weights is None:
        _see(classifier, setup.train)  # on the CPU, where every machine has the kernels for it
    device = setup.compute.device
    classifier.to(device)
    if channels_last_on(device):
        classifier.to(memory_format=torch.channels_last)
    if device.type != "cpu":
        make_pooling_repeatable(classifier.network)
    if advice := advice_on_rate(recipe, begun=beginning.weights is not None):
        print(f"train: {advice}", flush=True)
    check_weight(classifier.network, recipe.model)
    if recipe.freeze != "none":
        print(f"train: {freeze(classifier, recipe.freeze)}", flush=True)
    _check_sizes(classifier, setup)
    return Task(classifier, setup.train, setup.val, Augment(recipe.seed, recipe.augment), setup.compute, setup.ranks)


def enlargement(prepared: tuple[int, int], network: tuple[int, int]) -> str:
    """A remark if images of the first (height, width) are enlarged to the second; else empty."""
    if network[0] <= prepared[0] and network[1] <= prepared[1]:
        return ""
    return (
        f"the prepared images of {prepared[1]}x{prepared[0]} pixels are enlarged to {network[1]}x{network[0]}; own "
        f"pictures that are larger show more with prepare.size={max(network)}"
    )


def _check_sizes(classifier: Classifier, setup: Setup) -> None:
    """Try the network on images of every scale, and in training on a single image if a shard can have no more.

    Raises:
        ParamsError: it cannot take them.
    """
    recipe, card = setup.recipe, setup.card
    alone = least_shard(setup.course, drop_last=recipe.drop_last, shards=recipe.shards) == 1
    for scale in recipe.scales:
        size = scaled_size(card.network_size, scale)
        check_takes(classifier.network, recipe.model, card.channels, size, "set train.scales to [1.0]")
        if alone:
            check_takes_one(classifier.network, recipe.model, card.channels, size)


def first_images(task: Task, recipe: Recipe) -> np.ndarray:
    """The first images of the first epoch uint8 (n, H, W, C), as it has them: augmented, mixed and resized."""
    order, epochs = epoch_order(task.train.labels, recipe.sampling, recipe.seed, 0)
    images = task.augment(task.train.images, order[:SAMPLES], 0 if epochs is None else epochs[:SAMPLES])
    mixing = Mixing(recipe.seed, recipe.augment.mixup, recipe.augment.cutmix)
    if mixing.on:
        images = mixing.draw(len(images), images.shape[1:3], step=0, shard=0).of(images)
    return scaled(torch.from_numpy(images), recipe.scales[0]).numpy()


def _see(classifier: Classifier, train: Split) -> None:
    """Initialise a network's first layer from the data, if the network asks for it."""
    if isinstance(classifier.network, StartsFromImages):
        height, width = classifier.network_size or train.images.shape[1:3]
        count = min(len(train), WHITENING_IMAGES, max(1, WHITENING_PIXELS // (height * width)))
        # Own images are sorted by class, so the first ones show only one class.
        in_classes = bool((np.diff(train.labels) >= 0).all())
        chosen = np.arange(count) * len(train) // count if in_classes else np.arange(count)
        classifier.network.look_at(classifier.pixels(torch.from_numpy(train.images[chosen])))
