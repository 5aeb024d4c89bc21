"""What prepare leaves in data/prepared: packed arrays of images and labels for each split, and what they are."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.console.errors import DataError

PREPARED = Path("data/prepared")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, H, W, C), memory-mapped; labels int64 (N,)."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """dataset.json: the facts about a prepared data set that a model needs to know."""

    name: str
    classes: list[str]
    size: tuple[int, int]  # height, width in pixels
    channels: int
    mean: list[float]  # of the training split, for each channel, on the scale 0 to 1
    std: list[float]
    counts: dict[str, int]  # images in each split
    sha256: dict[str, str]  # of each array's values


def read_dataset(folder: Path = PREPARED) -> Dataset:
    """Read dataset.json.

    Raises:
        DataError: it is missing.
    """
    try:
        facts = json.loads((folder / "dataset.json").read_text())
    except FileNotFoundError:
        raise DataError(f"{folder}/dataset.json is missing; run dvc repro prepare") from None
    return Dataset(**facts | {"size": tuple(facts["size"])})


def read_split(name: str, folder: Path = PREPARED) -> Split:
    """Map one split into memory.

    Raises:
        DataError: a file of it is missing.
    """
    try:
        images = np.load(folder / f"{name}_images.npy", mmap_mode="r")
        labels = np.load(folder / f"{name}_labels.npy")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} is missing; run dvc repro prepare") from None
    return Split(images, labels)
