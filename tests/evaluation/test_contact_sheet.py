"""The contact sheet: crisp, captioned, the same bytes every time."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imageclf.evaluation.mistakes import BOX, Mistake, draw_mistakes, heated, ramp_colours
from imageclf.images.grid import enlarge


def mistakes(count: int, shape: tuple[int, int, int] = (32, 32, 3), label: str = "cat") -> list[Mistake]:
    image = np.zeros(shape, np.uint8)
    return [Mistake(image, f"test-{i:05d}", label, "dog", 0.987) for i in range(count)]


OKLAB = (  # from light RGB to cones, from their cube roots to lightness, a and b
    np.array([(0.4122, 0.5363, 0.0514), (0.2119, 0.6807, 0.1074), (0.0883, 0.2817, 0.6300)]),
    np.array([(0.2105, 0.7936, -0.0041), (1.9780, -2.4286, 0.4506), (0.0259, 0.7828, -0.8087)]),
)


def sheet(shown: list[Mistake]) -> Image.Image:
    return draw_mistakes(shown, title="A title", subtitle="and what it means")


def test_a_small_image_is_enlarged_by_a_whole_factor_into_solid_squares() -> None:
    image = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], np.uint8)
    large = np.asarray(enlarge(image, BOX))
    side = BOX // 2
    assert large.shape == (BOX, BOX, 3)
    for row in range(2):
        for column in range(2):
            assert (
                large[row * side : (row + 1) * side, column * side : (column + 1) * side] == image[row, column]
            ).all()


@pytest.mark.parametrize("shape", [(28, 28, 1), (24, 40, 3), (500, 375, 3), (1, 4000, 1)])
def test_every_shape_fits_the_box(shape: tuple[int, int, int]) -> None:
    picture = enlarge(np.zeros(shape, np.uint8), BOX)
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


def test_a_long_class_name_is_whole() -> None:
    def height(label: str) -> int:
        return sheet(mistakes(1, label=label)).height

    assert height("a class of forty letters, which is usual") > height("a class")
    assert height("W" * 400) == height("W" * 4000)


def with_heat(heat: np.ndarray, shape: tuple[int, int, int] = (32, 32, 3)) -> list[Mistake]:
    return [replace(mistake, heat=heat) for mistake in mistakes(5, shape)]


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (224, 224, 3), (20, 16, 3)])
def test_a_heat_map_stands_beside_each_picture_and_leaves_it_as_it_is(shape: tuple[int, int, int]) -> None:
    heat = np.eye(7, dtype=np.float32)
    cell = np.asarray(sheet(with_heat(heat, shape)))[-3 * 19 - 20 - BOX : -3 * 19 - 20]
    left, right = cell[:, 20 : 20 + BOX], cell[:, 20 + BOX + 4 : 20 + 2 * BOX + 4]
    assert set(np.unique(left)) <= {0, 255} and (left == 0).mean() > 0.7  # and white around it
    assert len(np.unique(right.reshape(-1, 3), axis=0)) > 50


def test_a_map_is_scaled_to_its_own_maximum_and_one_of_nothing_stays_dark() -> None:
    picture, heat = Image.new("RGB", (64, 64)), np.eye(7, dtype=np.float32)
    strong, weak = (np.asarray(heated(picture, factor * heat)) for factor in (1, 1e-6))
    assert (strong == weak).all()
    assert (np.asarray(heated(picture, 0 * heat)) == np.asarray(heated(picture, heat)).min((0, 1))).all()


def test_equal_steps_of_the_ramp_look_equally_large_and_become_lighter() -> None:
    colours = ramp_colours(np.linspace(0, 1, 65))
    assert colours.min() > 0 and colours.max() < 1  # none is clipped
    light = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    lab = np.cbrt(light @ OKLAB[0].T) @ OKLAB[1].T
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert steps.max() < 1.1 * steps.min()
    assert (np.diff(lab[:, 0]) > 0).all()


def test_the_part_of_a_picture_that_was_seen_is_framed() -> None:
    def shown(whole: np.ndarray) -> np.ndarray:
        (mistake,) = mistakes(1)
        return np.asarray(sheet([replace(mistake, whole=whole)]))[-3 * 19 - 20 - BOX :, 20 : 20 + BOX]

    wide, square = (shown(np.full((100, width, 3), 90, np.uint8))[BOX // 2, :, 0] for width in (200, 100))
    assert np.flatnonzero(wide == 255).tolist() == [49, 50, 141, 142]  # of the middle square of 96 pixels
    assert (square == 90).all()
