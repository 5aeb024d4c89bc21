"""What auto chooses: the default recipe for its network, a gentle one for trained weights; given values stay."""

from typing import Any

import pytest

from imageclf.config.params import read_params
from imageclf.config.train import TrainParams
from imageclf.training.auto import Accelerator, Recipe, chosen_values, resolve, words_of
from imageclf.training.optimizers import OPTIMIZERS, advice_on_rate
from imageclf.training.setup import memory_advice
from tests.imports import ROOT

SHIPPED = read_params(ROOT / "params.yaml").train
LEFT = {"size", "precision", "views"}  # for the weights, the device and the validation images to decide
DEFAULT = {
    "head_lr": 1.0,
    "freeze_epochs": 0,
    "batch_size": 512,
    "shards": 2,
    "hard_fraction": 0.4,
    "label_smoothing": 0.2,
    "optimizer": "muon",
    "lr": 0.15,
    "momentum": 0.6,
    "weight_decay": 0.02,
    "scales": [0.75, 0.875, 1.0, 1.0],
}
TRAINED = {"optimizer": "adamw", "lr": 0.001, "head_lr": 5.0, "weight_decay": 0.02, "label_smoothing": 0.1}


def photos(*, fresh_head: bool = True, **changes: Any) -> Recipe:
    """The recipe for 134 photographs, from trained weights."""
    params = TrainParams(**SHIPPED.model_dump() | {"model": "resnet18"} | changes)
    return resolve(params, images=134, size=(224, 224), begun=True, fresh_head=fresh_head)


def test_the_default_run_has_the_values_that_it_was_measured_with() -> None:
    recipe = resolve(SHIPPED, images=45_000, size=(32, 32))
    assert {name: getattr(recipe, name) for name in Recipe.__annotations__} == DEFAULT
    assert chosen_values(SHIPPED, recipe) == DEFAULT


def test_no_auto_is_left_but_what_others_decide() -> None:
    for recipe in (photos(), resolve(SHIPPED, images=45_000, size=(32, 32))):
        assert {name for name, value in dict(recipe).items() if value == "auto"} == LEFT


@pytest.mark.parametrize("model", ["resnet18", "cifarnet", "notes_cnn"])
def test_trained_weights_take_a_gentle_optimiser_and_a_fresh_head_a_higher_rate(model: str) -> None:
    recipe = photos(model=model)
    assert {name: getattr(recipe, name) for name in TRAINED} == TRAINED
    assert photos(model=model, fresh_head=False).head_lr == 1.0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_auto_chooses_is_not_remarked_on(optimizer: str) -> None:
    assert advice_on_rate(photos(optimizer=optimizer), begun=True) == ""
    fresh = resolve(SHIPPED.model_copy(update={"optimizer": optimizer}), images=134, size=(32, 32))
    assert fresh.lr == OPTIMIZERS[optimizer].usual
    assert advice_on_rate(fresh, begun=False) == ""


@pytest.mark.parametrize("name", ["lr", "head_lr", "momentum", "weight_decay", "label_smoothing"])
def test_a_given_value_wins(name: str) -> None:
    given: dict[str, Any] = {name: 0.5}
    assert getattr(photos(**given), name) == 0.5
    assert photos(optimizer="sgd", batch_size=7, freeze_epochs=2).optimizer == "sgd"


@pytest.mark.parametrize("loss", ["mse", "l1"])
def test_labels_are_smoothed_for_cross_entropy_only(loss: str) -> None:
    assert photos(loss=loss).label_smoothing == 0.0


def test_the_line_names_what_auto_chose_and_not_what_it_left_off() -> None:
    params = SHIPPED.model_copy(update={"model": "resnet18", "weight_decay": 0.1})
    recipe = resolve(params, images=134, size=(224, 224), begun=True)
    assert words_of(chosen_values(params, recipe)) == (
        "adamw, lr 0.001, head_lr 5, batch_size 16, shards 2, label_smoothing 0.1"
    )


@pytest.mark.parametrize(
    ("largest", "gpus", "shards"), [(256, 1, 2), (512, 1, 1), (64, 1, 8), (512, 4, 4), (256, 3, 2), (1, 1, 512)]
)
def test_an_accelerator_has_the_fewest_shards_that_fit_and_one_for_each_gpu(
    largest: int, gpus: int, shards: int
) -> None:
    recipe = resolve(SHIPPED, images=45_000, size=(32, 32), accelerator=Accelerator(largest, gpus))
    assert recipe.shards == shards


def test_a_shard_that_may_not_fit_is_told_of_with_the_number_that_would() -> None:
    recipe = resolve(SHIPPED.model_copy(update={"shards": 2}), images=45_000, size=(32, 32))
    assert memory_advice(recipe, Accelerator(256)) == ""
    assert "shards of 256 images may not fit" in memory_advice(recipe, Accelerator(100))
    assert memory_advice(recipe, Accelerator(100)).endswith("set train.shards to 8")
    assert memory_advice(recipe, Accelerator(1)).endswith("set train.shards to 512")
