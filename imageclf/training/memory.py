"""The memory of an accelerator: what a run takes of it, estimated from a forward pass without values."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

SHARE = 0.8  # of the memory that a run may take: libraries and fragments have the rest
COPIES = (
    6  # of the parameters: themselves, a shard's gradient, the sum, one more level of its tree, two of the optimiser
)
WORKSPACE = 2**30  # bytes for the libraries' convolutions


def memory_of(device: torch.device) -> int:
    """Bytes that an accelerator has."""
    if device.type == "mps":
        return torch.mps.recommended_max_memory()
    return int(torch.cuda.get_device_properties(device).total_memory)


def bytes_per_image(network: nn.Module, channels: int, size: tuple[int, int]) -> int:
    """What a forward pass over an image of `size` (H, W) in fp32 keeps for the backward pass; moves `network` to meta.

    0 where it cannot be told: a network of one's own may need values.
    """
    network.to("meta").train()
    try:
        three, two = (_kept(network, torch.zeros(count, channels, *size, device="meta")) for count in (3, 2))
    except Exception:  # whatever someone's own module raises
        return 0
    return three - two


def _kept(network: nn.Module, pixels: Tensor) -> int:
    found: list[Tensor] = []  # held, so that no storage takes the place of another

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        network(pixels)
    return sum({tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in found}.values())


def largest_shard(memory: int, *, parameters: int, per_image: float, sizes: Sequence[int]) -> int:
    """The first of `sizes` whose images fit into `memory` bytes with the parameters; the last one if none does."""
    free = SHARE * memory - WORKSPACE - 4 * COPIES * parameters
    return next((size for size in sizes if size * per_image <= free), sizes[-1])
