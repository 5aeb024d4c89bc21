"""SVHN's cropped digits: MATLAB files, read with SciPy."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imageclf.datasets.source import Arrays


def decode(paths: Sequence[Path]) -> Arrays:
    """Read train, then test. The files write the digit 0 as label 10."""
    from scipy.io import loadmat  # here, so that the other sets do without SciPy

    arrays: Arrays = {}
    for split, path in zip(("train", "test"), paths, strict=True):
        values = loadmat(path, variable_names=("X", "y"))
        arrays[f"{split}_images"] = np.ascontiguousarray(values["X"].transpose(3, 0, 1, 2))  # (H, W, C, N) before
        arrays[f"{split}_labels"] = values["y"].reshape(-1).astype(np.int64) % 10
    return arrays
