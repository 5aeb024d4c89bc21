"""What a contestant's set-up hands over: a step to take again and again, and what is known of its cost."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

Step = Callable[[], int]  # takes the next training step; says of how many images


@dataclass(frozen=True)
class Ready:
    """A contestant that can begin."""

    step: Step
    flops: int  # of one image, forward and backward
    precision: str  # fp32 or bf16: which peak its share is taken of
    finish: Callable[[], float] | None = None  # measures the seconds that a whole run needs beside its steps


Setup = Callable[[Path], AbstractContextManager[Ready]]  # from a folder such as data/prepared


def training_flops(network: nn.Module, size: tuple[int, int], channels: int = 3) -> int:
    """Floating-point operations of convolutions and matrix products for one image, forward and backward.

    Counted, not taken as three times the forward pass: no gradient is asked of the pixels or of frozen layers.
    """
    pixels = torch.zeros(2, channels, *size)  # two: batch norm refuses one value a channel
    with FlopCounterMode(display=False) as counter:
        network(pixels).sum().backward()
    return counter.get_total_flops() // 2
