"""A classifier taken apart into what a training step changes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stages.model.classifier import Classifier
from stages.model.head import last_layer


class Network:
    """The tensors of a classifier, by how they change."""

    def __init__(self, classifier: Classifier, *, head_lr: float = 1.0) -> None:
        """`head_lr` times the run's is the learning rate of the last layer."""
        self.classifier = classifier
        self.trainable: list[nn.Parameter] = [each for each in classifier.parameters() if each.requires_grad]
        self.rates = _rates(self.trainable, classifier, head_lr)  # of each, as shares of the run's
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

    def is_finite(self) -> bool:
        """Whether every value is a number."""
        return all(bool(torch.isfinite(each).all()) for each in self.tensors().values())

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Give each the value that `tensors` has under its name; other names are passed over."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])


def _rates(trainable: Sequence[nn.Parameter], classifier: Classifier, head_lr: float) -> list[float]:
    if head_lr == 1.0:
        return [1.0] * len(trainable)
    head = {id(parameter) for parameter in last_layer(classifier.network)[1].parameters()}
    return [head_lr if id(parameter) in head else 1.0 for parameter in trainable]
