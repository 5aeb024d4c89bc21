"""CIFAR-10 and CIFAR-100, from the official archive of pickles or from PNG sheets."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from imageclf.datasets.archives import read_members, unpickle
from imageclf.datasets.source import Arrays
from imageclf.runtime.errors import Fault

SIDE = 32  # pixels
LARGEST = 160_000_000  # bytes of one member; CIFAR-100's train has 155 MB


def from_pickles(paths: Sequence[Path], *, train: Sequence[str], test: Sequence[str], labels: str) -> Arrays:
    """Read the members `train` and `test` of the one archive, whose labels stand under the key `labels`."""
    members = read_members(paths[0], dict.fromkeys([*train, *test], LARGEST))
    batches = {name: unpickle(content) for name, content in members.items()}
    arrays: Arrays = {}
    for split, names in (("train", train), ("test", test)):
        try:
            planes = np.concatenate([batches[name]["data"] for name in names]).reshape(-1, 3, SIDE, SIDE)
            arrays[f"{split}_labels"] = np.concatenate([np.asarray(batches[name][labels], np.int64) for name in names])
        except (KeyError, TypeError, ValueError) as error:
            raise Fault(f"its {split} batches are not as expected ({error})") from None
        arrays[f"{split}_images"] = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))  # (N, H, W, C)
    return arrays


def from_sheets(paths: Sequence[Path], *, train: Sequence[str], test: Sequence[str], labels: str) -> Arrays:
    """Read PNG sheets, an image a row of pixels, and JSON lists of labels, `labels` with the split put in."""
    lists = {split: labels.format(split) for split in ("train", "test")}
    members = read_members(paths[0], dict.fromkeys([*train, *test, *lists.values()], LARGEST))
    arrays: Arrays = {}
    for split, names in (("train", train), ("test", test)):
        arrays[f"{split}_images"] = np.concatenate([_sheet(members[name]) for name in names])
        arrays[f"{split}_labels"] = np.asarray(json.loads(members[lists[split]]), np.int64)
    return arrays


def _sheet(content: bytes) -> np.ndarray:
    """A sheet's images, uint8 (N, H, W, C)."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as sheet:
        return np.asarray(sheet).reshape(-1, SIDE, SIDE, 3)
