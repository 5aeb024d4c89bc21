"""The record recipe is the published one, as far as its parts can tell."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.record import Filters, Recipe, RecordNet, orthogonal
from imageclf.images.dataset import Dataset

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (24, 32, 32, 3)).astype(np.uint8)
LABELS = np.arange(24) % 10
DATASET = Dataset("tiny", [str(n) for n in range(10)], (32, 32), 3, [0.5] * 3, [0.25] * 3, {}, {})


def recipe(batch: int = 24) -> Recipe:
    return Recipe(IMAGES, LABELS, DATASET, seed=0, batch=batch)


def test_the_network_has_the_published_number_of_parameters() -> None:
    trained = sum(each.numel() for each in RecordNet().parameters() if each.requires_grad)
    filters = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 256 * 256 + 2 * 256 * 256)
    assert trained == filters + 2 * (64 + 256 + 256) + 24 + 2560


@pytest.mark.slow
def test_steps_learn_the_images() -> None:
    run = recipe()
    first = _loss(run)
    for _ in range(4):
        assert run.step() == 24
    assert _loss(run) < first - 0.2


def test_the_whitening_bias_rests_after_three_epochs_and_the_filters_of_that_layer_always() -> None:
    run = recipe()
    filters = run.network.whitening.weight.clone()
    biases, heads = [], []
    for _ in range(4):
        run.step()
        biases.append(run.network.whitening.get_parameter("bias").detach().clone())
        heads.append(run.network.head.weight.detach().clone())
    assert not torch.equal(biases[1], biases[2])
    assert torch.equal(biases[2], biases[3])
    assert not torch.equal(heads[2], heads[3])
    assert torch.equal(filters, run.network.whitening.weight)


def test_whitened_patches_are_uncorrelated_with_variance_one() -> None:
    torch.manual_seed(0)
    pixels = F.avg_pool2d(torch.randn(64, 3, 34, 34), 3, stride=1)  # neighbours are alike, as in photographs
    network = RecordNet()
    network.whiten(pixels)
    answers = F.conv2d(pixels, network.whitening.weight)[:, :12].transpose(0, 1).flatten(1)
    covariance = answers @ answers.T / answers.shape[1]
    assert (covariance - torch.diag(covariance.diag())).abs().max() < 1e-3
    assert covariance.diag().max() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("shape", [(16, 40), (40, 16)])
def test_newton_schulz_brings_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    before = torch.randn(shape)
    values = torch.linalg.svdvals(orthogonal(before))
    assert values.max() < 1.3
    assert values.min() > 0.3
    # The singular vectors stay: the product with the old matrix is symmetric and positive.
    product = orthogonal(before) @ before.T
    torch.testing.assert_close(product, product.T, atol=1e-3, rtol=1e-3)


def test_filters_have_length_root_of_their_number_before_each_step() -> None:
    filters = nn.Parameter(torch.randn(9, 4, 3, 3))
    filters.grad = torch.randn_like(filters)
    Filters([filters]).step(0.0)
    assert filters.norm().item() == pytest.approx(3.0, rel=1e-5)


def test_the_views_of_an_answer_are_weighted_to_one() -> None:
    class Corner(nn.Module):
        """Answers with the top left pixel."""

        def forward(self, pixels: Tensor) -> Tensor:
            return pixels[:, :1, 0, 0]

    run = recipe()
    run.network = Corner()  # type: ignore[assignment]
    images = np.full((2, 32, 32, 3), 255, np.uint8)
    assert run.answer(images).flatten().tolist() == pytest.approx([2.0, 2.0])
    images[:, 0, 0] = 127.5 // 1  # seen by half of the weight on the plain view, and by no view that is moved
    assert run.answer(images)[0, 0].item() == pytest.approx(2.0 - 0.25 * (255 - 127) / 63.75, abs=1e-5)


def _loss(run: Recipe) -> float:
    with torch.no_grad():
        return F.cross_entropy(run.answer(IMAGES), torch.from_numpy(LABELS)).item()
