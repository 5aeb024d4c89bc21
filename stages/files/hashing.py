"""sha256 of files and arrays."""

import hashlib
from pathlib import Path

import numpy as np


def sha256_of_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_array(array: np.ndarray) -> str:
    """Hex sha256 of an array's values in row-major order, whatever its layout in memory."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
