"""Images augmented where they are have the bytes of those augmented on the host; a CPU stands for the device."""

from typing import Any

import numpy as np
import pytest
import torch

from imageclf.augment import on_device
from imageclf.augment.mixing import Mixing
from imageclf.augment.transforms import NO_AUGMENTATION, Augment, Draws
from imageclf.models.classifier import scaled

SIZES = [(32, 32, 3), (28, 21, 1), (33, 47, 3)]  # H, W, C
ALL: dict[str, Any] = {"translate": 3, "crop": 4, "cutout": 9, "color": 0.4}


def pictures(size: tuple[int, int, int], count: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size), np.uint8)


def sent(arrays: list[np.ndarray]) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "changes",
    [
        {"flip": "alternate"},
        {"flip": "random"},
        *({name: value} for name, value in ALL.items()),
        ALL | {"flip": "random"},
    ],
)
def test_every_transform_is_the_same(size: tuple[int, int, int], changes: dict[str, Any]) -> None:
    images, params = pictures(size), NO_AUGMENTATION.model_copy(update=changes)
    indices = np.random.default_rng(1).permutation(len(images))[:25]
    epochs = np.arange(25) % 7
    plan = on_device.drawn(params, Draws(3, epochs, indices), size[:2])
    made = on_device.augmented(torch.from_numpy(images), torch.from_numpy(indices), sent(plan))
    expected = Augment(3, params)(images, indices, epochs)
    assert (expected != images[indices]).any()
    assert (made.numpy() == expected).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("mixup", "cutmix"), [(0.3, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_mixed_images_are_the_same(size: tuple[int, int, int], mixup: float, cutmix: float) -> None:
    images = pictures(size)
    mixture = Mixing(1, mixup, cutmix).draw(len(images), size[:2], step=3, shard=1)
    made = on_device.mixed(*sent([images, mixture.partners, *on_device.arrays_of(mixture)]))
    assert (made.numpy() == mixture.of(images)).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [0.1, 0.3, 0.5, 0.75, 0.8, 0.875, 0.99, 1.0])
def test_resized_images_are_the_same(size: tuple[int, int, int], scale: float) -> None:
    images = torch.from_numpy(pictures(size))
    assert (on_device.scaled(images, scale) == scaled(images, scale)).all()


def test_weights_too_fine_for_float32_are_float64() -> None:
    wide = torch.from_numpy(pictures((8, 4000, 3), count=2))
    assert on_device._weights(4000, 40, torch.device("cpu"))[0].dtype == torch.float64
    assert (on_device.scaled(wide, 0.01) == scaled(wide, 0.01)).all()


@pytest.mark.parametrize("changes", [{"crop_scale": 0.5}, {"policy": "randaugment"}, {"erasing": 0.1}])
def test_what_belongs_to_the_host_is_known(changes: dict[str, Any]) -> None:
    assert on_device.can_augment(NO_AUGMENTATION.model_copy(update=ALL))
    assert not on_device.can_augment(NO_AUGMENTATION.model_copy(update=changes))


def test_a_param_that_it_does_not_know_is_left_to_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "KNOWN", [name for name in on_device.KNOWN if name != "color"])
    assert on_device.can_augment(NO_AUGMENTATION.model_copy(update={"flip": "random"}))
    assert not on_device.can_augment(NO_AUGMENTATION.model_copy(update={"color": 0.4}))
