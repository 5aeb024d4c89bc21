"""The sheet of augmented images: a whole title, of images of any size, from all classes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import ImageFont

from imageclf.augment.transforms import NO_AUGMENTATION, Augment
from imageclf.images.dataset import Split
from imageclf.images.grid import draw_augmented
from imageclf.training.setup import first_images


def first(sampling: str) -> np.ndarray:
    """The classes of the first images, of 10 classes of 100 images that come class by class."""
    labels = np.repeat(np.arange(10), 100)
    images = labels.astype(np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    task: Any = SimpleNamespace(train=Split(images, labels), augment=Augment(3, NO_AUGMENTATION))
    recipe: Any = SimpleNamespace(seed=3, sampling=sampling, augment=NO_AUGMENTATION, scales=(1.0,))
    return first_images(task, recipe)[:, 0, 0, 0]


@pytest.mark.parametrize("sampling", ["shuffled", "balanced"])
def test_images_that_come_class_by_class_are_shown_from_all_classes(sampling: str) -> None:
    shown = first(sampling)
    assert set(shown) == set(range(10))
    assert len(set(shown[:8])) > 3
    assert (shown == first(sampling)).all()


@pytest.mark.parametrize("side", [8, 24, 28, 32, 60, 96, 224])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_title_is_whole_and_the_images_are_large_enough_to_see(side: int, channels: int) -> None:
    sheet = draw_augmented(np.zeros((64, side, side, channels), np.uint8))
    assert 8 * 96 < sheet.width < 8 * 160
    title = f"The first 64 images of the first epoch, as augmented for the network: {side}x{side} pixels"
    assert ImageFont.load_default(size=15).getlength(title) < sheet.width
