"""MNIST's format and that of its successors: a magic number, the dimensions, the bytes, in gzip."""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imageclf.datasets.source import Arrays
from imageclf.runtime.errors import Fault

BYTES = 0x08  # the format's code for unsigned bytes
LARGEST = 1_000_000_000  # bytes


def decode(paths: Sequence[Path]) -> Arrays:
    """Read images and labels of train, then of test."""
    train_images, train_labels, test_images, test_labels = (read_idx(path) for path in paths)
    return {
        "train_images": train_images[..., None],  # (N, H, W) to (N, H, W, 1)
        "train_labels": train_labels.astype(np.int64),
        "test_images": test_images[..., None],
        "test_labels": test_labels.astype(np.int64),
    }


def read_idx(path: Path) -> np.ndarray:
    """Read one file of unsigned bytes, of any number of dimensions.

    Raises:
        Fault: it is of another kind, or its length is not what its dimensions say.
    """
    try:
        with gzip.open(path) as file:
            zeros, kind, dimensions = struct.unpack(">HBB", file.read(4))
            if zeros or kind != BYTES:
                raise Fault(f"{path.name} is not an IDX file of bytes")
            shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
            count = math.prod(shape)
            content = file.read(min(count, LARGEST) + 1)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise Fault(f"{path.name} is not a whole IDX file in gzip ({error})") from None
    if len(content) != count:
        raise Fault(f"{path.name} holds {len(content):,} values, its header says {count:,}")
    return np.frombuffer(content, np.uint8).reshape(shape)
