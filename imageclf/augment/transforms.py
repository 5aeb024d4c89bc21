"""Augmentation of training images: the random draws of an image are a pure function of (seed, epoch, index).

A new transform is a field of AugmentParams, a stream for its draws and a function, all here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import numpy as np
from PIL import Image
from pydantic import Field

from imageclf.config.section import Fraction, Scale, Section
from imageclf.randomness import random_bits, random_fractions, random_integers

# One stream for each kind of draw, so that switching one on does not change another. A new one takes the next number.
FLIP, TRANSLATE_Y, TRANSLATE_X, CROP_Y, CROP_X, CUTOUT_Y, CUTOUT_X, POLICY = range(8)
CROP_AREA, CROP_SHAPE, CROP_TOP, CROP_LEFT, BRIGHTNESS, CONTRAST, SATURATION = range(8, 15)
ERASING, ERASING_AREA, ERASING_SHAPE, ERASING_TOP, ERASING_LEFT, ERASING_NOISE = range(15, 21)
MIXING, DRAWN_CLASS, DRAWN_IMAGE = range(21, 24)


class AugmentParams(Section):
    """The section `train.augment`: what a training image goes through before the network sees it."""

    flip: Literal["none", "random", "alternate"]
    translate: Annotated[int, Field(ge=0)]
    crop: Annotated[int, Field(ge=0)]
    crop_scale: Scale
    cutout: Annotated[int, Field(ge=0)]
    erasing: Fraction
    policy: Literal["none", "randaugment", "trivialaugment"]
    color: Fraction
    mixup: Annotated[float, Field(ge=0)]
    cutmix: Annotated[float, Field(ge=0)]


NO_AUGMENTATION = AugmentParams(
    flip="none",
    translate=0,
    crop=0,
    crop_scale=1.0,
    cutout=0,
    erasing=0.0,
    policy="none",
    color=0.0,
    mixup=0.0,
    cutmix=0.0,
)


@dataclass(frozen=True)
class Draws:
    """The random draws of the images `indices` (n,) in an epoch, or in (n,) epochs where some come twice in one."""

    seed: int
    epoch: int | np.ndarray
    indices: np.ndarray

    def bits(self, stream: int) -> np.ndarray:
        """uint64 (n,)."""
        return random_bits(self.seed, stream, self.epoch, self.indices)

    def integers(self, below: int, stream: int) -> np.ndarray:
        """int64 (n,) in [0, below)."""
        return random_integers(below, self.seed, stream, self.epoch, self.indices)

    def fractions(self, stream: int) -> np.ndarray:
        """float64 (n,) in [0, 1)."""
        return random_fractions(self.seed, stream, self.epoch, self.indices)


# uint8 (n, H, W, C) -> the same shape, changed in place or a new array
Transform = Callable[[np.ndarray, Draws, AugmentParams], np.ndarray]
TRANSFORMS: list[Transform] = []  # in the order in which they are applied, which is that of this file


def transform(function: Transform) -> Transform:
    """Register a transform behind those above it."""
    TRANSFORMS.append(function)
    return function


class Images(Protocol):
    """An array (N, H, W, C), or what answers indices (n,) as one does."""

    def __getitem__(self, indices: np.ndarray, /) -> np.ndarray: ...


# images (N, ...), indices (n,), epoch -> (n, ...)
Augmentation = Callable[[np.ndarray, np.ndarray, int | np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Augment:
    """Called with the images (N, H, W, C), indices (n,) and the epoch, gives uint8 (n, H, W, C) to train on.

    In place of the epoch each image can have an epoch index of its own, int64 (n,): see imageclf/training/schedule.py.
    """

    seed: int
    params: AugmentParams

    def __call__(self, images: Images, indices: np.ndarray, epoch: int | np.ndarray) -> np.ndarray:
        batch, draws = images[indices], Draws(self.seed, epoch, indices)
        for apply in TRANSFORMS:
            batch = apply(batch, draws, self.params)
        return batch


@transform
def resized_crop(batch: np.ndarray, draws: Draws, params: AugmentParams) -> np.ndarray:
    """Enlarge a part of each image, with at least the fraction `crop_scale` of its area, to the size of the image.

    Pillow resizes in whole numbers, so its bytes do not depend on the processor.
    """
    if params.crop_scale == 1:
        return batch
    _, height, width, _ = batch.shape
    area = 1 - (1 - params.crop_scale) * draws.fractions(CROP_AREA)
    tall, wide = random_sides(area, draws.fractions(CROP_SHAPE), 4 / 3)
    top, left = (1 - tall) * draws.fractions(CROP_TOP), (1 - wide) * draws.fractions(CROP_LEFT)
    boxes = np.stack([left * width, top * height, (left + wide) * width, (top + tall) * height], axis=1)
    boxes = boxes.clip(0, [width, height, width, height])
    cropped = np.empty_like(batch)
    for image, box, target in zip(batch, boxes, cropped, strict=True):
        picture = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)
        resized = picture.resize((width, height), Image.Resampling.BILINEAR, tuple(box.tolist()))
        target[:] = np.asarray(resized).reshape(target.shape)
    return cropped


@transform
def policy(batch: np.ndarray, draws: Draws, params: AugmentParams) -> np.ndarray:
    """Apply one of torchvision's policies, which draw from torch's generator of the CPU: seed it for each image."""
    if params.policy == "none":
        return batch
    import torch  # here: params.yaml is checked without it
    from torchvision.transforms import v2  # here: importing it takes seconds, and few runs need it

    apply = {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide}[params.policy]()
    changed = np.empty_like(batch)
    for position, bits in enumerate(draws.bits(POLICY)):
        torch.default_generator.manual_seed(int(bits) >> 1)
        image = torch.from_numpy(batch[position]).permute(2, 0, 1)  # (C, H, W)
        changed[position] = apply(image).permute(1, 2, 0).numpy()
    return changed


LUMA = (299, 587, 114)  # thousandths of red, green and blue in grey (ITU-R BT.601)


@transform
def color(batch: np.ndarray, draws: Draws, params: AugmentParams) -> np.ndarray:
    """Vary brightness, contrast and saturation by factors from 1 - `color` to 1 + `color`.

    All three are linear, so they are done at once and rounded once; grey images have no saturation.
    """
    if not params.color:
        return batch
    from imageclf.augment.kernels import mix_grey  # here: importing numba takes half a second

    batch = np.ascontiguousarray(batch)
    mix_grey(batch, *np.ascontiguousarray(color_factors(draws, params).T))
    return batch


def color_factors(draws: Draws, params: AugmentParams) -> np.ndarray:
    """float64 (n, 3): of a pixel's own value, of its grey, and of the image's mean grey."""
    bright, contrast, colorful = (
        1 + params.color * (2 * draws.fractions(stream) - 1) for stream in (BRIGHTNESS, CONTRAST, SATURATION)
    )
    own, grey = bright * contrast * colorful, bright * contrast * (1 - colorful)
    return np.stack([own, grey, bright * (1 - contrast)], axis=1)


@transform
def translate(batch: np.ndarray, draws: Draws, params: AugmentParams) -> np.ndarray:
    """Move each image by up to `translate` pixels in both directions; the border is mirrored."""
    if not params.translate:
        return batch
    return _shift(batch, draws, params.translate, "reflect", TRANSLATE_Y, TRANSLATE_X)


@transform
def crop(batch: np.ndarray, draws: Draws, params: AugmentParams) -> np.ndarray:
    """Move each image by up to `crop` pixels in both directions; what lies outside is black."""
    return _shift(batch, draws, params.crop, "constant", CROP_Y, CROP_X) if params.crop else batch


def _shift(batch: np.ndarray, draws: Draws, most: int, border: str, y: int, x: int) -> np.ndarray:
    _, height, width, channels = batch.shape
    padded = np.pad(batch, ((0, 0), (most, most), (most, most), (0, 0)), mode=border)  # type: ignore[call-overload]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width, channels), axis=(1, 2, 3))
    top, left = draws.integers(2 * most + 1, y), draws.integers(2 * most + 1, x)
    return windows[np.arange(len(batch)), top, left, 0]


@transform
def flip(batch: np.ndarray, draws: Draws, params: AugmentParams) -> np.ndarray:
    """Mirror images: by a coin each time, or by a coin once that is turned over every epoch (arXiv:2404.00498)."""
    if params.flip != "none":
        from imageclf.augment.kernels import mirror  # here: importing numba takes half a second

        mirror(batch, mirrored(draws, params))
    return batch


def mirrored(draws: Draws, params: AugmentParams) -> np.ndarray:
    """Which images `flip` mirrors, bool (n,)."""
    if params.flip == "alternate":
        coins = random_bits(draws.seed, FLIP, draws.indices) + np.asarray(draws.epoch).astype(np.uint64)
    else:
        coins = draws.bits(FLIP)
    return coins % np.uint64(2) == 0


@transform
def cutout(batch: np.ndarray, draws: Draws, params: AugmentParams) -> np.ndarray:
    """Blank a square around a random pixel, cut at the border (arXiv:1708.04552)."""
    if params.cutout:
        size = batch.shape[1], batch.shape[2]
        centres = draws.integers(size[0], CUTOUT_Y), draws.integers(size[1], CUTOUT_X)
        rows, columns = box_around(centres, (params.cutout, params.cutout), size)
        batch[rows[:, :, None] & columns[:, None, :]] = 0
    return batch


SMALLEST, LARGEST = 0.02, 1 / 3  # fraction of the image's area that is erased


@transform
def erasing(batch: np.ndarray, draws: Draws, params: AugmentParams) -> np.ndarray:
    """Make a rectangle inside an image noise, with the probability `erasing` (arXiv:1708.04896)."""
    if not params.erasing:
        return batch
    _, height, width, _ = batch.shape
    area = SMALLEST + (LARGEST - SMALLEST) * draws.fractions(ERASING_AREA)
    tall, wide = random_sides(area, draws.fractions(ERASING_SHAPE), 10 / 3)
    rows, columns = _pixels(tall, height), _pixels(wide, width)
    top = (draws.fractions(ERASING_TOP) * (height - rows + 1)).astype(np.int64)
    left = (draws.fractions(ERASING_LEFT) * (width - columns + 1)).astype(np.int64)
    noise = draws.bits(ERASING_NOISE)
    for each in np.flatnonzero(draws.fractions(ERASING) < params.erasing):
        generator = np.random.Generator(np.random.Philox(key=int(noise[each])))
        erased = batch[each, top[each] : top[each] + rows[each], left[each] : left[each] + columns[each]]
        erased[:] = generator.integers(0, 256, erased.shape, np.uint8)
    return batch


def _pixels(fraction: np.ndarray, side: int) -> np.ndarray:
    return np.rint(fraction * side).astype(np.int64).clip(1, side)


def random_sides(area: np.ndarray, shape: np.ndarray, stretch: float) -> tuple[np.ndarray, np.ndarray]:
    """Sides of rectangles as fractions of an image's height and width, each (n,) and at most 1.

    `area` (n,) is their fraction of the image's area. `shape` (n,) in [0, 1) chooses how much wider than the image they
    are, from 1 / `stretch` to `stretch`, evenly on a logarithmic scale, as far as the image has room.
    """
    most = np.minimum(np.log(stretch), -np.log(area))
    wider = np.exp((2 * shape - 1) * most)
    return np.sqrt(area / wider), np.sqrt(area * wider)


def box_around(
    centres: tuple[np.ndarray, np.ndarray], sides: tuple[np.ndarray | int, np.ndarray | int], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Rows bool (n, H) and columns bool (n, W) of boxes cut at the image's border; `centres` (n,) and `sides`, y and x
    each, are in pixels.
    """
    rows, columns = (
        _within(np.arange(length), centre, side) for length, centre, side in zip(size, centres, sides, strict=True)
    )
    return rows, columns


def _within(pixels: np.ndarray, centres: np.ndarray, sides: np.ndarray | int) -> np.ndarray:
    """Which pixels (L,) lie within `sides` (n,) around the centres (n,), bool (n, L)."""
    first = centres - sides // 2
    return (pixels >= first[:, None]) & (pixels < (first + sides)[:, None])
