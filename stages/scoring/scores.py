"""Scores as pure functions of a classifier's answers: each is a sum over images, divided once."""

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the class probabilities, float64 (N, classes), from logits (N, classes)."""
    shifted = logits - logits.max(axis=1, keepdims=True).astype(np.float64)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log p(label), in nats, from logits (N, classes) and labels (N,)."""
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def top_k_accuracy(answers: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of images whose label is among the k best classes of `answers` (N, classes), logits or probabilities.

    Of equal answers the lower class is the better one, as in argmax. With fewer than k classes all of them count.
    """
    own = np.take_along_axis(answers, labels[:, None], axis=1)
    ahead = (answers > own) | ((answers == own) & (np.arange(answers.shape[1]) < labels[:, None]))
    return float((ahead.sum(axis=1) < k).mean())
