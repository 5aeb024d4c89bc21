"""Logistic regression ends where no gradient is left, with the same bits for any number of threads."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from imageclf.runtime.errors import Diverged
from imageclf.training import logistic
from imageclf.training.logistic import fit_logistic

GENERATOR = np.random.default_rng(0)
LABELS = np.arange(60) % 3
VIEWS = [(GENERATOR.normal(size=(60, 1, 5)) + LABELS[:, None, None]).astype(np.float32) for _ in range(2)]


def fitted(*, bias: bool = True, views: list[np.ndarray] = VIEWS, threads: int = 1, **changes: Any) -> nn.Linear:
    layer = nn.Linear(5, 3, bias=bias)
    settings = {"label_smoothing": 0.1, "weight_decay": 0.01, "balanced": False} | changes
    labels = settings.pop("labels", LABELS)
    fit_logistic(layer, views, labels, threads=threads, **settings)
    return layer


@pytest.mark.parametrize("bias", [True, False])
def test_no_gradient_is_left(bias: bool) -> None:
    layer = fitted(bias=bias).double()
    features, labels = torch.from_numpy(np.concatenate(VIEWS)[:, 0]).double(), torch.from_numpy(np.tile(LABELS, 2))
    penalty = 0.01 / 2 * layer.weight.square().sum()
    (F.cross_entropy(layer(features), labels, label_smoothing=0.1) + penalty).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() < 1e-5 for parameter in layer.parameters())


def test_its_scores_are_those_of_all_views() -> None:
    layer = nn.Linear(5, 3)
    row = fit_logistic(layer, VIEWS, LABELS, label_smoothing=0.0, weight_decay=0.01, balanced=False, threads=1)
    logits, labels = layer(torch.from_numpy(np.concatenate(VIEWS)[:, 0])), torch.from_numpy(np.tile(LABELS, 2))
    assert row["train_loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-5)
    assert row["train_top1"] == pytest.approx((logits.argmax(1) == labels).double().mean().item())


def test_no_bit_depends_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "CHUNK", 5 * 7)
    one, three = fitted(threads=1), fitted(threads=3)
    assert torch.equal(one.weight, three.weight)
    assert torch.equal(one.bias, three.bias)


def test_balanced_is_as_if_all_classes_had_as_many_images() -> None:
    few = np.flatnonzero((LABELS != 2) | (np.arange(60) % 2 == 0))  # half as many of class 2
    twice = np.concatenate([few, few[LABELS[few] == 2]])
    balanced = fitted(views=[VIEWS[0][few]], labels=LABELS[few], balanced=True)
    repeated = fitted(views=[VIEWS[0][twice]], labels=LABELS[twice])
    assert torch.allclose(balanced.weight, repeated.weight, atol=1e-4)


def test_features_that_are_no_numbers_end_it() -> None:
    with pytest.raises(Diverged, match="the features are not finite"):
        fitted(views=[np.full((60, 1, 5), np.inf, np.float32)])
