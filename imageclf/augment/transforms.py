"""Augmentation of training images: the random draws of an image are a pure function of (seed, epoch, index)."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from imageclf.randomness import random_bits, random_integers, random_shares

# One stream for each kind of augmentation, so that switching one on does not change another.
FLIP, TRANSLATE_Y, TRANSLATE_X, CROP_Y, CROP_X, CUTOUT_Y, CUTOUT_X, POLICY = range(8)
CROP_AREA, CROP_SHAPE, CROP_TOP, CROP_LEFT, BRIGHTNESS, CONTRAST, SATURATION = range(8, 15)
ERASING, ERASING_AREA, ERASING_SHAPE, ERASING_TOP, ERASING_LEFT, ERASING_NOISE = range(15, 21)
MIXING, DRAWN_CLASS, DRAWN_IMAGE = range(21, 24)


@dataclass(frozen=True)
class Chances:
    """What falls to the images `indices` (n,) in their turn: the epoch, or (n,) where some come twice in an epoch."""

    seed: int
    turn: int | np.ndarray
    indices: np.ndarray

    def bits(self, stream: int) -> np.ndarray:
        """uint64 (n,)."""
        return random_bits(self.seed, stream, self.turn, self.indices)

    def integers(self, below: int, stream: int) -> np.ndarray:
        """int64 (n,) in [0, below)."""
        return random_integers(below, self.seed, stream, self.turn, self.indices)

    def shares(self, stream: int) -> np.ndarray:
        """float64 (n,) in [0, 1)."""
        return random_shares(self.seed, stream, self.turn, self.indices)


def random_sides(area: np.ndarray, shape: np.ndarray, stretch: float) -> tuple[np.ndarray, np.ndarray]:
    """Sides of rectangles as shares of an image's height and width, each (n,) and at most 1.

    `area` (n,) is their share of the image's area. `shape` (n,) in [0, 1) chooses how much wider than the image they
    are, from 1 / `stretch` to `stretch`, evenly on a logarithmic scale, as far as the image has room.
    """
    most = np.minimum(np.log(stretch), -np.log(area))
    wider = np.exp((2 * shape - 1) * most)
    return np.sqrt(area / wider), np.sqrt(area * wider)


def boxes_around(
    centres: tuple[np.ndarray, np.ndarray], sides: tuple[np.ndarray | int, np.ndarray | int], size: tuple[int, int]
) -> np.ndarray:
    """Boxes cut at the image's border, bool (n, H, W); `centres` (n,) and `sides`, y and x each, are in pixels."""
    rows, columns = (
        _within(np.arange(length), centre, side) for length, centre, side in zip(size, centres, sides, strict=True)
    )
    return rows[:, :, None] & columns[:, None, :]


def _within(pixels: np.ndarray, centres: np.ndarray, sides: np.ndarray | int) -> np.ndarray:
    """Which pixels (L,) lie within `sides` (n,) around the centres (n,), bool (n, L)."""
    first = centres - sides // 2
    return (pixels >= first[:, None]) & (pixels < (first + sides)[:, None])


LUMA = (299, 587, 114)  # thousandths of red, green and blue in grey (ITU-R BT.601)
CHUNK_PIXELS = 64 * 1024  # worked on at once: few enough for a core's cache


