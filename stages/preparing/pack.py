"""data/prepared: every split packed into one array, and what a model needs to know of them."""

import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.data.prepared import SPLITS
from stages.files.atomic import write_json
from stages.files.hashing import sha256_of_array
from stages.preparing.statistics import count_values, mean_and_std

CHUNK = 4 * 2**20  # bytes of images at a time; keeps memory flat


@dataclass(frozen=True)
class Part:
    """A split: what gives images uint8 (n, H, W, C) at `indices` (n,); and for each image label, id and path."""

    take: Callable[[np.ndarray], np.ndarray]
    indices: np.ndarray
    labels: np.ndarray  # int64
    ids: list[str]
    paths: list[str]

    def images(self, positions: np.ndarray | slice) -> np.ndarray:
        """Those at positions in this split."""
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
    """Write arrays, samples.csv and dataset.json; `shape` is (H, W, C), `window` what prepare.window was."""
    sha256, counts = {}, {}
    for split in SPLITS:
        part = parts[split]
        sha256[f"{split}_images"], counts[split] = _write_images(folder / f"{split}_images.npy", part, shape)
        sha256[f"{split}_labels"] = sha256_of_array(part.labels)
        np.save(folder / f"{split}_labels.npy", part.labels)
    _samples(parts, classes).to_csv(folder / "samples.csv", index=False, lineterminator="\n")
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
    """Write one split as np.save would: the sha256 of its values, and how often each stands in each channel."""
    number = len(part.labels)
    digest, counts = hashlib.sha256(), np.zeros((shape[2], 256), np.int64)
    step = max(1, CHUNK // int(np.prod(shape)))

    def look(images: np.ndarray) -> None:  # on another core than reads and writes
        nonlocal counts
        digest.update(images.data)
        counts += count_values(images)

    with path.open("wb") as file, ThreadPoolExecutor(1) as beside:
        header = {"descr": "|u1", "fortran_order": False, "shape": (number, *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        looking: Future[object] = beside.submit(int)  # at nothing yet
        for begin in range(0, number, step):
            images = np.ascontiguousarray(part.images(slice(begin, begin + step)))
            looking.result()  # so that no more than two chunks are in memory
            looking = beside.submit(look, images)
            file.write(images.data)
        looking.result()
    return digest.hexdigest(), counts


def _samples(parts: dict[str, Part], classes: list[str]) -> pd.DataFrame:
    """One line an image, in the order of the arrays: its id, where it came from, its class, its split."""
    tables = [
        pd.DataFrame(
            {
                "id": part.ids,
                "path": part.paths,
                "label": [classes[label] for label in part.labels],
                "split": split,
            }
        )
        for split, part in parts.items()
    ]
    return pd.concat(tables)
