"""Mixup (arXiv:1710.09412) and CutMix (arXiv:1905.04899): images mixed with others of their shard, labels too."""

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from imageclf.augment.transforms import MIXING, boxes_around
from imageclf.randomness import random_bits

WHOLE = 256  # a fraction is a number of these parts: then a blend of bytes is exact in 16 bits


@dataclass(frozen=True)
class Mixed:
    """Images uint8 (n, H, W, C), the fraction (n,) float32 of each that is its own, the position (n,) of the other."""

    images: np.ndarray
    fractions: np.ndarray
    partners: np.ndarray


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

    def __call__(self, images: np.ndarray, *, step: int, shard: int) -> Mixed:
        """Mix each image of a shard, uint8 (n, H, W, C), with the next one; all by (seed, step, shard)."""
        count, (height, width) = len(images), images.shape[1:3]
        generator = np.random.Generator(np.random.Philox(key=int(random_bits(self.seed, MIXING, step, shard))))
        coin = generator.random(count)
        centres = generator.integers(0, height, count), generator.integers(0, width, count)
        partners = np.roll(np.arange(count), -1)
        mixed, fractions = images, np.ones(count, np.float32)
        if self.mixup:
            blended = (coin < 0.5) | (self.cutmix == 0)
            own = np.where(blended, np.rint(WHOLE * generator.beta(self.mixup, self.mixup, count)), WHOLE)
            mixed, fractions = _blend(mixed, images[partners], own.astype(np.uint16)), (own / WHOLE).astype(np.float32)
        if self.cutmix:
            cut = (coin >= 0.5) | (self.mixup == 0)
            side = np.sqrt(1 - generator.beta(self.cutmix, self.cutmix, count))
            sides = (height * side).round().astype(np.int64), (width * side).round().astype(np.int64)
            inside = boxes_around(centres, sides, (height, width)) & cut[:, None, None]
            mixed = np.where(inside[..., None], images[partners], mixed)
            fractions = np.where(cut, 1 - inside.mean((1, 2)), fractions).astype(np.float32)
        return Mixed(mixed, fractions, partners)


def _blend(images: np.ndarray, others: np.ndarray, own: np.ndarray) -> np.ndarray:
    """`own` (n,) uint16 parts of the images and the rest of the others, rounded, uint8."""
    parts = own[:, None, None, None]
    return ((images * parts + others * (WHOLE - parts) + WHOLE // 2) // WHOLE).astype(np.uint8)


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
