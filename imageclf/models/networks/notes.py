"""The tutorial baseline: the network of the learner's notes that this pipeline grew out of."""

from collections.abc import Callable

from torch import nn

from imageclf.models.layers import MaxPool
from imageclf.models.spec import NetworkSpec


def notes_cnn(*, classes: int, channels: int, size: tuple[int, int], activations: bool) -> nn.Sequential:
    """Three 5x5 convolutions with pooling, two linear layers; 145,578 parameters for 10 classes of 32x32 RGB.

    As written it has no activation: its convolutions are linear between the poolings, and its two linear layers
    are one. `activations` puts a ReLU behind each hidden layer.
    """
    height, width = size
    flat = 64 * (height // 8) * (width // 8)
    relu = [nn.ReLU()] if activations else []
    return nn.Sequential(
        nn.Conv2d(channels, 32, kernel_size=5, padding=2),
        *relu,
        MaxPool(),
        nn.Conv2d(32, 32, kernel_size=5, padding=2),
        *relu,
        MaxPool(),
        nn.Conv2d(32, 64, kernel_size=5, padding=2),
        *relu,
        MaxPool(),
        nn.Flatten(),
        nn.Linear(flat, 64),
        *relu,
        nn.Linear(64, classes),
    )


def _build(activations: bool) -> Callable[[int, int, tuple[int, int]], nn.Module]:
    return lambda classes, channels, size: notes_cnn(
        classes=classes, channels=channels, size=size, activations=activations
    )


NETWORKS = {  # each halves an image three times
    "notes_cnn": NetworkSpec(_build(False), least_side=8),
    "notes_cnn_relu": NetworkSpec(_build(True), least_side=8),
}
