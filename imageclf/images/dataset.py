"""Read the prepared data set: packed images, labels and dataset.json, which imageclf/images/packing.py writes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imageclf.runtime.errors import DataError
from imageclf.runtime.files import brings, check_sums

PREPARED = Path("data/prepared")
SPLITS = ("train", "val", "test")
RANKED = "RANKED_BY_VALIDATION"  # environment variable of a sweep, which needs validation images
NOTHING_TO_RANK = "no validation images to rank by; raise prepare.val_fraction, or add a val/ folder"


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, H, W, C), memory-mapped; labels int64 (N,)."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[Callable[..., "Split"], tuple[object, ...]]:
        """Hand a spawned process the file, not its gigabytes."""
        file = getattr(self.images, "filename", None)
        return (_mapped, (file, self.labels)) if file else (Split, (self.images, self.labels))


@dataclass(frozen=True)
class Dataset:
    """dataset.json: the facts about a prepared data set that a model needs."""

    name: str
    classes: list[str]
    size: tuple[int, int]  # height, width in pixels
    channels: int
    mean: list[float]  # of the training split, for each channel, on the scale 0 to 1
    std: list[float]
    counts: dict[str, int]  # images per split
    sha256: dict[str, str]  # of each array's file
    window: list[int] | None = None  # values of 16-bit grey pictures that become black and white; None: 0 and 65535
    fit: str = "crop"  # prepare.fit of own images: crop, pad or stretch


def read_dataset(folder: Path = PREPARED) -> Dataset:
    """Check the integrity of all files, then read dataset.json.

    Raises:
        DataError: a file is missing or damaged.
    """
    if not folder.exists():
        raise DataError(f"{folder} is missing; run {brings('prepare')}")
    check_sums(folder)
    facts = json.loads((folder / "dataset.json").read_text())
    return Dataset(**facts | {"size": tuple(facts["size"])})


def read_split(name: str, folder: Path = PREPARED) -> Split:
    """Memory-map one split; call `read_dataset` first to check its files."""
    return _mapped(folder / f"{name}_images.npy", np.load(folder / f"{name}_labels.npy"))


def _mapped(file: Path | str, labels: np.ndarray) -> Split:
    return Split(np.load(file, mmap_mode="r"), labels)
