"""Train a classifier on the prepared images.

Reads data/prepared, writes models/classifier, metrics/train.json, metrics/history.csv and metrics/augmented.png, and
TensorBoard events under logs/. Run by `dvc repro train`; about a minute for CIFAR-10 on two cores.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from stages.console.errors import ParamsError
from stages.console.stage import project_root, run_stage
from stages.data.augment import Augment
from stages.data.prepared import Dataset, read_dataset, read_split
from stages.data.randomness import torch_seed
from stages.data.scaling import scaled, scaled_size
from stages.files.atomic import replaced_file, write_json, write_text
from stages.model.card import CLASSIFIER, Card
from stages.model.cifarnet import CifarNet
from stages.model.classifier import Classifier, build_classifier, save_classifier
from stages.model.registry import check_takes
from stages.params.flat import flat
from stages.params.read import read_params
from stages.params.schema import TrainParams
from stages.training.augmented import draw_augmented
from stages.training.checkpoint import CHECKPOINTS, held_checkpoints
from stages.training.compute import Compute, choose_compute
from stages.training.fingerprint import fingerprint
from stages.training.fit import fit
from stages.training.log import RunLog, log_folder
from stages.training.run import Row, choose_scales
from stages.training.shards import shard_count

METRICS = Path("metrics/train.json")
HISTORY = Path("metrics/history.csv")
AUGMENTED = Path("metrics/augmented.png")
COLUMNS = ["epoch", "train_loss", "val_loss", "train_top1", "val_top1", "lr"]
WHITENING_IMAGES = 5000
SAMPLES = 64  # images that are shown as the network sees them
BUILD = 2**32  # the random stream of the first weights; steps count from 0


def main() -> str:
    # 1. What, with which data, where.
    params = read_params()
    recipe, runtime = params.train, params.runtime
    dataset, train, val = read_dataset(), read_split("train"), read_split("val")
    if recipe.batch_size > len(train):
        raise ParamsError(
            f"params.yaml: train.batch_size is {recipe.batch_size}, "
            f"more than the {len(train)} training images; lower it"
        )
    shards = shard_count(recipe.batch_size, recipe.shards)
    compute = choose_compute(runtime.device, recipe.precision, runtime.workers, shards=shards)
    print(
        f"train: {recipe.model} on {dataset.name}, {len(train):,} images, {recipe.epochs} epochs; "
        f"{compute.device}, {compute.precision}, {compute.workers} workers",
        flush=True,
    )

    # 2. A classifier with fresh weights.
    card = _card(recipe, dataset, compute)
    torch.manual_seed(torch_seed(recipe.seed, BUILD))
    classifier = build_classifier(card).to(compute.device).to(memory_format=torch.channels_last)
    for scale in choose_scales(recipe.scales, recipe.model):
        check_takes(classifier.network, recipe.model, dataset.channels, scaled_size(dataset.size, scale))
    _see(classifier, train.images[:WHITENING_IMAGES], compute)

    # 3. Train it, from where it was stopped if it was.
    augment = Augment(recipe.seed, **recipe.augment.model_dump())
    samples = _samples(train.images[:SAMPLES], recipe, augment)
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
                recipe=recipe,
                augment=augment,
                compute=compute,
                begun=begun,
                checkpoints=checkpoints,
                checkpoint_every=runtime.checkpoint_every,
                log=log,
                log_every=runtime.log_every,
            )

        # 4. Keep it, and how it went.
        save_classifier(classifier, card)
        rounded = pd.DataFrame(history, columns=COLUMNS).round(6)
        write_text(HISTORY, rounded.to_csv(index=False, lineterminator="\n"))
        write_json(METRICS, _metrics(history[-1], classifier))
        with replaced_file(AUGMENTED) as file:
            height, width = samples.shape[1:3]
            title = f"The first {len(samples)} training images as the first epoch has them, {width}x{height} pixels"
            draw_augmented(samples, title).save(file, format="PNG")
    top1 = f", val top-1 {100 * history[-1]['val_top1']:.2f} %" if len(val) else ""
    return f"{CLASSIFIER}{top1}"


def _card(recipe: TrainParams, dataset: Dataset, compute: Compute) -> Card:
    return Card(
        model=recipe.model,
        classes=dataset.classes,
        size=dataset.size,
        channels=dataset.channels,
        mean=dataset.mean,
        std=dataset.std,
        mirror=recipe.mirror,
        data=dataset.name,
        data_sha256=dataset.sha256,
        params={"train": recipe.model_dump()},
        precision=compute.precision,
        made_with={"torch": torch.__version__, "processor": _processor(compute)},
    )


def _processor(compute: Compute) -> str:
    if compute.device.type == "cuda":
        return torch.cuda.get_device_name(compute.device)
    return torch.backends.cpu.get_cpu_capability()


def _see(classifier: Classifier, images: np.ndarray, compute: Compute) -> None:
    """Let a network whose first layer comes from the data look at some."""
    if isinstance(classifier.network, CifarNet):
        classifier.network.whiten(classifier.pixels(torch.from_numpy(np.array(images)).to(compute.device)))


def _samples(images: np.ndarray, recipe: TrainParams, augment: Augment) -> np.ndarray:
    """The images uint8 (N, H, W, C) as the network sees them at first: augmented, and as small as training begins."""
    seen = augment(images, np.arange(len(images)), epoch=0)
    return scaled(torch.from_numpy(seen), choose_scales(recipe.scales, recipe.model)[0]).numpy()


def _metrics(last: Row, classifier: Classifier) -> dict[str, object]:
    metrics: dict[str, object] = {
        "parameters": sum(tensor.numel() for tensor in classifier.parameters() if tensor.requires_grad)
    }
    for split in ("train", "val"):
        scores = {name: round(last[f"{split}_{name}"], 6) for name in ("loss", "top1") if f"{split}_{name}" in last}
        if scores:
            metrics[split] = scores
    return metrics


if __name__ == "__main__":
    run_stage("train", main)
