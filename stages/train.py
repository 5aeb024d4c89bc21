"""Train a classifier on the prepared images.

Reads data/prepared, writes models/classifier, metrics/train.json, metrics/history.csv and metrics/augmented.png, and
TensorBoard events under logs/. Run by `dvc repro train`; a minute and a half for CIFAR-10 on two cores with bf16.
"""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from imageclf.augment.transforms import Augment
from imageclf.config.runtime import RuntimeParams
from imageclf.config.section import read_section
from imageclf.config.train import TrainParams
from imageclf.images.dataset import read_dataset, read_split
from imageclf.images.grid import draw_augmented, drawn
from imageclf.models.card import CLASSIFIER
from imageclf.models.classifier import save_classifier
from imageclf.models.device import choose_compute
from imageclf.models.own import check_source
from imageclf.runtime.files import write_bytes, write_json, write_text
from imageclf.runtime.stage import project_root, run_stage
from imageclf.runtime.yaml import flat
from imageclf.training.auto import chosen_values, resolve, words_of
from imageclf.training.checkpoint import CHECKPOINTS, fingerprint, held_checkpoints
from imageclf.training.features import FEATURES
from imageclf.training.frozen import Task, on_features, solve
from imageclf.training.log import RunLog, log_folder
from imageclf.training.loop import fit
from imageclf.training.optimizers import LBFGS
from imageclf.training.outcome import ending_of, metrics_of
from imageclf.training.schedule import least_shard, plan_course
from imageclf.training.setup import build, check_counts, check_sizes, first_images, make_card
from imageclf.training.trial import try_out
from imageclf.weights.initial import DOWNLOADS, choose_beginning

METRICS = Path("metrics/train.json")
HISTORY = Path("metrics/history.csv")
AUGMENTED = Path("metrics/augmented.png")
COLUMNS = ["epoch", "train_loss", "val_loss", "train_top1", "val_top1", "lr"]


def main() -> str:
    # 1. Read the params and the data, and choose the device.
    params, runtime = read_section(TrainParams), read_section(RuntimeParams)
    dataset, train, val = read_dataset(), read_split("train"), read_split("val")
    beginning = choose_beginning(params, dataset, project_root() / DOWNLOADS)
    recipe = resolve(
        params,
        images=len(train),
        size=beginning.sees.size,
        begun=beginning.weights is not None,
        fresh_head=beginning.fresh_head,
    )
    course = plan_course(len(train), recipe)
    check_counts(recipe, course, len(train), len(val))
    compute = choose_compute(
        runtime.device,
        recipe.precision,
        runtime.workers,
        shards=recipe.shards,
        prefetch=runtime.prefetch,
        pin_memory=runtime.pin_memory,
    )
    how = f"{recipe.epochs} epochs, {course.total:,} steps of {course.batch_size} images"
    if recipe.optimizer == LBFGS:
        how = "logistic regression by L-BFGS, without epochs, batches and rates"
    print(
        f"train: {recipe.model} on {dataset.name}, {len(train):,} images, {how}; "
        f"{compute.device}, {compute.precision}, {compute.workers} workers",
        flush=True,
    )
    if words := words_of(chosen_values(params, recipe)):
        print(f"train: auto: {words}", flush=True)

    # 2. Build the classifier, from fresh or given weights.
    card = make_card(params, recipe, dataset, beginning, compute)
    try_out(card)
    classifier = build(card, beginning, recipe, train, compute)
    alone = least_shard(course, drop_last=recipe.drop_last, shards=recipe.shards) == 1
    check_sizes(classifier, recipe, card, alone=alone)

    augment = Augment(recipe.seed, recipe.augment)
    samples = first_images(train, augment, recipe)
    task = Task(classifier, train, val, augment, compute)

    # 3. With a frozen backbone, compute the features once.
    if recipe.freeze == "backbone":
        task = on_features(task, card, recipe, sha256=dataset.sha256, folder=project_root() / FEATURES)

    # 4. Train, from the newest checkpoint if there is one.
    run = fingerprint(asdict(card))
    with held_checkpoints(project_root() / CHECKPOINTS / run) as checkpoints:
        begun = checkpoints.newest()
        folder, first_step = log_folder(project_root(), run), begun.step if begun else 0
        with RunLog(folder, first_step=first_step, histograms=runtime.histograms) as log:
            if not begun:
                log.params({"data": dataset.name} | flat(card.params) | flat(card.auto))
                log.samples(samples)
                log.graph(classifier, train.images[:2])
            if recipe.optimizer == LBFGS:
                history = solve(task, recipe, log)
            else:
                history = fit(
                    task.classifier,
                    task.train,
                    task.val,
                    recipe=recipe,
                    augment=task.augment,
                    compute=task.compute,
                    begun=begun,
                    checkpoints=checkpoints,
                    checkpoint_every=runtime.checkpoint_every,
                    log=log,
                    log_every=runtime.log_every,
                )

        # 5. Save the classifier and its history.
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


if __name__ == "__main__":
    run_stage("train", main)
