"""STL-10: raw bytes in a tar archive, in column-major order. Its 100,000 unlabelled images are not used."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imageclf.datasets.archives import read_members
from imageclf.datasets.source import Arrays, Entry, PinnedFile, Source
from imageclf.datasets.web import Web

SIDE = 96  # pixels
LARGEST = {"train": 5000, "test": 8000}  # images


def decode(paths: Sequence[Path]) -> Arrays:
    """Read the labelled images of both splits; the file's labels count from 1."""
    wanted: dict[str, int] = {}
    for split, count in LARGEST.items():
        wanted |= {f"stl10_binary/{split}_X.bin": count * 3 * SIDE * SIDE, f"stl10_binary/{split}_y.bin": count}
    members = read_members(paths[0], wanted)
    arrays: Arrays = {}
    for split in LARGEST:
        columns = np.frombuffer(members[f"stl10_binary/{split}_X.bin"], np.uint8).reshape(-1, 3, SIDE, SIDE)
        arrays[f"{split}_images"] = np.ascontiguousarray(columns.transpose(0, 3, 2, 1))  # (N, C, W, H) before
        labels = np.frombuffer(members[f"stl10_binary/{split}_y.bin"], np.uint8)
        arrays[f"{split}_labels"] = labels.astype(np.int64) - 1
    return arrays


ENTRIES = (
    Entry(
        "stl10",
        ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
        tuple(
            Source(
                Web(folder),
                (
                    PinnedFile(
                        "stl10_binary.tar.gz",
                        2_640_397_119,
                        "sha256:f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
                    ),
                ),
                decode,
            )
            for folder in ("https://ai.stanford.edu/~acoates/stl10/", "https://cs.stanford.edu/~acoates/stl10/")
        ),
    ),
)
