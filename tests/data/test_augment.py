"""Augmentation does what it says, and an image's chances hang on (seed, epoch, index) alone."""

import numpy as np
import pytest

from stages.data.augment import Augment

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)
ALL = np.arange(60)


@pytest.mark.parametrize(
    "augment",
    [
        Augment(0, flip="random"),
        Augment(0, flip="alternate"),
        Augment(0, translate=2),
        Augment(0, crop=2),
        Augment(0, cutout=3),
        Augment(0, policy="randaugment"),
        Augment(0, policy="trivialaugment"),
    ],
    ids=str,
)
def test_an_image_comes_out_the_same_in_whatever_company(augment: Augment) -> None:
    together = augment(IMAGES, ALL, epoch=3)
    backwards = augment(IMAGES, ALL[::-1], epoch=3)[::-1]
    alone = np.concatenate([augment(IMAGES, ALL[index : index + 1], epoch=3) for index in ALL])
    assert (together == backwards).all()
    assert (together == alone).all()
    assert (together != IMAGES).any()
    assert (together != augment(IMAGES, ALL, epoch=4)).any()


def test_nothing_asked_is_nothing_done() -> None:
    assert (Augment(0)(IMAGES, ALL, epoch=0) == IMAGES).all()


def test_the_data_set_is_left_alone() -> None:
    before = IMAGES.copy()
    Augment(0, flip="random", translate=2, crop=2, cutout=3)(IMAGES, ALL, epoch=0)
    assert (before == IMAGES).all()


def test_alternate_shows_each_image_both_ways_in_two_epochs() -> None:
    augment = Augment(0, flip="alternate")
    first, second = augment(IMAGES, ALL, epoch=0), augment(IMAGES, ALL, epoch=1)
    assert (first == second[:, :, ::-1]).all()
    assert 15 < (first == IMAGES).all((1, 2, 3)).sum() < 45


def test_translate_moves_by_at_most_so_many_pixels() -> None:
    image = np.zeros((1, 9, 9, 1), np.uint8)
    image[0, 4, 4] = 255
    seen = {
        tuple(int(axis[0]) - 4 for axis in np.nonzero(Augment(0, translate=1)(image, np.array([0]), epoch)[0, :, :, 0]))
        for epoch in range(100)
    }
    assert seen == {(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)}


def test_crop_lets_black_in_at_the_border() -> None:
    white = np.full((1, 8, 8, 3), 255, np.uint8)
    assert any((Augment(0, crop=4)(white, np.array([0]), epoch) == 0).any() for epoch in range(5))
    assert all((Augment(0, translate=4)(white, np.array([0]), epoch) == 255).all() for epoch in range(5))


def test_cutout_blanks_a_square_cut_at_the_border() -> None:
    white = np.full((50, 8, 8, 1), 255, np.uint8)
    blank = (Augment(0, cutout=4)(white, np.arange(50), 0) == 0).sum((1, 2, 3))
    assert blank.max() == 16
    assert blank.min() >= 4
