"""What the stages before evaluate leave behind, small: data/prepared, models/classifier and params.yaml."""

import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from imageclf.models.card import Card
from imageclf.models.classifier import build_classifier, save_classifier
from imageclf.runtime.files import write_sums
from tests.imports import ROOT


def make_card(
    model: str = "cifarnet",
    *,
    classes: tuple[str, ...] = ("ant", "bee", "cat"),
    size: tuple[int, int] = (16, 16),
    channels: int = 3,
) -> Card:
    return Card(
        model=model,
        classes=list(classes),
        head="replace",
        size=size,
        network_size=size,
        channels=channels,
        mean=[0.5] * channels,
        std=[0.25] * channels,
        tta_flip=False,
        data="tiny",
        data_sha256={},
        made_from={},
        params={"train": {"model": model, "lr": 0.01, "augment": {"flip": "none"}}},
        precision="fp32",
        made_with={"torch": torch.__version__},
    )


def make_run(folder: Path, card: Card, *, images: np.ndarray, labels: np.ndarray, val: int = 0) -> None:
    """The test split is `images` uint8 (N, H, W, C) and `labels` (N,), validation the first `val` of them.

    The classifier is untrained.
    """
    make_prepared(folder, card, images=images, labels=labels, val=val)
    torch.manual_seed(0)
    save_classifier(build_classifier(card), card, folder / "models/classifier")


def make_prepared(folder: Path, card: Card, *, images: np.ndarray, labels: np.ndarray, val: int = 0) -> None:
    """The prepared data, and the metrics that prepare and train leave."""
    prepared = folder / "data/prepared"
    prepared.mkdir(parents=True)
    np.save(prepared / "test_images.npy", images)
    np.save(prepared / "test_labels.npy", labels)
    for split, count in (("train", 1), ("val", val)):
        np.save(prepared / f"{split}_images.npy", images[:count])
        np.save(prepared / f"{split}_labels.npy", labels[:count])
    facts = {"name": "tiny", "classes": card.classes, "size": card.size, "channels": card.channels}
    unused = {"mean": card.mean, "std": card.std, "counts": {}, "sha256": {}}
    (prepared / "dataset.json").write_text(json.dumps(facts | unused))
    rows = [("train-00000", "tiny/train/00000", card.classes[0], "train")]
    rows += [(f"test-{i:05d}", f"tiny/test/{i:05d}", card.classes[label], "test") for i, label in enumerate(labels)]
    pd.DataFrame(rows, columns=["id", "path", "label", "split"]).to_csv(prepared / "samples.csv", index=False)
    write_sums(prepared)
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    metrics = folder / "metrics"
    metrics.mkdir()
    (metrics / "history.csv").write_text("epoch,train_loss,val_loss,train_top1,val_top1,lr\n1,2.5,,0.25,,0.1\n")
    (metrics / "data_report.csv").write_text("path,problem,action\n")
    for name in ("preview.png", "augmented.png", "near_copies.png"):
        Image.new("RGB", (8, 8), "red").save(metrics / name)


def random_images(count: int, card: Card) -> np.ndarray:
    shape = (count, *card.size, card.channels)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def answers_here(reader: str, model: Path, images: Path) -> np.ndarray:
    """As export asks a file for its answers, without the seconds that a fresh process takes."""
    answers = model.with_name(f"{model.name}.npy")
    importlib.import_module(reader).main(model, images, answers)
    found = np.load(answers)
    answers.unlink()
    return found
