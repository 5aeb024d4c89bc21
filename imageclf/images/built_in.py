"""Choose the images to use and their splits, for built-in sets."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from imageclf.config.prepare import PrepareParams
from imageclf.images.checks import Found, no_validation, write_report
from imageclf.images.packing import Part, Sample, image_files, write_images
from imageclf.images.splits import NONE, TEST, TRAIN, VAL, Dealt, choose_validation, few_of_each, split_units
from imageclf.runtime.errors import ParamsError


def look_at_arrays(raw: Path, name: str, params: PrepareParams, *, folder: Path) -> Found:
    """Split a built-in set's training images into training and validation, and write the images into `folder`.

    Raises:
        ParamsError: prepare.size, fit or window does not suit the set, or no image is left to train on.
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
    if params.fit != "crop":
        raise ParamsError(
            f"params.yaml: prepare.fit is for own images, and those of {name} keep their shape; set it to crop"
        )
    split_of, fold = _deal(labels["train"], params)
    free = np.flatnonzero(split_of == TRAIN)
    if not len(free):
        raise ParamsError(
            f"params.yaml: prepare.val_fraction is {params.val_fraction}, which leaves no image to train on"
        )
    training = free[few_of_each(labels["train"][free], None, count=params.per_class, seed=params.seed)]
    origin = {
        "train": ("train", training),
        "val": ("train", np.flatnonzero(split_of == VAL)),
        "test": ("train", np.flatnonzero(split_of == TEST))
        if params.part
        else ("test", np.arange(len(labels["test"]))),
    }
    for split, file in image_files(folder, (height, width, channels)).items():
        raw_split, indices = origin[split]
        write_images(file, images[raw_split], indices)
    parts = {
        split: Part(
            labels[raw_split][indices],
            _numbered(name, raw_split, indices),
            folds=fold[indices] if params.part else None,
        )
        for split, (raw_split, indices) in origin.items()
    }
    seen = sum(map(len, labels.values()))
    used = sum(len(part.labels) for part in parts.values())
    no_val = params.val_fraction > 0 and not len(parts["val"].labels)
    findings = [no_validation(len(split_of))] if no_val else []
    write_report(findings, [])
    return Found(
        parts,
        (height, width, channels),
        seen=seen,
        findings=findings,
        sizes=np.array([(width, height)]),
        modes=Counter({"RGB" if channels == 3 else "L": used}),
        near_copies=("Built-in data sets are not searched for near-copies", []),
    )


def _deal(labels: np.ndarray, params: PrepareParams) -> Dealt:
    """Where the training images go."""
    if not params.part:
        in_val = choose_validation(labels, fraction=params.val_fraction, seed=params.seed)
        return Dealt(np.where(in_val, VAL, TRAIN), np.full(len(labels), -1))
    alone = np.arange(len(labels))
    return split_units(
        alone,
        alone.astype(np.uint64),
        np.full(len(labels), NONE),
        labels,
        val_fraction=params.val_fraction,
        test_fraction=params.test_fraction,
        seed=params.seed,
        fold=params.part,
    )


def _numbered(name: str, split: str, indices: np.ndarray) -> Iterator[Sample]:
    return ((f"{split}-{index:05d}", f"{name}/{split}/{index:05d}", "") for index in indices)
