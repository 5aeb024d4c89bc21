"""The specification of a network in imageclf/models/networks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@dataclass(frozen=True)
class AutoValues:
    """The values of `auto` in the section `train`, for networks that need other values than the usual ones.

    The usual optimiser and label smoothing are those of current recipes, for transformers (DeiT, arXiv:2012.12877) and
    convolutional networks (ConvNeXt, arXiv:2201.03545) alike.
    """

    optimizer: str = "adamw"
    label_smoothing: float = 0.1
    hard_fraction: float = 1.0
    scales: tuple[float, ...] = (1.0,)
    least_side: int = 1  # pixels, of images at the smallest scale


@dataclass(frozen=True)
class NetworkSpec:
    """How to build a network from (classes, channels, size (H, W)), and its requirements."""

    build: Callable[[int, int, tuple[int, int]], nn.Module]
    auto: AutoValues = AutoValues()
    least_side: int = 1  # pixels, of the images that it accepts


@runtime_checkable
class StartsFromImages(Protocol):
    """A network whose first layer is initialised from training images."""

    def look_at(self, pixels: Tensor) -> None:
        """Initialise it from normalised training pixels (N, C, H, W)."""
