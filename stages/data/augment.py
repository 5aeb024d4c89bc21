"""Augmentation of training images: each image's chances are a pure function of (seed, epoch, index)."""

from dataclasses import dataclass

import numpy as np
import torch

from stages.data.boxes import boxes_around
from stages.data.chances import (
    CROP_X,
    CROP_Y,
    CUTOUT_X,
    CUTOUT_Y,
    FLIP,
    POLICY,
    TRANSLATE_X,
    TRANSLATE_Y,
    Chances,
)
from stages.data.color import jitter_color
from stages.data.erasing import erase
from stages.data.randomness import random_bits
from stages.data.resized_crop import resized_crop

POLICIES = {"randaugment": "RandAugment", "trivialaugment": "TrivialAugmentWide"}  # torchvision's names


@dataclass(frozen=True)
class Augment:
    """Called with the images (N, H, W, C), indices (n,) and the epoch, gives uint8 (n, H, W, C) to train on.

    In place of the epoch each image can have a turn of its own, int64 (n,): see stages/data/order.py.
    """

    seed: int
    flip: str = "none"
    translate: int = 0
    crop: int = 0
    crop_scale: float = 1.0
    cutout: int = 0
    erasing: float = 0.0
    policy: str = "none"
    color: float = 0.0

    def __call__(self, images: np.ndarray, indices: np.ndarray, epoch: int | np.ndarray) -> np.ndarray:
        batch, chances = images[indices], Chances(self.seed, epoch, indices)
        if self.crop_scale < 1:
            batch = resized_crop(batch, chances, self.crop_scale)
        if self.policy != "none":
            batch = _apply_policy(batch, chances, POLICIES[self.policy])
        if self.color:
            jitter_color(batch, chances, self.color)
        if self.translate:
            batch = _shift(batch, chances, self.translate, "reflect", TRANSLATE_Y, TRANSLATE_X)
        if self.crop:
            batch = _shift(batch, chances, self.crop, "constant", CROP_Y, CROP_X)
        if self.flip != "none":
            mirrored = _mirrored(chances, self.flip)
            batch[mirrored] = batch[mirrored, :, ::-1]
        if self.cutout:
            _blank(batch, chances, self.cutout)
        if self.erasing:
            erase(batch, chances, self.erasing)
        return batch


def _mirrored(chances: Chances, flip: str) -> np.ndarray:
    """Which images are mirrored, bool (n,).

    alternate is a coin for each image, turned over every epoch (arXiv:2404.00498).
    """
    if flip == "alternate":
        turn = np.asarray(chances.turn).astype(np.uint64)
        return (random_bits(chances.seed, FLIP, chances.indices) + turn) % np.uint64(2) == 0
    return chances.bits(FLIP) % np.uint64(2) == 0


def _shift(batch: np.ndarray, chances: Chances, most: int, border: str, y: int, x: int) -> np.ndarray:
    """Move each image by up to `most` pixels in both directions."""
    _, height, width, channels = batch.shape
    padded = np.pad(batch, ((0, 0), (most, most), (most, most), (0, 0)), mode=border)  # type: ignore[call-overload]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width, channels), axis=(1, 2, 3))
    top, left = chances.integers(2 * most + 1, y), chances.integers(2 * most + 1, x)
    return windows[np.arange(len(batch)), top, left, 0]


def _blank(batch: np.ndarray, chances: Chances, side: int) -> None:
    """Blank a square around a random pixel, cut at the border (arXiv:1708.04552)."""
    size = batch.shape[1], batch.shape[2]
    centres = chances.integers(size[0], CUTOUT_Y), chances.integers(size[1], CUTOUT_X)
    batch[boxes_around(centres, (side, side), size)] = 0


def _apply_policy(batch: np.ndarray, chances: Chances, name: str) -> np.ndarray:
    """torchvision's policies draw from torch's generator of the CPU: seed it for each image."""
    from torchvision.transforms import v2  # here: importing it takes seconds, and few runs need it

    policy = getattr(v2, name)()
    changed = np.empty_like(batch)
    for position, bits in enumerate(chances.bits(POLICY)):
        torch.default_generator.manual_seed(int(bits) >> 1)
        image = torch.from_numpy(batch[position]).permute(2, 0, 1)  # (C, H, W)
        changed[position] = policy(image).permute(1, 2, 0).numpy()
    return changed
