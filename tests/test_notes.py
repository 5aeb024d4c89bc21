"""The notes' known answers, and their bugs turned into rules."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from imageclf.models.networks.notes import notes_cnn
from imageclf.training.schedule import steps_per_epoch
from imageclf.training.step import choose_loss

IMAGE = torch.tensor([[1, 2, 0, 3, 1], [0, 1, 2, 3, 1], [1, 2, 1, 0, 0], [5, 2, 3, 1, 1], [2, 1, 0, 1, 1]])
KERNEL = torch.tensor([[1, 2, 1], [0, 1, 0], [2, 1, 0]])


@pytest.mark.parametrize(
    ("stride", "padding", "answer"),
    [
        (1, 0, [[10, 12, 12], [18, 16, 16], [13, 9, 3]]),
        (2, 0, [[10, 12], [13, 3]]),
        (
            1,
            1,
            [[1, 3, 4, 10, 8], [5, 10, 12, 12, 6], [7, 18, 16, 16, 8], [11, 13, 9, 3, 4], [14, 13, 9, 7, 4]],
        ),
        (2, 1, [[1, 4, 8], [7, 16, 8], [14, 9, 4]]),
    ],
)
def test_convolution_gives_the_notes_answer(stride: int, padding: int, answer: list[list[int]]) -> None:
    output = F.conv2d(IMAGE[None, None], KERNEL[None, None], stride=stride, padding=padding)
    assert output[0, 0].tolist() == answer


@pytest.mark.parametrize(("ceil_mode", "answer"), [(True, [[2, 3], [5, 1]]), (False, [[2]])])
def test_pooling_gives_the_notes_answer(ceil_mode: bool, answer: list[list[int]]) -> None:
    assert F.max_pool2d(IMAGE[None].float(), 3, ceil_mode=ceil_mode)[0].tolist() == answer


def test_sigmoid_gives_the_notes_answer() -> None:
    output = torch.sigmoid(torch.tensor([[1, -0.5], [-1, 3]]))
    torch.testing.assert_close(output, torch.tensor([[0.731059, 0.377541], [0.268941, 0.952574]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("loss", "answer"), [("l1", 2 / 3), ("mse", 4 / 3)])
def test_our_regression_losses_are_means_over_the_classes(loss: str, answer: float) -> None:
    # The notes' [1, 2, 3] against [1, 2, 5]: here the target is one-hot at 2, so shift the outputs alike.
    outputs = torch.tensor([[0.0, 0.0, 1.0 - 2.0]])
    assert choose_loss(loss, label_smoothing=0.0)(outputs, torch.tensor([2])).item() == pytest.approx(answer)


def test_the_notes_network_has_their_shape_and_size() -> None:
    network = notes_cnn(classes=10, channels=3, size=(32, 32), activations=False)
    assert network(torch.ones(64, 3, 32, 32)).shape == (64, 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == 145_578


def test_untrained_loss_is_about_ln_10() -> None:
    torch.manual_seed(0)
    network = notes_cnn(classes=10, channels=3, size=(32, 32), activations=False)
    losses = choose_loss("cross_entropy", label_smoothing=0.0)(
        network(torch.rand(64, 3, 32, 32)), torch.arange(64) % 10
    )
    assert losses.mean().item() == pytest.approx(math.log(10), abs=0.05)


def test_without_activations_the_head_is_one_linear_layer_and_with_them_it_is_not() -> None:
    features = torch.randn(8, 1024)
    for activations, linear in ((False, True), (True, False)):
        network = notes_cnn(classes=10, channels=3, size=(32, 32), activations=activations)
        layers = list(network)
        head = nn.Sequential(*layers[[type(layer) for layer in layers].index(nn.Flatten) :])
        doubled = head(2 * features) - head(0 * features)
        assert torch.allclose(doubled, 2 * (head(features) - head(0 * features)), atol=1e-4) is linear


@pytest.mark.parametrize(("images", "kept", "dropped"), [(50_000, 782, 781), (10_000, 157, 156)])
def test_batches_of_64(images: int, kept: int, dropped: int) -> None:
    assert steps_per_epoch(images, 64, drop_last=False) == kept
    assert steps_per_epoch(images, 64, drop_last=True) == dropped
