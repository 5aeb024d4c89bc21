"""A built-in data set, which download keeps as arrays, looked over and split."""

from collections import Counter
from pathlib import Path

import numpy as np

from stages.console.errors import ParamsError
from stages.params.schema import PrepareParams
from stages.preparing.findings import no_validation, write_report
from stages.preparing.found import Found
from stages.preparing.pack import Part
from stages.preparing.split import choose_validation, few_of_each


def look_at_arrays(raw: Path, name: str, params: PrepareParams) -> Found:
    """Cut its training images into training and validation.

    Raises:
        ParamsError: prepare.size is not theirs, prepare.window is set, or no image is left to train on.
    """
    images = {split: np.load(raw / f"{split}_images.npy", mmap_mode="r") for split in ("train", "test")}
    labels = {split: np.load(raw / f"{split}_labels.npy") for split in ("train", "test")}
    height, width, channels = images["train"].shape[1:]
    if params.size not in ("auto", height) or params.size not in ("auto", width):
        raise ParamsError(
            f"params.yaml: prepare.size is {params.size}, and the images of {name} have {width}x{height} pixels; "
            "set it to auto"
        )
    if params.window:
        raise ParamsError(f"params.yaml: prepare.window is for own 16-bit images, not for {name}; set it to null")
    in_val = choose_validation(labels["train"], fraction=params.val_fraction, seed=params.seed)
    if in_val.all():
        raise ParamsError(
            f"params.yaml: prepare.val_fraction is {params.val_fraction}, which leaves no image to train on"
        )
    free = np.flatnonzero(~in_val)
    training = free[few_of_each(labels["train"][free], None, count=params.per_class, seed=params.seed)]
    origin = {
        "train": ("train", training),
        "val": ("train", np.flatnonzero(in_val)),
        "test": ("test", np.arange(len(labels["test"]))),
    }
    parts = {
        split: Part(
            take=images[raw_split].__getitem__,
            indices=indices,
            labels=labels[raw_split][indices],
            ids=[f"{raw_split}-{index:05d}" for index in indices],
            paths=[f"{name}/{raw_split}/{index:05d}" for index in indices],
        )
        for split, (raw_split, indices) in origin.items()
    }
    seen = sum(map(len, labels.values()))
    used = sum(len(part.labels) for part in parts.values())
    findings = [no_validation(len(in_val))] if params.val_fraction and not in_val.any() else []
    write_report(findings, [])
    return Found(
        parts,
        (height, width, channels),
        seen=seen,
        findings=findings,
        sizes=[(width, height)],
        modes=Counter({"RGB" if channels == 3 else "L": used}),
    )
