"""The contact sheet: every class that fits, under whatever name, on a sheet of a bearable size."""

import numpy as np
import pytest

from imageclf.images.grid import LARGEST, draw_preview, first_of_each


@pytest.mark.parametrize("side", [8, 32, 64, 96, 224, 600])
@pytest.mark.parametrize("classes", [2, 10, 200])
def test_no_sheet_is_too_large_to_look_at(side: int, classes: int) -> None:
    labels = np.repeat(np.arange(classes), 3)
    shown = first_of_each(labels)
    sheet = draw_preview(
        np.zeros((len(shown), side, side, 3), np.uint8), labels[shown], [str(n) for n in range(classes)]
    )
    assert sheet.width <= LARGEST[0] and sheet.height <= LARGEST[1]
    assert (np.asarray(sheet)[:, 140:] == 0).mean() > 0.1


@pytest.mark.parametrize("name", ["猫", "🐝🐜", "two\nlines", "\ud800broken", "ant\0bee", "العربية", "W" * 300, " "])
def test_any_name_can_be_drawn(name: str) -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    draw_preview(images, np.array([0, 1]), [name, "bee"])


def test_the_images_drawn_are_the_first_of_each_class() -> None:
    labels = np.array([1, 0] * 100)
    assert first_of_each(labels).tolist() == list(range(24))


def test_a_sheet_that_leaves_classes_out_says_so() -> None:
    def sheet(classes: int) -> np.ndarray:
        labels = np.arange(classes)
        shown = first_of_each(labels)
        images = np.full((len(shown), 8, 8, 3), 255, np.uint8)
        return np.asarray(draw_preview(images, labels[shown], [""] * classes))

    assert (sheet(20) == 255).all()
    assert len(sheet(21)) > len(sheet(20))
    assert (sheet(21)[len(sheet(20)) :] < 128).any()
    assert (sheet(21)[: len(sheet(20))] == 255).all()
