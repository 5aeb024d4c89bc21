"""What a shard's images should be taken for, and how much each of them counts."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor


def image_weights(labels: np.ndarray) -> np.ndarray:
    """Weights of training images (N,), float32, mean 1: every class that has images has the same sum of them."""
    counts = np.bincount(labels)
    return (len(labels) / (np.count_nonzero(counts) * counts[labels])).astype(np.float32)


def soft_targets(labels: Tensor, others: Tensor, shares: Tensor, classes: int) -> Tensor:
    """Targets (n, classes) of images that are their own class by `shares` (n,), and for the rest the other's."""
    own = shares[:, None]
    return own * F.one_hot(labels, classes) + (1 - own) * F.one_hot(others, classes)


def weighted_shares(shares: Tensor, own: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Shares (n,) and weights (n,) of mixed images in whose losses either class has its weight, `own` or `others` (n,).

    As torch's cross_entropy weights soft targets: the weight belongs to the class, not to the image.
    """
    part = shares * own
    weights = part + (1 - shares) * others
    return part / weights, weights
