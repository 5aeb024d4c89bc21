"""Training and validation images in the blocks that all folds of a cross-validation share.

A block is the images that one fold tests, so each other fold has it whole. Its order and its draws do not depend on the
fold; what is computed of it once serves all of them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imageclf.images.dataset import PREPARED, Split


@dataclass(frozen=True)
class Folds:
    """The number of the fold that tests each training and each validation image, int8 (N,) and (M,), or -1."""

    train: np.ndarray
    val: np.ndarray


def read_folds() -> Folds | None:
    """Of the prepared images; None if prepare.fold is none."""
    files = [PREPARED / f"{split}_folds.npy" for split in ("train", "val")]
    return Folds(*map(np.load, files)) if files[0].exists() else None


@dataclass(frozen=True)
class Block:
    """Images of both splits, uint8 (n, H, W, C), as an array of them is indexed.

    `rows` (n,) are their places in the training images followed by the validation images; they are in the order of the
    sha256 of their pixels, and `sha256` is that of all of them.
    """

    train: Split
    val: Split
    rows: np.ndarray
    sha256: str

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        rows = self.rows[indices]
        trained = rows < len(self.train)
        images = np.empty((len(rows), *self.train.images.shape[1:]), np.uint8)
        images[trained] = self.train.images[rows[trained]]
        images[~trained] = self.val.images[rows[~trained] - len(self.train)]
        return images


def blocks_of(train: Split, val: Split, folds: Folds) -> list[Block]:
    """One for each fold but the one that is tested, and one for the images that no fold tests, if there are any."""
    number = np.concatenate([folds.train, folds.val])
    digests = [hashlib.sha256(image.tobytes()).digest() for split in (train, val) for image in split.images]
    blocks = []
    for each in np.unique(number):
        rows = np.array(sorted(np.flatnonzero(number == each), key=digests.__getitem__))
        sha256 = hashlib.sha256(b"".join(digests[row] for row in rows)).hexdigest()
        blocks.append(Block(train, val, rows, sha256))
    return blocks


def gathered(blocks: Sequence[Block], of_blocks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What was computed of each image of each block (n, ...), in the order of training and of validation images."""
    train, val = blocks[0].train, blocks[0].val
    whole = np.empty((len(train) + len(val), *of_blocks[0].shape[1:]), of_blocks[0].dtype)
    for block, values in zip(blocks, of_blocks, strict=True):
        whole[block.rows] = values
    return whole[: len(train)], whole[len(train) :]
