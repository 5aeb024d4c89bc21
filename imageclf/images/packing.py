"""Write the prepared data set: packed images, labels, samples.csv and dataset.json."""

import csv
import io
import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imageclf.images.dataset import SPLITS
from imageclf.runtime.files import sha256_of_file, write_json

CHUNK = 4 * 2**20  # bytes of images at a time, to limit memory
MUCH = 2**29  # bytes of images from which compiled loops are worth the second that they take to load
Shape = tuple[int, int, int]  # H, W, C of an image


Sample = tuple[str, str, str]  # id, path, group; empty: none


@dataclass(frozen=True)
class Part:
    """A split: the label of each image and its line in samples.csv, in the order of its array."""

    labels: np.ndarray  # int64
    samples: Iterable[Sample] = ()
    grouped: bool = False  # some image has a group
    folds: np.ndarray | None = None  # int8, the number of the fold that tests each image, or -1


class ImageFile:
    """A .npy file of images uint8 (N, H, W, C), as np.save writes it, whose images may be written in any order."""

    def __init__(self, path: Path, shape: Shape) -> None:
        self.path, self.shape = path, shape
        self.bytes = math.prod(shape)  # of an image
        self._begin = len(self._header(0))

    def resize(self, number: int) -> None:
        """Make room for `number` images: a new one is zeros, which take no space on disk until they are written."""
        header = self._header(number)
        assert len(header) == self._begin  # numpy pads it for any number
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            file.write(header)
            file.truncate(self.place(number))

    def place(self, position: int) -> int:
        """Where in the file the image at `position` begins."""
        return self._begin + position * self.bytes

    def move(self, old: np.ndarray, new: np.ndarray) -> None:
        """Move images to new positions, both (n,) and ascending; an image is read before another takes its place."""
        down, up = np.flatnonzero(new < old), np.flatnonzero(new > old)[::-1]
        with self.path.open("r+b", buffering=0) as file:
            for at in chain(down, up):
                file.seek(self.place(int(old[at])))
                image = file.read(self.bytes)
                file.seek(self.place(int(new[at])))
                file.write(image)

    def _header(self, number: int) -> bytes:
        head = io.BytesIO()
        facts = {"descr": "|u1", "fortran_order": False, "shape": (number, *self.shape)}
        np.lib.format.write_array_header_1_0(head, facts)
        return head.getvalue()


def image_files(folder: Path, shape: Shape) -> dict[str, ImageFile]:
    """The file of each split's images in the folder of a prepared data set."""
    return {split: ImageFile(folder / f"{split}_images.npy", shape) for split in SPLITS}


def write_images(file: ImageFile, images: np.ndarray, indices: np.ndarray) -> None:
    """Write the images at `indices` (n,) of uint8 (N, H, W, C)."""
    file.resize(len(indices))
    step = max(1, CHUNK // file.bytes)
    with file.path.open("r+b") as target:
        target.seek(file.place(0))
        for begin in range(0, len(indices), step):
            target.write(np.ascontiguousarray(images[indices[begin : begin + step]]).data)


def pack(
    folder: Path,
    parts: dict[str, Part],
    *,
    name: str,
    classes: list[str],
    shape: Shape,
    window: list[int] | None,
    fit: str,
) -> dict[str, str]:
    """Write labels, samples.csv and dataset.json beside the images; `window` and `fit` are those of prepare.

    Returns the sha256 of each array's file, by name.
    """
    arrays = [f"{split}_images.npy" for split in SPLITS]
    for split, part in parts.items():
        for what, values in (("labels", part.labels), ("folds", part.folds)):
            if values is not None:
                np.save(folder / f"{split}_{what}.npy", values)
                arrays.append(f"{split}_{what}.npy")
    with ThreadPoolExecutor() as pool:
        measured = pool.submit(mean_and_std, np.load(folder / "train_images.npy", mmap_mode="r"))
        sums = dict(zip(arrays, pool.map(sha256_of_file, [folder / name for name in arrays]), strict=True))
        mean, std = measured.result()
    _write_samples(folder / "samples.csv", parts, classes)
    facts: dict[str, Any] = {
        "name": name,
        "classes": classes,
        "size": shape[:2],
        "channels": shape[2],
        "mean": mean,
        "std": std,
        "counts": {split: len(parts[split].labels) for split in SPLITS},
        "sha256": {name.removesuffix(".npy"): digest for name, digest in sums.items()},
        "window": window,
    }
    write_json(folder / "dataset.json", facts | ({"fit": fit} if fit != "crop" else {}))
    return sums


def _chunks(images: np.ndarray) -> list[np.ndarray]:
    step = max(1, CHUNK // math.prod(images.shape[1:]))
    return [images[begin : begin + step] for begin in range(0, len(images), step)]


def _write_samples(path: Path, parts: dict[str, Part], classes: list[str]) -> None:
    """One row per image, in the order of the arrays: id, path, label, split, and group if any image has one."""
    grouped = any(part.grouped for part in parts.values())
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "path", "label", "split", *["group"] * grouped])
        for split, part in parts.items():
            for label, (name, at, group) in zip(part.labels, part.samples, strict=True):
                writer.writerow([name, at, classes[label], split, *[group] * grouped])


def mean_and_std(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and std of each channel of uint8 (N, H, W, C) on the scale 0 to 1, rounded to 8 digits.

    Sums of whole numbers are exact: neither order nor chunks can change the result.
    """
    sums = np.zeros((2, images.shape[3]), np.int64)
    add = _add_moments
    if images.nbytes >= MUCH:
        from imageclf.images.shrink import add_moments as add  # here, since importing numba takes half a second
    for chunk in _chunks(images):
        add(chunk, sums)
    number = images.size // images.shape[3]
    mean = [round(total / number / 255, 8) for total in sums[0].tolist()]
    std = [
        round(math.sqrt(number * squares - total * total) / number / 255, 8)
        for total, squares in zip(*sums.tolist(), strict=True)
    ]
    return mean, std


def _add_moments(images: np.ndarray, sums: np.ndarray) -> None:
    """Add to sums (2, C), int64, the sum and the sum of squares of each channel of uint8 (N, H, W, C)."""
    channels = images.shape[3]
    pixels = images.reshape(-1, images.shape[2], channels)  # one tall image
    picture = Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])
    counts = np.asarray(picture.histogram(), np.int64).reshape(channels, 256)
    values = np.arange(256)
    sums += np.stack([values, values**2]) @ counts.T
