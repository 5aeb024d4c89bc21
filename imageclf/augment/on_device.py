"""Augmentation where the images are: a data set that fits a GPU stays there, and only the random draws are sent.

Byte for byte what transforms.py, mixing.py and classifier.scaled make on a CPU: the draws are the same, the pixels are
moved and added in whole numbers, and colours in the same order of float32 operations.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from imageclf.augment import transforms
from imageclf.augment.mixing import WHOLE, Mixture
from imageclf.augment.transforms import LUMA, NO_AUGMENTATION, AugmentParams, Draws, box_around
from imageclf.models.classifier import scaled_size

KNOWN = ("flip", "translate", "crop", "cutout", "color", "mixup", "cutmix")
PLANNED = 5  # arrays that `drawn` gives


def can_augment(params: AugmentParams) -> bool:
    """Whether a device can do all that `params` ask for. It does not know Pillow, torchvision, noise and new params."""
    return params.model_copy(update={name: getattr(NO_AUGMENTATION, name) for name in KNOWN}) == NO_AUGMENTATION


def drawn(params: AugmentParams, draws: Draws, size: tuple[int, int]) -> list[np.ndarray]:
    """All that `augmented` needs to know of n images of `size` (H, W).

    For each pixel of the result the row (n, H) and column (n, W) that it comes from, -1 for black; rows bool (n, H) and
    columns bool (n, W) of what is cut out; the factors float64 (n, 3) of colours.
    """
    height, width = size
    count = len(draws.indices)
    rows, columns = (np.broadcast_to(np.arange(length), (count, length)) for length in size)
    # From the last transform to the first: where does a pixel come from?
    cut_out = np.zeros((count, height), bool), np.zeros((count, width), bool)
    if params.cutout:
        centres = draws.integers(height, transforms.CUTOUT_Y), draws.integers(width, transforms.CUTOUT_X)
        cut_out = box_around(centres, (params.cutout, params.cutout), size)
    if params.flip != "none":
        columns = np.where(transforms.mirrored(draws, params)[:, None], width - 1 - columns, columns)
    black = np.zeros((count, 1), bool), np.zeros((count, 1), bool)
    for most, streams, border in (
        (params.crop, (transforms.CROP_Y, transforms.CROP_X), "constant"),
        (params.translate, (transforms.TRANSLATE_Y, transforms.TRANSLATE_X), "reflect"),
    ):
        if most:
            shifts = [draws.integers(2 * most + 1, stream)[:, None] - most for stream in streams]
            rows, columns = rows + shifts[0], columns + shifts[1]
            if border == "constant":
                black = _outside(rows, height), _outside(columns, width)
                rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
            else:
                rows, columns = _reflected(rows, height), _reflected(columns, width)
    rows, columns = np.where(black[0], -1, rows), np.where(black[1], -1, columns)
    factors = transforms.color_factors(draws, params) if params.color else np.zeros((count, 0))
    return [rows.astype(np.int32), columns.astype(np.int32), *cut_out, factors]


def _outside(places: np.ndarray, length: int) -> np.ndarray:
    return (places < 0) | (places >= length)


def _reflected(places: np.ndarray, length: int) -> np.ndarray:
    """Places beyond the border as numpy.pad mirrors them, the border itself once."""
    if length == 1:
        return np.zeros_like(places)
    period = 2 * (length - 1)
    places = places % period
    return np.minimum(places, period - places)


def augmented(images: Tensor, indices: Tensor, plan: list[Tensor]) -> Tensor:
    """uint8 (n, H, W, C) on the device of `images` uint8 (N, H, W, C), of which `indices` (n,) are augmented."""
    rows, columns, cut_rows, cut_columns, factors = plan
    which = indices[:, None, None]
    if factors.shape[1]:
        images, which = _colored(images[indices], factors), torch.arange(len(indices), device=images.device)
        which = which[:, None, None]
    rows, columns = rows.long()[:, :, None], columns.long()[:, None, :]
    found = images[which, rows.clamp(min=0), columns.clamp(min=0)]
    seen = (rows >= 0) & (columns >= 0) & ~(cut_rows[:, :, None] & cut_columns[:, None, :])
    return found * seen[..., None]


def _colored(images: Tensor, factors: Tensor) -> Tensor:
    """transforms.color: every operation of its own, in float32, so that no device joins two and rounds once."""
    own, grey, level = (each[:, None, None, None] for each in factors.unbind(1))
    whole = images.int()
    weights = LUMA if images.shape[3] == len(LUMA) else (1000,)
    greys = torch.zeros_like(whole[..., :1])
    for channel, weight in enumerate(weights):
        greys += weight * whole[..., channel : channel + 1]
    mean = greys.sum((1, 2, 3), keepdim=True, dtype=torch.int64).double() / greys[0].numel()
    changed = whole.float().mul_(own.float())
    changed += greys.float().mul_((grey / 1000).float())
    changed += (mean * level / 1000).float()
    return changed.round_().clamp_(0, 255).byte()


def mixed(images: Tensor, partners: Tensor, own: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Mixture.of on the device of the images uint8 (n, H, W, C)."""
    others, parts = images[partners], own.int()[:, None, None, None]
    blended = ((images.int() * parts + others.int() * (WHOLE - parts) + WHOLE // 2) // WHOLE).byte()
    return torch.where((rows[:, :, None] & columns[:, None, :])[..., None], others, blended)


def arrays_of(mixture: Mixture) -> list[np.ndarray]:
    """What `mixed` needs to know, but for the partners."""
    return [mixture.own.astype(np.int32), *mixture.box]


def scaled(images: Tensor, scale: float) -> Tensor:
    """models.classifier.scaled, uint8 (n, H, W, C) to (n, h, w, C), on any device."""
    if scale == 1:
        return images
    height, width = scaled_size((images.shape[1], images.shape[2]), scale)
    planes = images.permute(0, 3, 1, 2)  # (n, C, H, W)
    planes = _resized(planes, width)
    return _resized(planes.transpose(2, 3), height).transpose(2, 3).permute(0, 2, 3, 1).contiguous()


EXACT_BITS = 16  # 255 times 2**16 is below 2**24


def _resized(planes: Tensor, length: int) -> Tensor:
    """The last dimension resized, in fixed point: products of whole numbers below 2**24 are exact in float32.

    That is what torch does to uint8 on a CPU, a pass for each side, each rounded to bytes.
    """
    if planes.shape[-1] == length:
        return planes
    weights, bits = _weights(planes.shape[-1], length, planes.device)
    sums = planes.to(weights.dtype) @ weights
    return ((sums + 2 ** (bits - 1)) / 2**bits).floor_().clamp_(0, 255).byte()


@lru_cache
def _weights(before: int, after: int, device: torch.device) -> tuple[Tensor, int]:
    """(before, after) whole numbers and the number of their fractional bits: the antialiased linear filter.

    As in torch's UpSampleKernelAVXAntialias.h: the widest fixed point whose largest weight is below 2**15.
    """
    ratio = before / after
    support = max(ratio, 1.0)
    weights = np.zeros((before, after))
    for column in range(after):
        centre = ratio * (column + 0.5)
        first, last = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), before)
        distance = np.abs((np.arange(first, last) - centre + 0.5) / support)
        values = np.maximum(1 - distance, 0)
        weights[first:last, column] = values / values.sum()
    bits = 0
    while bits < 22 and int(0.5 + weights.max() * 2 ** (bits + 1)) < 2**15:
        bits += 1
    exact = torch.float32 if bits <= EXACT_BITS else torch.float64
    return torch.from_numpy(np.floor(0.5 + weights * 2**bits)).to(device, exact), bits
