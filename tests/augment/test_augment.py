"""Augmentation does what it says, and the random draws of an image depend on (seed, epoch, index) alone."""

import numpy as np
import pytest
import torch

from imageclf.augment.transforms import Augment
from tests.augment.augmenting import augmenting

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)
ALL = np.arange(60)


@pytest.mark.parametrize(
    "augment",
    [
        augmenting(0, flip="random"),
        augmenting(0, flip="alternate"),
        augmenting(0, translate=2),
        augmenting(0, crop=2),
        augmenting(0, cutout=3),
        augmenting(0, policy="randaugment"),
        augmenting(0, policy="trivialaugment"),
        augmenting(0, crop_scale=0.3),
        augmenting(0, color=0.4),
        augmenting(0, erasing=0.5),
        augmenting(
            0, crop_scale=0.3, policy="randaugment", color=0.2, translate=1, flip="random", cutout=2, erasing=0.5
        ),
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
    assert (augmenting(0)(IMAGES, ALL, epoch=0) == IMAGES).all()


def test_the_data_set_is_left_alone() -> None:
    before = IMAGES.copy()
    augmenting(0, flip="random", translate=2, crop=2, cutout=3)(IMAGES, ALL, epoch=0)
    assert (before == IMAGES).all()


def test_alternate_shows_each_image_both_ways_in_two_epochs() -> None:
    augment = augmenting(0, flip="alternate")
    first, second = augment(IMAGES, ALL, epoch=0), augment(IMAGES, ALL, epoch=1)
    assert (first == second[:, :, ::-1]).all()
    assert 15 < (first == IMAGES).all((1, 2, 3)).sum() < 45


def test_translate_moves_by_at_most_so_many_pixels() -> None:
    image = np.zeros((1, 9, 9, 1), np.uint8)
    image[0, 4, 4] = 255
    seen = {
        tuple(
            int(axis[0]) - 4 for axis in np.nonzero(augmenting(0, translate=1)(image, np.array([0]), epoch)[0, :, :, 0])
        )
        for epoch in range(100)
    }
    assert seen == {(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)}


def test_crop_lets_black_in_at_the_border() -> None:
    white = np.full((1, 8, 8, 3), 255, np.uint8)
    assert any((augmenting(0, crop=4)(white, np.array([0]), epoch) == 0).any() for epoch in range(5))
    assert all((augmenting(0, translate=4)(white, np.array([0]), epoch) == 255).all() for epoch in range(5))


def test_cutout_blanks_a_square_cut_at_the_border() -> None:
    white = np.full((50, 8, 8, 1), 255, np.uint8)
    blank = (augmenting(0, cutout=4)(white, np.arange(50), 0) == 0).sum((1, 2, 3))
    assert blank.max() == 16
    assert blank.min() >= 4


def gradient(height: int = 60, width: int = 90) -> np.ndarray:
    """One image whose red is its row and whose green is its column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)[None]


def test_a_resized_crop_is_a_part_of_the_image_of_the_right_area_and_shape() -> None:
    areas, stretches = [], []
    for epoch in range(300):
        seen = augmenting(0, crop_scale=0.2)(gradient(), np.array([0]), epoch)[0].astype(int)
        # Away from the border, where pixels beyond it cannot be mixed in.
        tall = (seen[-10, 0, 0] - seen[10, 0, 0]) / (60 - 20)
        wide = (seen[0, -10, 1] - seen[0, 10, 1]) / (90 - 20)
        areas.append(tall * wide)
        stretches.append(wide / tall)
        assert (np.diff(seen[:, 45, 0]) >= 0).all()
        assert (np.diff(seen[30, :, 1]) >= 0).all()
    assert min(areas) > 0.15
    assert max(areas) > 0.9
    assert 0.5 < np.mean(areas) < 0.7  # evenly from 0.2 to 1
    assert min(stretches) > 0.65
    assert max(stretches) < 1.55


def test_a_resized_crop_of_grey_images_and_of_the_whole() -> None:
    grey = IMAGES[..., :1]
    assert augmenting(0, crop_scale=0.3)(grey, ALL, 0).shape == grey.shape
    flat = np.full((5, 9, 7, 3), (200, 100, 50), np.uint8)
    assert (augmenting(0, crop_scale=0.08)(flat, np.arange(5), 0) == flat).all()


def test_bytes_of_a_resized_crop_do_not_depend_on_threads() -> None:
    before = torch.get_num_threads()
    hashes = set()
    for threads in (1, 4):
        torch.set_num_threads(threads)
        hashes.add(augmenting(0, crop_scale=0.3, color=0.3, erasing=0.5)(IMAGES, ALL, 0).tobytes())
    torch.set_num_threads(before)
    assert len(hashes) == 1


def test_color_keeps_grey_grey_and_moves_every_channel_alike() -> None:
    grey = np.repeat(IMAGES[..., :1], 3, axis=3)
    changed = augmenting(0, color=0.5)(grey, ALL, 0)
    assert (changed == changed[..., :1]).all()
    assert (changed == augmenting(0, color=0.5)(grey[..., :1], ALL, 0)).all()  # one channel is treated as three
    assert (changed != grey).any((1, 2, 3)).all()


def test_color_does_what_torchvisions_three_do_one_after_the_other() -> None:
    from torchvision.transforms.v2 import functional as transforms

    from imageclf.augment.transforms import BRIGHTNESS, CONTRAST, SATURATION, Draws

    image = (IMAGES // 4 + 90)[:1]  # the mean far from 0 and 255, where nothing is cut off in between
    changed = augmenting(0, color=0.3)(image, np.array([0]), 0)[0]
    bright, contrast, colorful = (
        1 + 0.3 * (2 * Draws(0, 0, np.array([0])).fractions(stream)[0] - 1)
        for stream in (BRIGHTNESS, CONTRAST, SATURATION)
    )
    pixels = torch.from_numpy(image[0]).permute(2, 0, 1).float() / 255
    pixels = transforms.adjust_saturation(pixels, colorful)
    pixels = transforms.adjust_contrast(transforms.adjust_brightness(pixels, bright), contrast)
    assert abs(255 * pixels.permute(1, 2, 0).numpy() - changed).max() < 2


def test_erasing_makes_noise_of_one_rectangle_inside_as_often_as_asked() -> None:
    white = np.full((400, 20, 30, 3), 255, np.uint8)
    erased = (augmenting(0, erasing=0.25)(white, np.arange(400), 0) != 255).any(3)
    hit = erased.any((1, 2))
    assert 70 < hit.sum() < 130
    for mask in erased[hit]:
        rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert 0.01 * mask.size < area < 0.36 * mask.size
        assert mask.sum() > 0.95 * area  # a pixel of noise can be white by chance


def test_switching_one_on_does_not_change_another() -> None:
    flipped = augmenting(0, flip="random")(IMAGES, ALL, 0)
    erased = augmenting(0, flip="random", erasing=1.0)(IMAGES, ALL, 0)
    assert (flipped == erased).mean() > 0.6
    assert (augmenting(0, flip="random", cutout=3)(IMAGES, ALL, 0) == flipped).mean() > 0.6


def test_each_image_can_have_a_turn_of_its_own() -> None:
    augment = augmenting(0, flip="alternate", translate=2, crop_scale=0.5, color=0.2, erasing=0.5, policy="randaugment")
    epochs = np.arange(60) % 3
    mixed = augment(IMAGES, ALL, epochs)
    for turn in range(3):
        assert (mixed[epochs == turn] == augment(IMAGES, ALL[epochs == turn], turn)).all()
