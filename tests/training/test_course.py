"""Epochs are as long as their images."""

from typing import Any

import pytest

from imageclf.training.schedule import Course, least_shard, plan_course
from tests.training.test_fit import recipe


def test_an_epoch_that_chooses_is_shorter() -> None:
    course = plan_course(100, recipe(epochs=4, batch_size=8, hard_fraction=0.5, hard_after=2, drop_last=True))
    assert course.images == [100, 100, 50, 50]
    assert course.ends == [12, 24, 30, 36]
    assert course.total == 36


def test_a_step_has_its_place() -> None:
    course = plan_course(100, recipe(epochs=4, batch_size=8, hard_fraction=0.5, hard_after=2, drop_last=True))
    assert [course.place(step) for step in (0, 11, 12, 24, 29, 30, 35)] == [
        (0, 0),
        (0, 11),
        (1, 0),
        (2, 0),
        (2, 5),
        (3, 0),
        (3, 5),
    ]


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({"model": "cifarnet"}, 0.4),
        ({"model": "cifarnet", "batch_size": 64}, 1.0),
        ({"model": "cifarnet", "sampling": "balanced"}, 1.0),
        ({"model": "cifarnet", "augment": recipe().augment.model_dump() | {"mixup": 0.2}}, 1.0),
        ({"model": "cifarnet_large"}, 1.0),
        ({"model": "resnet18", "hard_fraction": 0.25}, 0.25),
    ],
    ids=str,
)
def test_auto_chooses_for_the_networks_whose_recipe_does(changes: dict[str, Any], share: float) -> None:
    assert recipe(images=1000, **{"hard_fraction": "auto"} | changes).hard_fraction == share


@pytest.mark.parametrize(
    ("changes", "side", "scales"),
    [
        ({"model": "cifarnet"}, 21, [0.75, 0.875, 1.0, 1.0]),
        ({"model": "cifarnet"}, 20, [1.0]),  # three quarters of it are too small for the network
        ({"model": "cifarnet_large"}, 64, [0.75, 0.875, 1.0, 1.0]),
        ({"model": "resnet18"}, 64, [1.0]),
        ({"model": "cifarnet", "scales": [0.5, 1.0]}, 32, [0.5, 1.0]),
    ],
    ids=str,
)
def test_images_grow_where_the_recipe_says_and_the_network_can_take_it(
    changes: dict[str, Any], side: int, scales: list[float]
) -> None:
    assert recipe(size=(side, side), **{"scales": "auto"} | changes).scales == scales


@pytest.mark.parametrize(
    ("images", "drop_last", "least"),
    [(100, True, 5), (100, False, 5), (101, False, 1), (103, False, 1), (108, False, 4)],
)
def test_the_smallest_shard_is_one_of_the_last_batch_unless_that_is_dropped(
    images: int, drop_last: bool, least: int
) -> None:
    assert least_shard(Course([images], [11], 10), drop_last=drop_last, shards=2) == least


@pytest.mark.parametrize(
    ("images", "size"),
    [(45_000, 512), (5120, 512), (5119, 256), (240, 16), (159, 8), (80, 8), (20, 8), (8, 8), (7, 4), (3, 2), (1, 1)],
)
def test_auto_batches_give_an_epoch_ten_steps_where_there_are_enough_images(images: int, size: int) -> None:
    assert recipe(images=images, batch_size="auto").batch_size == size
    auto: dict[str, Any] = {"batch_size": "auto", "hard_fraction": "auto", "shards": "auto"}
    course = plan_course(images, recipe(images=images, model="cifarnet", **auto))
    assert course.batch_size == size
    assert min(course.images) >= size
    assert course.total >= 3 * min(10, images // size)  # of three epochs


def test_auto_batches_fit_the_epochs_that_choose() -> None:
    assert recipe(images=20, batch_size="auto", hard_fraction=0.25).batch_size == 4  # of 5 images
    assert recipe(images=20, batch_size=48).batch_size == 48


def test_the_last_layer_and_all_layers_have_a_schedule_each() -> None:
    course = plan_course(80, recipe(epochs=5, batch_size=8, freeze_epochs=2, hard_fraction=1.0))
    assert [course.is_head_only(step) for step in (0, 19, 20, 49)] == [True, True, False, False]
    assert [course.phase(step) for step in (0, 19, 20, 49)] == [(0, 2), (0, 2), (2, 5), (2, 5)]
    assert plan_course(80, recipe(epochs=5)).phase(0) == (0, 5)
