"""The range test: it stops where the loss diverges, suggests a tenth of the best rate, and repeats itself."""

import math
from typing import Any

import pytest
import torch

from imageclf.augment.transforms import Augment
from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute
from imageclf.models.registry import build_network
from imageclf.runtime.errors import DataError
from imageclf.training.loop import Task
from tests.training.test_fit import EMPTY, bright_or_dark, recipe
from tools.find_lr import FEWEST, Curve, draw_curve, measure

RATES = [1e-3 * 10 ** (step / 8) for step in range(40)]  # to about 75


def curve_of(*, workers: int = 1, rates: list[float] = RATES, **changes: Any) -> Curve:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = build_network("notes_cnn_relu", classes=2, channels=3, size=(8, 8))
    classifier = Classifier(network, [0.5] * 3, [0.25] * 3).to(memory_format=torch.channels_last)
    compute = Compute(torch.device("cpu"), "fp32", workers)
    params = recipe(**changes)
    task = Task(classifier, bright_or_dark(96), EMPTY, Augment(0, params.augment), compute)
    return measure(task, params, rates)


def test_the_same_params_give_the_same_curve_for_any_number_of_workers() -> None:
    assert curve_of() == curve_of(workers=2)


def test_it_stops_where_the_loss_diverges() -> None:
    curve = curve_of()
    assert FEWEST < len(curve.rates) < len(RATES)
    assert curve.has_diverged()
    assert curve.rates[0] < curve.lowest() < curve.rates[-1]


def test_it_suggests_a_tenth_of_the_rate_with_the_lowest_loss() -> None:
    curve = Curve([10.0**power for power in range(-5, 5)], [2.0, 1.9, 1.5, 1.0, 0.2, 0.1, 5.0, 9.0, 9.0, math.nan])
    assert curve.lowest() == 1.0
    assert curve.suggestion() == 0.1
    assert curve.has_diverged()


def test_rates_that_are_all_too_high_are_one_sentence() -> None:
    with pytest.raises(DataError, match=r"the loss diverged within \d+ batches"):
        curve_of(rates=[1e20 * 2.0**step for step in range(20)])


def test_its_picture_is_drawn_where_losses_are_no_numbers() -> None:
    assert draw_curve(Curve([0.1, 1.0, 10.0], [2.0, 1.0, math.nan]), title="x").size == (960, 560)
