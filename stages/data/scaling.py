"""Images made smaller."""

import torch.nn.functional as F
from torch import Tensor


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(H, W) in pixels with both sides times `scale`, rounded, at least 1."""
    height, width = size
    return max(1, round(height * scale)), max(1, round(width * scale))


def scaled(images: Tensor, scale: float) -> Tensor:
    """uint8 (N, H, W, C) -> uint8 (N, h, w, C), smoothly, for a `scale` of at most 1."""
    if scale == 1:
        return images
    planes = images.permute(0, 3, 1, 2)  # channels last in memory
    size = scaled_size((images.shape[1], images.shape[2]), scale)
    return F.interpolate(planes, size=size, mode="bilinear", antialias=True).permute(0, 2, 3, 1)
