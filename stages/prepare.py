"""Cut validation from training and pack each split for the stages that follow.

Reads data/raw, writes data/prepared (arrays, labels, samples.csv, dataset.json) and metrics/preview.png. Run by
`dvc repro prepare`; 2 seconds for CIFAR-10.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.console.errors import DataError, ParamsError
from stages.console.stage import run_stage
from stages.data.prepared import PREPARED, SPLITS
from stages.files.atomic import replaced_file, replaced_folder, write_json
from stages.files.hashing import sha256_of_array
from stages.files.sums import check_sums
from stages.params.read import read_params
from stages.preparing.preview import draw_preview
from stages.preparing.split import choose_validation
from stages.preparing.statistics import channel_statistics

RAW = Path("data/raw")
PREVIEW = Path("metrics/preview.png")


def main() -> str:
    # 1. Read the raw data set.
    params = read_params().prepare
    facts = _read_facts()
    name, classes = facts["name"], facts["classes"]
    images = {split: np.load(RAW / f"{split}_images.npy", mmap_mode="r") for split in ("train", "test")}
    labels = {split: np.load(RAW / f"{split}_labels.npy") for split in ("train", "test")}
    print(f"prepare: {name}, {len(classes)} classes, {params.val_fraction:g} of training for validation", flush=True)

    # 2. Decide which image goes where: (raw split, indices) for each split.
    in_val = choose_validation(labels["train"], fraction=params.val_fraction, seed=params.seed)
    if in_val.all():
        raise ParamsError(
            f"params.yaml: prepare.val_fraction is {params.val_fraction}, which leaves no image to train on"
        )
    origin = {
        "train": ("train", np.flatnonzero(~in_val)),
        "val": ("train", np.flatnonzero(in_val)),
        "test": ("test", np.arange(len(labels["test"]))),
    }

    # 3. Pack, with what a model needs to know.
    with replaced_folder(PREPARED) as folder:
        packed = {}
        for split, (raw, indices) in origin.items():
            packed[split] = images[raw][indices]
            np.save(folder / f"{split}_images.npy", packed[split])
            np.save(folder / f"{split}_labels.npy", labels[raw][indices])
        _samples(name, classes, labels, origin).to_csv(folder / "samples.csv", index=False, lineterminator="\n")
        mean, std = channel_statistics(packed["train"])
        write_json(
            folder / "dataset.json",
            {
                "name": name,
                "classes": classes,
                "size": packed["train"].shape[1:3],
                "channels": packed["train"].shape[3],
                "mean": mean,
                "std": std,
                "counts": {split: len(packed[split]) for split in SPLITS},
                "sha256": {f"{split}_images": sha256_of_array(packed[split]) for split in SPLITS}
                | {f"{split}_labels": sha256_of_array(labels[raw][at]) for split, (raw, at) in origin.items()},
            },
        )

    # 4. Something to look at.
    with replaced_file(PREVIEW) as file:
        draw_preview(packed["train"], labels["train"][origin["train"][1]], classes).save(file, format="PNG")
    counts = ", ".join(f"{len(packed[split]):,} {split}" for split in SPLITS)
    return f"{counts} images in {PREPARED}"


def _read_facts() -> dict[str, Any]:
    if not RAW.exists():
        raise DataError(f"{RAW} is missing; run dvc repro download")
    check_sums(RAW)
    return json.loads((RAW / "dataset.json").read_text())


def _samples(
    name: str, classes: list[str], labels: dict[str, np.ndarray], origin: dict[str, tuple[str, np.ndarray]]
) -> pd.DataFrame:
    """One line an image, in the order of the arrays: its id, where it came from, its class, its split."""
    tables = [
        pd.DataFrame(
            {
                "id": [f"{raw}-{index:05d}" for index in indices],
                "path": [f"{name}/{raw}/{index:05d}" for index in indices],
                "label": [classes[label] for label in labels[raw][indices]],
                "split": split,
            }
        )
        for split, (raw, indices) in origin.items()
    ]
    return pd.concat(tables)


if __name__ == "__main__":
    run_stage("prepare", main)
