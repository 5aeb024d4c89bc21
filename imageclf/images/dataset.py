"""Write and read the prepared data set: packed images, labels, samples.csv and dataset.json."""

import csv
import hashlib
import json
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

import numpy as np
from PIL import Image

from imageclf.runtime.errors import DataError
from imageclf.runtime.files import brings, check_sums, sha256_of_array, write_json

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
    sha256: dict[str, str]  # of the values of each array
    window: list[int] | None = None  # values of 16-bit grey pictures that become black and white; None: 0 and 65535


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


CHUNK = 4 * 2**20  # bytes of images at a time, to limit memory


@dataclass(frozen=True)
class Part:
    """A split: `take` returns images uint8 (n, H, W, C) at `indices` (n,); label, id and path of each image."""

    take: Callable[[np.ndarray], np.ndarray]
    indices: np.ndarray
    labels: np.ndarray  # int64
    ids: list[str]
    paths: list[str]
    groups: list[str] = field(default_factory=list)  # empty: no image has one

    def images(self, positions: np.ndarray | slice) -> np.ndarray:
        """Images at positions in this split."""
        return self.take(self.indices[positions])


def pack(
    folder: Path,
    parts: dict[str, Part],
    *,
    name: str,
    classes: list[str],
    shape: tuple[int, int, int],
    window: list[int] | None,
) -> None:
    """Write arrays, samples.csv and dataset.json; `shape` is (H, W, C), `window` is prepare.window."""
    sha256, counts = {}, {}
    for split in SPLITS:
        part = parts[split]
        sha256[f"{split}_images"], counts[split] = _write_images(folder / f"{split}_images.npy", part, shape)
        sha256[f"{split}_labels"] = sha256_of_array(part.labels)
        np.save(folder / f"{split}_labels.npy", part.labels)
    _write_samples(folder / "samples.csv", parts, classes)
    mean, std = mean_and_std(counts["train"])
    write_json(
        folder / "dataset.json",
        {
            "name": name,
            "classes": classes,
            "size": shape[:2],
            "channels": shape[2],
            "mean": mean,
            "std": std,
            "counts": {split: len(parts[split].labels) for split in SPLITS},
            "sha256": sha256,
            "window": window,
        },
    )


def _write_images(path: Path, part: Part, shape: tuple[int, int, int]) -> tuple[str, np.ndarray]:
    """Write one split as np.save does; returns the sha256 and the histograms of its values."""
    number = len(part.labels)
    digest, counts = hashlib.sha256(), np.zeros((shape[2], 256), np.int64)
    step = max(1, CHUNK // int(np.prod(shape)))

    def look(images: np.ndarray) -> None:  # on another core, beside reads and writes
        nonlocal counts
        digest.update(images.data)
        counts += count_values(images)

    with path.open("wb") as file, ThreadPoolExecutor(1) as beside:
        header = {"descr": "|u1", "fortran_order": False, "shape": (number, *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        looking: Future[object] = beside.submit(int)  # nothing yet
        for begin in range(0, number, step):
            images = np.ascontiguousarray(part.images(slice(begin, begin + step)))
            looking.result()  # at most two chunks are in memory
            looking = beside.submit(look, images)
            file.write(images.data)
        looking.result()
    return digest.hexdigest(), counts


def _write_samples(path: Path, parts: dict[str, Part], classes: list[str]) -> None:
    """One row per image, in the order of the arrays: id, path, label, split, and group if any image has one."""
    grouped = any(any(part.groups) for part in parts.values())
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "path", "label", "split", *["group"] * grouped])
        for split, part in parts.items():
            names = (classes[label] for label in part.labels)
            groups = [part.groups] * grouped
            writer.writerows(zip(part.ids, part.paths, names, repeat(split), *groups))


def count_values(images: np.ndarray) -> np.ndarray:
    """Histogram of each channel of uint8 (N, H, W, C), int64 (C, 256).

    Integer counts are exact: the order of images and chunks cannot change the result.
    """
    channels = images.shape[3]
    pixels = images.reshape(-1, images.shape[2], channels)  # one tall image
    picture = Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])
    return np.asarray(picture.histogram(), np.int64).reshape(channels, 256)


def mean_and_std(counts: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and std of each channel on the scale 0 to 1, rounded to 8 digits, from histograms (C, 256)."""
    mean, std = [], []
    for histogram in counts.tolist():
        number = sum(histogram)
        total = sum(value * count for value, count in enumerate(histogram))
        squares = sum(value * value * count for value, count in enumerate(histogram))
        mean.append(round(total / number / 255, 8))
        std.append(round(math.sqrt(number * squares - total * total) / number / 255, 8))
    return mean, std
