"""Augmentation of training images: each image's chances are a pure function of (seed, epoch, index)."""

from dataclasses import dataclass

import numpy as np
import torch

from stages.data.randomness import random_bits, random_integers, torch_seed

# One stream of chances for each kind of augmentation, so that switching one on does not change another.
FLIP, TRANSLATE_Y, TRANSLATE_X, CROP_Y, CROP_X, CUTOUT_Y, CUTOUT_X, POLICY = range(8)
POLICIES = {"randaugment": "RandAugment", "trivialaugment": "TrivialAugmentWide"}  # torchvision's names


@dataclass(frozen=True)
class Augment:
    """Called with the images (N, H, W, C), indices (n,) and the epoch, gives uint8 (n, H, W, C) to train on."""

    seed: int
    flip: str = "none"
    translate: int = 0
    crop: int = 0
    cutout: int = 0
    policy: str = "none"

    def __call__(self, images: np.ndarray, indices: np.ndarray, epoch: int) -> np.ndarray:
        batch = images[indices]
        if self.policy != "none":
            batch = self._apply_policy(batch, indices, epoch)
        if self.translate:
            batch = self._shift(batch, self.translate, "reflect", TRANSLATE_Y, TRANSLATE_X, indices, epoch)
        if self.crop:
            batch = self._shift(batch, self.crop, "constant", CROP_Y, CROP_X, indices, epoch)
        if self.flip != "none":
            mirrored = self._mirrored(indices, epoch)
            batch[mirrored] = batch[mirrored, :, ::-1]
        if self.cutout:
            self._blank(batch, indices, epoch)
        return batch

    def _mirrored(self, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Which images are mirrored, bool (n,).

        alternate is a coin for each image, turned over every epoch (arXiv:2404.00498).
        """
        if self.flip == "alternate":
            return (random_bits(self.seed, FLIP, indices) + np.uint64(epoch)) % np.uint64(2) == 0
        return random_bits(self.seed, FLIP, epoch, indices) % np.uint64(2) == 0

    def _shift(
        self, batch: np.ndarray, most: int, border: str, y: int, x: int, indices: np.ndarray, epoch: int
    ) -> np.ndarray:
        """Move each image by up to `most` pixels in both directions."""
        _, height, width, channels = batch.shape
        padded = np.pad(batch, ((0, 0), (most, most), (most, most), (0, 0)), mode=border)  # type: ignore[call-overload]
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width, channels), axis=(1, 2, 3))
        top = random_integers(2 * most + 1, self.seed, y, epoch, indices)
        left = random_integers(2 * most + 1, self.seed, x, epoch, indices)
        return windows[np.arange(len(batch)), top, left, 0]

    def _blank(self, batch: np.ndarray, indices: np.ndarray, epoch: int) -> None:
        """Blank a square around a random pixel, cut at the border (arXiv:1708.04552)."""
        _, height, width, _ = batch.shape
        centre_y = random_integers(height, self.seed, CUTOUT_Y, epoch, indices)
        centre_x = random_integers(width, self.seed, CUTOUT_X, epoch, indices)
        inside_y = _within(np.arange(height), centre_y, self.cutout)  # (n, H)
        inside_x = _within(np.arange(width), centre_x, self.cutout)  # (n, W)
        batch[inside_y[:, :, None] & inside_x[:, None, :]] = 0

    def _apply_policy(self, batch: np.ndarray, indices: np.ndarray, epoch: int) -> np.ndarray:
        """torchvision's policies draw from torch's global generator: seed it for each image."""
        from torchvision.transforms import v2  # here: importing it takes seconds, and few runs need it

        policy = getattr(v2, POLICIES[self.policy])()
        changed = np.empty_like(batch)
        for position, index in enumerate(indices):
            torch.manual_seed(torch_seed(self.seed, POLICY, epoch, int(index)))
            image = torch.from_numpy(batch[position]).permute(2, 0, 1)  # (C, H, W)
            changed[position] = policy(image).permute(1, 2, 0).numpy()
        return changed


def _within(pixels: np.ndarray, centres: np.ndarray, side: int) -> np.ndarray:
    first = centres[:, None] - side // 2
    return (pixels >= first) & (pixels < first + side)
