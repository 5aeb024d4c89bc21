"""Mixed images contain the fractions that they report, and their random draws depend only on (seed, step, shard)."""

from typing import NamedTuple

import numpy as np
import pytest

from imageclf.augment.mixing import Mixing

# Each image is one colour, the next one's is 2 more: what is in a mixture can be read off it.
FLAT = np.broadcast_to(2 * np.arange(100, dtype=np.uint8)[:, None, None, None], (100, 12, 10, 3))


class Mixed(NamedTuple):
    images: np.ndarray
    fractions: np.ndarray
    partners: np.ndarray


def mix(mixing: Mixing, images: np.ndarray = FLAT, *, step: int = 0, shard: int = 0) -> Mixed:
    mixture = mixing.draw(len(images), (12, 10), step=step, shard=shard)
    return Mixed(mixture.of(images.copy()), mixture.fractions, mixture.partners)


def test_a_blend_is_its_share_of_both() -> None:
    contrast = np.where(np.arange(100) % 2, 255, 0).astype(np.uint8)[:, None, None, None].repeat(12, 1).repeat(10, 2)
    mixed = mix(Mixing(0, mixup=1.0), contrast)
    expected = mixed.fractions * contrast[:, 0, 0, 0] + (1 - mixed.fractions) * contrast[mixed.partners, 0, 0, 0]
    assert abs(mixed.images[:, 0, 0, 0] - expected).max() <= 0.5
    assert 0.4 < mixed.fractions.mean() < 0.6
    assert mixed.fractions.min() < 0.1
    assert mixed.fractions.max() > 0.9


def test_a_small_alpha_leaves_most_images_almost_whole() -> None:
    fractions = mix(Mixing(0, mixup=0.05)).fractions
    assert ((fractions < 0.02) | (fractions > 0.98)).mean() > 0.7


def test_a_pasted_box_is_one_rectangle_with_the_rest_of_the_share() -> None:
    mixed = mix(Mixing(0, cutmix=1.0))
    own = (mixed.images == FLAT).all(3)
    pasted = (mixed.images == FLAT[mixed.partners]).all(3)
    assert (own ^ pasted).all()
    assert mixed.fractions == pytest.approx(own.mean((1, 2)), abs=1e-6)
    for mask in pasted:
        assert (mask == mask.any(1)[:, None] & mask.any(0)[None]).all()
    assert 0.4 < mixed.fractions.mean() < 0.85


def test_with_both_each_image_has_one_of_them() -> None:
    mixed = mix(Mixing(0, mixup=1.0, cutmix=1.0))
    inner = ((mixed.images != FLAT) & (mixed.images != FLAT[mixed.partners])).any((1, 2, 3))
    boxes = (mixed.images != mixed.images[:, :1, :1]).any((1, 2, 3))
    assert not (inner & boxes).any()
    assert 20 < boxes.sum() < 60


def test_random_draws_are_of_seed_step_and_shard() -> None:
    mixing = Mixing(0, mixup=0.5, cutmix=0.5)
    assert (mix(mixing).images == mix(mixing).images).all()
    others = [mix(mixing, step=1), mix(mixing, shard=1), mix(Mixing(1, mixup=0.5, cutmix=0.5))]
    assert all((other.fractions != mix(mixing).fractions).any() for other in others)


def test_one_image_alone_stays_as_it_is() -> None:
    alone = mix(Mixing(0, mixup=1.0, cutmix=1.0), FLAT[3:4])
    assert (alone.images == FLAT[3:4]).all()
