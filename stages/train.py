"""Train a classifier on the prepared images.

Reads data/prepared, writes models/classifier, metrics/train.json, metrics/history.csv and metrics/augmented.png, and
TensorBoard events under logs/. Run by `dvc repro train`; a minute and a half for CIFAR-10 on two cores with bf16.
"""

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from imageclf.augment.mixing import Mixing
from imageclf.augment.transforms import Augment
from imageclf.config.runtime import RuntimeParams
from imageclf.config.section import read_section
from imageclf.config.train import TrainParams
from imageclf.images.dataset import NOTHING_TO_RANK, RANKED, Dataset, Split, read_dataset, read_split
from imageclf.images.grid import draw_augmented, drawn
from imageclf.models.card import CLASSIFIER, Card
from imageclf.models.classifier import Classifier, save_classifier, scaled, scaled_size
from imageclf.models.device import Compute, choose_compute, instruction_set
from imageclf.models.own import check_source
from imageclf.models.registry import check_takes, check_takes_one, check_weight
from imageclf.models.spec import StartsFromImages
from imageclf.randomness import torch_seed
from imageclf.runtime.errors import DataError, ParamsError
from imageclf.runtime.files import write_bytes, write_json, write_text
from imageclf.runtime.stage import project_root, run_stage
from imageclf.runtime.yaml import flat
from imageclf.training.checkpoint import CHECKPOINTS, fingerprint, held_checkpoints
from imageclf.training.log import RunLog, log_folder
from imageclf.training.loop import fit
from imageclf.training.optimizers import advice_on_rate
from imageclf.training.outcome import ending_of, metrics_of
from imageclf.training.schedule import Course, choose_scales, least_shard, plan_course
from imageclf.training.step import shard_count
from imageclf.training.trial import try_out
from imageclf.weights.freezing import freeze
from imageclf.weights.initial import Beginning, begun_classifier, choose_beginning, keeps_last_layer

DOWNLOADS = Path(".downloads/weights")  # in the main checkout, and kept for the next run
METRICS = Path("metrics/train.json")
HISTORY = Path("metrics/history.csv")
AUGMENTED = Path("metrics/augmented.png")
COLUMNS = ["epoch", "train_loss", "val_loss", "train_top1", "val_top1", "lr"]
WHITENING_IMAGES, WHITENING_PIXELS = 5000, 5000 * 32**2  # at most: 1,250 of 64x64, in half a gigabyte
SAMPLES = 64  # images in augmented.png
BUILD = 2**32  # the random stream of the initial weights; steps count from 0


