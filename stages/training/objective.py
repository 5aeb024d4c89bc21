"""Losses by name, one value for each image."""

import torch.nn.functional as F
from torch import Tensor

from stages.training.shards import Objective


def choose_objective(loss: str, *, label_smoothing: float) -> Objective:
    """A function of logits (N, classes) and labels (N,) that gives losses (N,).

    cross_entropy takes targets (N, classes) too.
    """

    def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")

    def mse(logits: Tensor, labels: Tensor) -> Tensor:
        return F.mse_loss(logits, _one_hot(logits, labels), reduction="none").mean(1)

    def l1(logits: Tensor, labels: Tensor) -> Tensor:
        return F.l1_loss(logits, _one_hot(logits, labels), reduction="none").mean(1)

    return {"cross_entropy": cross_entropy, "mse": mse, "l1": l1}[loss]


def _one_hot(logits: Tensor, labels: Tensor) -> Tensor:
    return F.one_hot(labels, logits.shape[1]).to(logits.dtype)
