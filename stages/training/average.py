"""The exponential moving average of a network's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from stages.training.network import Network


class Average:
    """Follows the parameters and the running statistics of a network; its counters stay the network's own."""

    def __init__(self, network: Network, decay: float) -> None:
        self._network, self._decay = network, decay
        self._averages = [tensor.clone() for tensor in self._current()]

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take in the weights after `step` steps.

        The first steps count for more than `decay` would let them, so that the first weights are soon forgotten.
        """
        decay = min(self._decay, step / (step + 9))
        for average, current in zip(self._averages, self._current(), strict=True):
            average.lerp_(current, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the network has the average for its weights."""
        kept = [tensor.clone() for tensor in self._current()]
        self.settle()
        try:
            yield
        finally:
            _copy(kept, self._current())

    def settle(self) -> None:
        """Give the network the average for good."""
        _copy(self._averages, self._current())

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint needs of it, by name."""
        return {f"average.{index}": tensor for index, tensor in enumerate(self._averages)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Be what `tensors` gave; other names are passed over."""
        _copy([tensors[name] for name in self.tensors()], self._averages)

    def _current(self) -> list[Tensor]:
        # Anew each time: parameters move in memory when the workers begin.
        return [tensor.detach() for tensor in (*self._network.trainable, *self._network.statistics)]


def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)
