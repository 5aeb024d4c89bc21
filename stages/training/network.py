"""A classifier taken apart into what a training step changes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stages.model.classifier import Classifier


class Network:
    """The tensors of a classifier, by how they change."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.trainable: list[nn.Parameter] = [each for each in classifier.parameters() if each.requires_grad]
        buffers = list(classifier.network.buffers())
        # Batch norm's running mean and variance, and its count of batches: a forward pass changes them in place.
        self.statistics = [buffer for buffer in buffers if buffer.is_floating_point()]
        self.counters = [buffer for buffer in buffers if not buffer.is_floating_point()]

    def tensors(self) -> dict[str, Tensor]:
        """All of them by name."""
        kinds: dict[str, Sequence[Tensor]] = {
            "trainable": self.trainable,
            "statistics": self.statistics,
            "counters": self.counters,
        }
        return {f"{kind}.{index}": each.detach() for kind in kinds for index, each in enumerate(kinds[kind])}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Give each the value that `tensors` has under its name; other names are passed over."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