def main() -> str:
    # 1. Read the params and the data, and choose the device.
    recipe, runtime = read_section(TrainParams), read_section(RuntimeParams)
    dataset, train, val = read_dataset(), read_split("train"), read_split("val")
    course = plan_course(len(train), recipe)
    _check_counts(recipe, course, len(train), len(val))
    beginning = choose_beginning(recipe, dataset, project_root() / DOWNLOADS)
    shards = shard_count(course.batch_size, recipe.shards, beginning.sees.size)
    compute = choose_compute(
        runtime.device,
        recipe.precision,
        runtime.workers,
        shards=shards,
        prefetch=runtime.prefetch,
        pin_memory=runtime.pin_memory,
    )
    print(
        f"train: {recipe.model} on {dataset.name}, {len(train):,} images, {recipe.epochs} epochs, "
        f"{course.total:,} steps of {course.batch_size} images; "
        f"{compute.device}, {compute.precision}, {compute.workers} workers",
        flush=True,
    )

    # 2. Build the classifier, from fresh or given weights.
    card = _card(recipe, dataset, beginning, compute)
    try_out(card)
    torch.manual_seed(torch_seed(recipe.seed, BUILD))
    classifier = begun_classifier(card, beginning).to(compute.device).to(memory_format=torch.channels_last)
    on_weights, fresh_head = beginning.weights is not None, not keeps_last_layer(card, beginning)
    advice = advice_on_rate(recipe, begun=on_weights, fresh_head=fresh_head)
    if advice:
        print(f"train: {advice}", flush=True)
    check_weight(classifier.network, recipe.model)
    scales = choose_scales(recipe, card.network_size)
    for scale in scales:
        size = scaled_size(card.network_size, scale)
        check_takes(classifier.network, recipe.model, dataset.channels, size, "set train.scales to [1.0]")
        if least_shard(course, drop_last=recipe.drop_last, shards=shards) == 1:
            check_takes_one(classifier.network, recipe.model, dataset.channels, size)
    if recipe.freeze != "none":
        print(f"train: {freeze(classifier, recipe.freeze)}", flush=True)
    if beginning.weights is None:
        _see(classifier, train, compute)

    # 3. Train, from the newest checkpoint if there is one.
    augment = Augment(recipe.seed, recipe.augment)
    samples = _samples(train, augment, recipe, scales[0])
    run = fingerprint(asdict(card))
    with held_checkpoints(project_root() / CHECKPOINTS / run) as checkpoints:
        begun = checkpoints.newest()
        folder, first_step = log_folder(project_root(), run), begun.step if begun else 0
        with RunLog(folder, first_step=first_step, histograms=runtime.histograms) as log:
            if not begun:
                log.params({"data": dataset.name} | flat(card.params))
                log.samples(samples)
                log.graph(classifier, train.images[:2])
            history = fit(
                classifier,
                train,
                val,
                recipe=recipe.model_copy(update={"scales": scales, "shards": shards}),
                augment=augment,
                compute=compute,
                begun=begun,
                checkpoints=checkpoints,
                checkpoint_every=runtime.checkpoint_every,
                log=log,
                log_every=runtime.log_every,
            )

        # 4. Save the classifier and its history.
        check_source(card.model, card.made_from)
        save_classifier(classifier, card)
        rounded = pd.DataFrame(history, columns=COLUMNS).round(6)
        write_text(HISTORY, rounded.to_csv(index=False, lineterminator="\n"))
        parameters = sum(tensor.numel() for tensor in classifier.parameters() if tensor.requires_grad)
        metrics = metrics_of(history, keep=recipe.keep, parameters=parameters)
        write_json(METRICS, metrics | {"made_with": card.made_with})
        height, width = samples.shape[1:3]
        title = f"The first {len(samples)} training images as the first epoch has them, {width}x{height} pixels"
        write_bytes(AUGMENTED, drawn(AUGMENTED, lambda: draw_augmented(samples, title)))
    return f"{CLASSIFIER}{ending_of(history, recipe)}"


def _check_counts(recipe: TrainParams, course: Course, train: int, val: int) -> None:
    fewest = min(course.images)
    if course.batch_size > fewest:
        raise ParamsError(
            f"params.yaml: train.batch_size is {recipe.batch_size}, "
            f"more than the {fewest} training images{'' if fewest == train else ' of train.hard_fraction'}; lower it"
        )
    if not val and RANKED in os.environ:
        raise DataError(f"train: there are {NOTHING_TO_RANK}")
    least = 2 if recipe.augment.mixup or recipe.augment.cutmix else 1  # images of a shard
    if isinstance(recipe.shards, int) and course.batch_size < least * recipe.shards:
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


def _samples(train: Split, augment: Augment, recipe: TrainParams, scale: float) -> np.ndarray:
    """The first images uint8 (n, H, W, C) as the first epoch has them: augmented, mixed and resized."""
    images = augment(train.images, np.arange(min(SAMPLES, len(train))), 0)
    mixing = Mixing(recipe.seed, recipe.augment.mixup, recipe.augment.cutmix)
    mixed = mixing(images, step=0, shard=0).images if mixing.on else images
    return scaled(torch.from_numpy(mixed), scale).numpy()


def _card(recipe: TrainParams, dataset: Dataset, beginning: Beginning, compute: Compute) -> Card:
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
        params={"train": recipe.model_dump()},
        precision=compute.precision,
        made_with={"torch": torch.__version__, "processor": _processor(compute)},
        window=dataset.window,
    )


def _processor(compute: Compute) -> str:
    if compute.device.type == "cuda":
        return torch.cuda.get_device_name(compute.device)
    return instruction_set() if compute.device.type == "cpu" else compute.device.type


def _see(classifier: Classifier, train: Split, compute: Compute) -> None:
    """Initialise a network's first layer from the data, if the network asks for it."""
    if isinstance(classifier.network, StartsFromImages):
        height, width = classifier.network_size or train.images.shape[1:3]
        count = min(len(train), WHITENING_IMAGES, max(1, WHITENING_PIXELS // (height * width)))
        # Own images are sorted by class, so the first ones show only one class.
        in_classes = bool((np.diff(train.labels) >= 0).all())
        chosen = np.arange(count) * len(train) // count if in_classes else np.arange(count)
        classifier.network.look_at(classifier.pixels(torch.from_numpy(train.images[chosen]).to(compute.device)))


if __name__ == "__main__":
    run_stage("train", main)
