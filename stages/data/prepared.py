"""What prepare leaves in data/prepared: packed arrays of images and labels for each split, and what they are."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.console.errors import DataError
from stages.files.remote import brings
from stages.files.sums import check_sums

PREPARED = Path("data/prepared")
SPLITS = ("train", "val", "test")
RANKED = "RANKED_BY_VALIDATION"  # an environment variable that a sweep sets: training without validation is for nothing
NOTHING_TO_RANK = "no validation images to rank it by; raise prepare.val_fraction, or give its images a val/"


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
    window: list[int] | None = None  # values of 16-bit grey pictures that become black and white; None: 0 and 65535


def read_dataset(folder: Path = PREPARED) -> Dataset:
    """Read dataset.json, once every file beside it is known to be whole.

    Raises:
        DataError: a file is missing or damaged.
    """
    if not folder.exists():
        raise DataError(f"{folder} is missing; run {brings('prepare')}")
    check_sums(folder)
    facts = json.loads((folder / "dataset.json").read_text())
    return Dataset(**facts | {"size": tuple(facts["size"])})


def read_split(name: str, folder: Path = PREPARED) -> Split:
    """Map one split into memory; `read_dataset` has found its files whole."""
    images = np.load(folder / f"{name}_images.npy", mmap_mode="r")
    return Split(images, np.load(folder / f"{name}_labels.npy"))
