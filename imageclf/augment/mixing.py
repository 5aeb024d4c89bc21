"""Mixup (arXiv:1710.09412) and CutMix (arXiv:1905.04899): images mixed with others of their shard, labels too."""

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from imageclf.augment.transforms import MIXING, box_around
from imageclf.randomness import random_bits

WHOLE = 256  # a fraction is a number of these parts: then a blend of bytes is exact in 16 bits


@dataclass(frozen=True)
class Mixture:
    """How n images are mixed, each with a partner: blended, and a box of the partner pasted."""

    partners: np.ndarray  # (n,) positions
    own: np.ndarray  # (n,) uint16, how many of 256 parts are the image's own in the blend
    box: tuple[np.ndarray, np.ndarray]  # rows bool (n, H) and columns bool (n, W) of what is pasted
    fractions: np.ndarray  # (n,) float32, of the image that is its own after both

    def of(self, images: np.ndarray) -> np.ndarray:
        """The images uint8 (n, H, W, C), mixed."""
        others, parts = images[self.partners], self.own[:, None, None, None]
        mixed = images
        if (self.own < WHOLE).any():
            mixed = ((images * parts + others * (WHOLE - parts) + WHOLE // 2) // WHOLE).astype(np.uint8)
        rows, columns = self.box
        inside = rows[:, :, None] & columns[:, None, :]
        return np.where(inside[..., None], others, mixed) if inside.any() else mixed


@dataclass(frozen=True)
class Mixing:
    """`mixup` and `cutmix` are the alphas of Beta(alpha, alpha), 0 for not at all; with both a coin decides."""

    seed: int
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def on(self) -> bool:
        """Whether there is anything to mix."""
        return self.mixup > 0 or self.cutmix > 0

    def draw(self, count: int, size: tuple[int, int], *, step: int, shard: int) -> Mixture:
        """For each of `count` images of `size` (H, W) in a shard: mixed with the next one; by (seed, step, shard)."""
        height, width = size
        generator = np.random.Generator(np.random.Philox(key=int(random_bits(self.seed, MIXING, step, shard))))
        coin = generator.random(count)
        centres = generator.integers(0, height, count), generator.integers(0, width, count)
        own, box = np.full(count, WHOLE, np.uint16), (np.zeros((count, height), bool), np.zeros((count, width), bool))
        fractions = np.ones(count, np.float32)
        if self.mixup:
            blended = (coin < 0.5) | (self.cutmix == 0)
            drawn = np.rint(WHOLE * generator.beta(self.mixup, self.mixup, count))
            own = np.where(blended, drawn, WHOLE).astype(np.uint16)
            fractions = (own / WHOLE).astype(np.float32)
        if self.cutmix:
            cut = (coin >= 0.5) | (self.mixup == 0)
            side = np.sqrt(1 - generator.beta(self.cutmix, self.cutmix, count))
            sides = (height * side).round().astype(np.int64), (width * side).round().astype(np.int64)
            rows, columns = box = box_around(centres, sides, size)
            rows &= cut[:, None]
            pasted = rows.sum(1) * columns.sum(1) / (height * width)
            fractions = np.where(cut, 1 - pasted, fractions).astype(np.float32)
        return Mixture(np.roll(np.arange(count), -1), own, box, fractions)


def image_weights(labels: np.ndarray) -> np.ndarray:
    """Weights of training images (N,), float32, mean 1: every class that has images has the same sum of them."""
    counts = np.bincount(labels)
    return (len(labels) / (np.count_nonzero(counts) * counts[labels])).astype(np.float32)


def soft_targets(labels: Tensor, others: Tensor, fractions: Tensor, classes: int) -> Tensor:
    """Targets (n, classes) of images that are their own class by `fractions` (n,), and for the rest the other's."""
    own = fractions[:, None]
    return own * F.one_hot(labels, classes) + (1 - own) * F.one_hot(others, classes)


def weighted_fractions(fractions: Tensor, own: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Fractions (n,) and weights (n,) of mixed images whose two classes weigh `own` and `others` (n,) in the loss.

    As torch's cross_entropy weights soft targets: the weight belongs to the class, not to the image.
    """
    part = fractions * own
    weights = part + (1 - fractions) * others
    return part / weights, weights
