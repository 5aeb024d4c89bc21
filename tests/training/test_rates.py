"""A rate that its optimiser is not used with, or that overwrites trained weights, is said before the first step."""

from typing import Any

import pytest

from imageclf.config.params import read_params
from imageclf.training.auto import resolve
from imageclf.training.optimizers import OPTIMIZERS, advice_on_rate
from tests.imports import ROOT
from tests.training.test_fit import recipe

SHIPPED = resolve(read_params(ROOT / "params.yaml").train, images=45_000, size=(32, 32))


def test_the_recipes_of_the_readme_are_not_remarked_on() -> None:
    for changes in ({}, {"optimizer": "sgd", "lr": 0.1}, {"optimizer": "sgd", "lr": 0.01}, {"lr": 0.25}):
        assert advice_on_rate(SHIPPED.model_copy(update=changes), begun=False) == ""
    gentle = SHIPPED.model_copy(update={"optimizer": "adamw", "lr": 0.001, "head_lr": 5.0})
    assert advice_on_rate(gentle, begun=True) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"optimizer": "adamw", "lr": 0.15},
            "train.lr 0.15 is high for adamw, which is used with 1e-05 to 0.02; try 0.001",
        ),
        ({"optimizer": "muon", "lr": 0.001}, "train.lr 0.001 is low for muon, which is used with 0.002 to 1; try 0.15"),
        ({"optimizer": "sgd", "lr": 5.0}, "train.lr 5 is high for sgd"),
    ],
    ids=str,
)
def test_a_rate_out_of_its_optimisers_range_is_said(changes: dict[str, Any], words: str) -> None:
    assert advice_on_rate(recipe(**changes), begun=False).startswith(words)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trained_weights_take_a_gentle_rate(optimizer: str) -> None:
    gentle, rough = (recipe(optimizer=optimizer, lr=factor * OPTIMIZERS[optimizer].gentle) for factor in (1.0, 1.1))
    assert advice_on_rate(gentle, begun=True) == ""
    assert advice_on_rate(rough, begun=False) == ""
    advice = advice_on_rate(rough, begun=True)
    assert f"try -S train.lr=auto ({OPTIMIZERS[optimizer].gentle / 5:g}) or -S train.freeze=backbone" in advice
    frozen = rough.model_copy(update={"freeze": "backbone"})
    assert advice_on_rate(frozen, begun=True) == ""


def test_what_is_advised_is_not_remarked_on() -> None:
    for optimizer, kind in OPTIMIZERS.items():
        assert advice_on_rate(recipe(optimizer=optimizer, lr=kind.usual), begun=False) == ""


def test_a_last_layer_alone_takes_a_higher_rate_up_to_a_point() -> None:
    alone: dict[str, Any] = {"freeze": "backbone", "optimizer": "sgd", "head_lr": 5.0}
    assert advice_on_rate(recipe(**alone, lr=0.02), begun=True) == ""
    assert advice_on_rate(recipe(**alone, lr=0.1), begun=True) == (
        "train.lr 0.1 times train.head_lr 5 is a high rate for a last layer with sgd; try -S train.lr=auto (0.004)"
    )
