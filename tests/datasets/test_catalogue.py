import re

import numpy as np
import pytest

from imageclf.datasets.catalogue import CATALOGUE
from imageclf.datasets.source import Arrays, Entry, fault_of
from imageclf.datasets.web import Web, https_only


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_an_entry_is_complete(entry: Entry) -> None:
    different = len(set(entry.classes))
    assert different == len(entry.classes) == {"cifar10": 10, "cifar100": 100, "shapes": 8}.get(entry.name, different)
    assert bool(entry.sources) != bool(entry.draw)
    for source in entry.sources:
        for file in source.files:
            assert file.size > 1000
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", file.digest)


DRAWN = {entry.name: entry for entry in CATALOGUE.values() if entry.draw}


@pytest.mark.parametrize("entry", DRAWN.values(), ids=DRAWN)
def test_a_drawing_is_uint8_images_with_a_label_each(entry: Entry) -> None:
    assert entry.draw
    assert fault_of(entry.draw(), entry.classes) == ""


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"train_images": np.zeros((4, 8, 8, 3))}, r"train_images are float64 (4, 8, 8, 3), not uint8 (N, H, W, C)"),
        ({"test_images": np.zeros((2, 8, 8), np.uint8)}, "test_images are uint8 (2, 8, 8), not uint8 (N, H, W, C)"),
        ({"train_labels": np.zeros(3, int)}, "train has 4 images and labels of shape (3,)"),
        ({"test_labels": np.array([1, 2])}, "test_labels are 1 to 2, of 2 classes from 0"),
        (
            {"val_labels": np.zeros(0, int)},
            "its arrays are test_images, test_labels, train_images, train_labels, val",
        ),
    ],
    ids=["floats", "no channels", "labels missing", "labels from 1", "another split"],
)
def test_wrong_arrays_are_named(change: Arrays, fault: str) -> None:
    arrays = {
        "train_images": np.zeros((4, 8, 8, 3), np.uint8),
        "train_labels": np.array([0, 1, 0, 1]),
        "test_images": np.zeros((2, 8, 8, 3), np.uint8),
        "test_labels": np.array([0, 1]),
    }
    assert fault_of(arrays, ("ant", "bee")) == ""
    assert fault_of(arrays | change, ("ant", "bee")).startswith(fault)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_only_https_is_spoken(entry: Entry) -> None:
    for source in entry.sources:
        if isinstance(source.origin, Web):
            assert re.fullmatch(r"https://.+/", source.origin.url)
            assert source.origin.session is https_only