def jitter_color(batch: np.ndarray, chances: Chances, strength: float) -> None:
    """Change uint8 (n, H, W, C), each image by factors from 1 - `strength` to 1 + `strength`.

    All three are linear, so they are done at once and rounded once; grey images have no saturation.
    """
    bright, contrast, colorful = (
        1 + strength * (2 * chances.shares(stream) - 1) for stream in (BRIGHTNESS, CONTRAST, SATURATION)
    )
    own = bright * contrast * colorful  # of a pixel's own value,
    grey = bright * contrast * (1 - colorful)  # of its grey,
    level = bright * (1 - contrast)  # and of the image's mean grey
    size = max(1, CHUNK_PIXELS // (batch.shape[1] * batch.shape[2]))
    for begin in range(0, len(batch), size):
        part = slice(begin, begin + size)
        _mix_grey(batch[part], *(factor[part, None, None, None] for factor in (own, grey, level)))


def _mix_grey(images: np.ndarray, own: np.ndarray, grey: np.ndarray, level: np.ndarray) -> None:
    """Set each image to own * itself + grey * its grey pixels + level * their mean; factors (n, 1, 1, 1)."""
    greys = _luma(images)  # whole thousandths, so that no order of adding changes the mean
    mean = greys.sum((1, 2, 3), dtype=np.int64, keepdims=True) / greys[0].size
    changed = images * own.astype(np.float32)
    changed += greys * (grey / 1000).astype(np.float32)
    changed += (mean * level / 1000).astype(np.float32)
    images[:] = np.rint(changed, out=changed).clip(0, 255)


def _luma(images: np.ndarray) -> np.ndarray:
    """Grey (n, H, W, 1) in thousandths, int32."""
    if images.shape[3] != len(LUMA):
        return 1000 * images[..., :1].astype(np.int32)
    red, green, blue = (weight * images[..., [channel]].astype(np.int32) for channel, weight in enumerate(LUMA))
    return red + green + blue


SMALLEST, LARGEST = 0.02, 1 / 3  # share of the image's area
ERASING_STRETCH = 10 / 3  # at most, of width against height, and of height against width


def erase(batch: np.ndarray, chances: Chances, probability: float) -> None:
    """Change uint8 (n, H, W, C): each image has the `probability` to lose a rectangle, which lies inside it."""
    _, height, width, _ = batch.shape
    area = SMALLEST + (LARGEST - SMALLEST) * chances.shares(ERASING_AREA)
    tall, wide = random_sides(area, chances.shares(ERASING_SHAPE), ERASING_STRETCH)
    rows, columns = _pixels(tall, height), _pixels(wide, width)
    top = (chances.shares(ERASING_TOP) * (height - rows + 1)).astype(np.int64)
    left = (chances.shares(ERASING_LEFT) * (width - columns + 1)).astype(np.int64)
    noise = chances.bits(ERASING_NOISE)
    for each in np.flatnonzero(chances.shares(ERASING) < probability):
        generator = np.random.Generator(np.random.Philox(key=int(noise[each])))
        erased = batch[each, top[each] : top[each] + rows[each], left[each] : left[each] + columns[each]]
        erased[:] = generator.integers(0, 256, erased.shape, np.uint8)


def _pixels(share: np.ndarray, side: int) -> np.ndarray:
    return np.rint(share * side).astype(np.int64).clip(1, side)


CROP_STRETCH = 4 / 3  # at most, of width against height


def resized_crop(batch: np.ndarray, chances: Chances, smallest: float) -> np.ndarray:
    """uint8 (n, H, W, C) -> the same shape: of each image a part with at least the share `smallest` of its area.

    Pillow resizes in whole numbers, so its bytes do not depend on the processor.
    """
    _, height, width, _ = batch.shape
    area = 1 - (1 - smallest) * chances.shares(CROP_AREA)
    tall, wide = random_sides(area, chances.shares(CROP_SHAPE), CROP_STRETCH)
    top, left = (1 - tall) * chances.shares(CROP_TOP), (1 - wide) * chances.shares(CROP_LEFT)
    boxes = np.stack([left * width, top * height, (left + wide) * width, (top + tall) * height], axis=1)
    boxes = boxes.clip(0, [width, height, width, height])
    cropped = np.empty_like(batch)
    for image, box, target in zip(batch, boxes, cropped, strict=True):
        picture = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)
        resized = picture.resize((width, height), Image.Resampling.BILINEAR, tuple(box.tolist()))
        target[:] = np.asarray(resized).reshape(target.shape)
    return cropped


POLICIES = {"randaugment": "RandAugment", "trivialaugment": "TrivialAugmentWide"}  # torchvision's names


@dataclass(frozen=True)
class Augment:
    """Called with the images (N, H, W, C), indices (n,) and the epoch, gives uint8 (n, H, W, C) to train on.

    In place of the epoch each image can have a turn of its own, int64 (n,): see imageclf/training/schedule.py.
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
