"""What is known of a network that lives in imageclf/models/networks beside its code."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@dataclass(frozen=True)
class AutoValues:
    """What `auto` means for params of `train`, where a network's recipe was found with other values than usual."""

    hard_fraction: float = 1.0
    scales: tuple[float, ...] = (1.0,)
    least_side: int = 1  # pixels, that images are to have at the smallest scale


@dataclass(frozen=True)
class NetworkSpec:
    """How a network is built from the number of classes, of channels and the size (H, W), and what it asks for."""

    build: Callable[[int, int, tuple[int, int]], nn.Module]
    auto: AutoValues = AutoValues()
    least_side: int = 1  # of the images that it takes, pixels


@runtime_checkable
class StartsFromImages(Protocol):
    """A network whose first layer is made from training images."""

    def look_at(self, pixels: Tensor) -> None:
        """Set it from normalised training pixels (N, C, H, W)."""
