"""SVHN's cropped digits: MATLAB files, read with SciPy."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imageclf.datasets.source import Arrays, Entry, PinnedFile, Source
from imageclf.datasets.web import Web


def decode(paths: Sequence[Path]) -> Arrays:
    """Read train, then test. The files write the digit 0 as label 10."""
    from scipy.io import loadmat  # here: only SVHN needs SciPy

    arrays: Arrays = {}
    for split, path in zip(("train", "test"), paths, strict=True):
        values = loadmat(path, variable_names=("X", "y"))
        arrays[f"{split}_images"] = np.ascontiguousarray(values["X"].transpose(3, 0, 1, 2))  # (H, W, C, N) before
        arrays[f"{split}_labels"] = values["y"].reshape(-1).astype(np.int64) % 10
    return arrays


ENTRIES = (
    Entry(
        "svhn",
        tuple("0123456789"),
        (
            Source(
                Web("https://ufldl.stanford.edu/housenumbers/"),
                (
                    PinnedFile(
                        "train_32x32.mat",
                        182_040_794,
                        "sha256:435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
                    ),
                    PinnedFile(
                        "test_32x32.mat",
                        64_275_384,
                        "sha256:cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
                    ),
                ),
                decode,
            ),
        ),
        needs="scipy==1.17.1",
    ),
)
