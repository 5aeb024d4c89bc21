import numpy as np
import pytest

from imageclf.datasets.builtin.shapes import CLASSES, draw_shapes
from imageclf.datasets.catalogue import CATALOGUE
from imageclf.datasets.source import Arrays
from imageclf.runtime.files import sha256_of_array


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return draw_shapes()


def test_the_drawings_are_the_same_bytes_every_time(arrays: Arrays) -> None:
    pinned = CATALOGUE["shapes"].sha256
    assert pinned["train_images"] == "0ba341f5bca1d7b3e88964952b67d3c25093e835c97651117da49a89bbf39a17"
    for drawn in (arrays, draw_shapes()):
        assert {name: sha256_of_array(values) for name, values in drawn.items()} == pinned


def test_every_class_is_as_frequent_as_the_others(arrays: Arrays) -> None:
    assert np.bincount(arrays["train_labels"]).tolist() == [250] * len(CLASSES)
    assert set(np.bincount(arrays["test_labels"]).tolist()) == {62, 63}


def test_no_drawing_is_there_twice(arrays: Arrays) -> None:
    drawings = np.concatenate([arrays["train_images"], arrays["test_images"]])
    assert len({drawing.tobytes() for drawing in drawings}) == 2500


def test_mean_colour_does_not_give_the_class_away(arrays: Arrays) -> None:
    means = {split: arrays[f"{split}_images"].mean(axis=(1, 2)) for split in ("train", "test")}
    centres = np.stack([means["train"][arrays["train_labels"] == label].mean(axis=0) for label in range(len(CLASSES))])
    nearest = np.linalg.norm(means["test"][:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == arrays["test_labels"]).mean() < 0.25  # chance is 0.125
