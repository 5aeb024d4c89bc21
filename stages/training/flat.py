"""Tensors laid one behind another in a flat one, so that a whole network can be shared, copied and added at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

ALIGNMENT = 16  # elements; a tensor begins at a multiple of a cache line


def flat_size(tensors: Sequence[Tensor]) -> int:
    """Elements of the flat tensor that `views` cuts up for these tensors."""
    return sum(_slot(tensor) for tensor in tensors)


def views(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Views into `flat`, one for each tensor of `like`: its shape, images' filters with the channels last."""
    found, begin = [], 0
    for tensor in like:
        piece = flat[begin : begin + tensor.numel()]
        if tensor.dim() == 4:
            outputs, inputs, height, width = tensor.shape
            found.append(piece.view(outputs, height, width, inputs).permute(0, 3, 1, 2))
        else:
            found.append(piece.view(tensor.shape))
        begin += _slot(tensor)
    return found


@torch.no_grad()
def move_into(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Let each tensor keep its value and live in `flat` from now on."""
    for tensor, view in zip(tensors, views(flat, tensors), strict=True):
        view.copy_(tensor)
        tensor.data = view


def _slot(tensor: Tensor) -> int:
    return -(-tensor.numel() // ALIGNMENT) * ALIGNMENT
