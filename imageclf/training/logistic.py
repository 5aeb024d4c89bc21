"""Multinomial logistic regression by L-BFGS: the best last layer on the features of a frozen backbone, in one go.

The problem is convex, so no learning rate and no order of images shapes the result. Each step takes all features, in
float64. Their chunks are added in a fixed order, so the number of threads changes no bit.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imageclf.augment.mixing import image_weights
from imageclf.evaluation.inference import chunk_pool
from imageclf.runtime.errors import Diverged
from imageclf.runtime.progress import Progress
from imageclf.training.outcome import Row

CHUNK = 2**20  # numbers in a chunk: 8 MB in float64
MOST_STEPS = 1000
FLAT, STILL = 1e-6, 1e-12  # it ends where no element of the gradient, or no change of the loss, is larger


def fit_logistic(
    layer: nn.Linear,
    views: Sequence[np.ndarray],
    labels: np.ndarray,
    *,
    label_smoothing: float,
    weight_decay: float,
    balanced: bool,
    threads: int,
) -> Row:
    """Give the layer the weights W that minimise the mean cross entropy plus weight_decay / 2 * |W|^2; their scores.

    `views` (N, 1, D) each are of the same images, with `labels` (N,). `balanced` makes every class count alike.

    Raises:
        Diverged: the features are not finite.
    """
    weight = torch.zeros(layer.weight.shape, dtype=torch.float64)  # (classes, D)
    bias = torch.zeros(len(weight), dtype=torch.float64)
    with chunk_pool(threads) as pool, Progress("train", total=None, unit="step") as progress, torch.no_grad():
        features = Features(views, labels, label_smoothing=label_smoothing, balanced=balanced, pool=pool)

        def penalised() -> float:
            """The loss, and its gradient where L-BFGS looks for it."""
            sums = features.sums(weight, bias)
            weight.grad, bias.grad = sums.weight + weight_decay * weight, sums.bias
            loss = float(sums.loss + weight_decay / 2 * weight.square().sum())
            progress.advance(1, note=f"loss {loss:.4f}")
            return loss

        torch.optim.LBFGS(
            [weight, bias] if layer.bias is not None else [weight],
            max_iter=MOST_STEPS,
            tolerance_grad=FLAT,
            tolerance_change=STILL,
            line_search_fn="strong_wolfe",
        ).step(penalised)
        sums = features.sums(weight, bias)
        if not math.isfinite(sums.loss):
            raise Diverged("train: the features are not finite; set train.precision to fp32, or choose other weights")
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)
    return {"epoch": 1, "train_loss": float(sums.loss), "train_top1": float(sums.correct)}


class Sums(NamedTuple):
    """Of some features: their part of the mean loss and of the fraction correct; the gradient of that loss."""

    loss: Tensor
    correct: Tensor
    weight: Tensor  # (classes, D)
    bias: Tensor  # (classes,)


class Features:
    """All features of all views, a chunk at a time."""

    def __init__(
        self, views: Sequence[np.ndarray], labels: np.ndarray, *, label_smoothing: float, balanced: bool, pool: Executor
    ) -> None:
        self._views, self._labels, self._smoothing, self._pool = views, torch.from_numpy(labels), label_smoothing, pool
        self._weights = torch.from_numpy(image_weights(labels)) if balanced else torch.ones(len(labels))
        rows = max(1, CHUNK // views[0].shape[-1])
        self._chunks = [(view, slice(at, at + rows)) for view in views for at in range(0, len(labels), rows)]

    def sums(self, weight: Tensor, bias: Tensor) -> Sums:
        """Over all chunks, added in their order."""
        parts = self._pool.map(lambda chunk: self._part(chunk[0], chunk[1], weight, bias), self._chunks)
        return Sums(*(torch.stack(each).sum(0) for each in zip(*parts, strict=True)))

    @torch.no_grad()
    def _part(self, view: np.ndarray, rows: slice, weight: Tensor, bias: Tensor) -> Sums:
        features = torch.from_numpy(view[rows, 0].astype(np.float64))  # (n, D)
        labels, weights = self._labels[rows], self._weights[rows, None] / (len(self._labels) * len(self._views))
        logits = features @ weight.T + bias  # (n, classes)
        targets = F.one_hot(labels, len(bias)) * (1 - self._smoothing) + self._smoothing / len(bias)
        loss = -(weights * targets * logits.log_softmax(1)).sum()
        correct = (logits.argmax(1) == labels).double().sum() / (len(self._labels) * len(self._views))
        slope = weights * (logits.softmax(1) - targets)  # (n, classes)
        return Sums(loss, correct, slope.T @ features, slope.sum(0))
