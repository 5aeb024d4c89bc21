"""The contact sheet: crisp, captioned, the same bytes every time."""

import numpy as np
import pytest
from PIL import Image

from imageclf.images.grid import BOX, Mistake, draw_mistakes, enlarge


def mistakes(count: int, shape: tuple[int, int, int] = (32, 32, 3), label: str = "cat") -> list[Mistake]:
    image = np.zeros(shape, np.uint8)
    return [Mistake(image, f"test-{i:05d}", label, "dog", 0.987) for i in range(count)]


def sheet(shown: list[Mistake]) -> Image.Image:
    return draw_mistakes(shown, title="A title", subtitle="and what it means")


def test_a_small_image_is_enlarged_by_a_whole_factor_into_solid_squares() -> None:
    image = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], np.uint8)
    large = np.asarray(enlarge(image))
    side = BOX // 2
    assert large.shape == (BOX, BOX, 3)
    for row in range(2):
        for column in range(2):
            assert (
                large[row * side : (row + 1) * side, column * side : (column + 1) * side] == image[row, column]
            ).all()


@pytest.mark.parametrize("shape", [(28, 28, 1), (24, 40, 3), (500, 375, 3), (1, 4000, 1)])
def test_every_shape_fits_the_box(shape: tuple[int, int, int]) -> None:
    picture = enlarge(np.zeros(shape, np.uint8))
    assert 0 < max(picture.size) <= BOX
    assert picture.mode == ("RGB" if shape[2] == 3 else "L")


@pytest.mark.parametrize("count", [0, 1, 5, 36, 150])
def test_any_number_of_mistakes_makes_a_sheet(count: int) -> None:
    rows = {0: 0, 1: 1, 5: 2, 36: 6, 150: 13}[count]
    blank = sheet([])
    assert (sheet(mistakes(count)).height - blank.height) == rows * (sheet(mistakes(1)).height - blank.height)


def test_grey_images_and_hostile_names_are_drawn() -> None:
    assert sheet(mistakes(2, (28, 28, 1), label="a\nb" * 50)).mode == "RGB"


def test_the_same_mistakes_are_the_same_picture() -> None:
    assert sheet(mistakes(3)).tobytes() == sheet(mistakes(3)).tobytes()


def test_accents_that_the_font_lacks_are_left_out() -> None:
    assert sheet(mistakes(1, label="café")).tobytes() == sheet(mistakes(1, label="cafe")).tobytes()
