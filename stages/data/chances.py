"""The chances of training images: each a pure function of (seed, stream, turn, index)."""

from dataclasses import dataclass

import numpy as np

from stages.data.randomness import random_bits, random_integers, random_shares

# One stream for each kind of augmentation, so that switching one on does not change another.
FLIP, TRANSLATE_Y, TRANSLATE_X, CROP_Y, CROP_X, CUTOUT_Y, CUTOUT_X, POLICY = range(8)
CROP_AREA, CROP_SHAPE, CROP_TOP, CROP_LEFT, BRIGHTNESS, CONTRAST, SATURATION = range(8, 15)
ERASING, ERASING_AREA, ERASING_SHAPE, ERASING_TOP, ERASING_LEFT, ERASING_NOISE = range(15, 21)
MIXING, DRAWN_CLASS, DRAWN_IMAGE = range(21, 24)


@dataclass(frozen=True)
class Chances:
    """What falls to the images `indices` (n,) in their turn: the epoch, or (n,) where some come twice in an epoch."""

    seed: int
    turn: int | np.ndarray
    indices: np.ndarray

    def bits(self, stream: int) -> np.ndarray:
        """uint64 (n,)."""
        return random_bits(self.seed, stream, self.turn, self.indices)

    def integers(self, below: int, stream: int) -> np.ndarray:
        """int64 (n,) in [0, below)."""
        return random_integers(below, self.seed, stream, self.turn, self.indices)

    def shares(self, stream: int) -> np.ndarray:
        """float64 (n,) in [0, 1)."""
        return random_shares(self.seed, stream, self.turn, self.indices)
