"""The fast forms for training in bf16 agree with torch's own layers."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imageclf.models.layers import Conv3x3, MaxPool, NormSilu, make_pooling_repeatable

SHAPES = [(4, 32, 31, 31), (3, 96, 15, 14), (32, 128, 3, 3), (5, 24, 2, 2), (6, 1, 8, 8)]


def random_bf16(shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (3 * torch.randn(shape, generator=generator) + 1).bfloat16().to(memory_format=torch.channels_last)


def passed(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """The answer and its gradient, for a gradient that is another for each value."""
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(torch.linspace(-1, 1, y.numel()).view(y.shape).bfloat16().to(y.dtype))
    assert x.grad is not None
    return [y.detach(), x.grad]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pooling_has_torch_s_own_bits(shape: tuple[int, ...]) -> None:
    x = random_bf16(shape).round() + 0.0  # many maxima are equal; no -0.0, which torch takes for equal to 0.0
    for mine, theirs in zip(passed(MaxPool(), x), passed(nn.MaxPool2d(2), x), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("shape", [(4, 128, 7, 7), (3, 130, 3, 5), (2, 128, 1, 1)], ids=str)
def test_the_convolution_s_gradients_are_torch_s(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    fast = Conv3x3(shape[1], 24)
    plain = nn.Conv2d(shape[1], 24, 3, padding=1, bias=False, dtype=torch.float64)
    plain.weight.data.copy_(fast.weight.data.bfloat16())
    x = random_bf16(shape)
    results = [passed(fast, x), passed(plain, x.double())]
    for layer, found in zip((fast, plain), results, strict=True):
        assert layer.weight.grad is not None
        found.append(layer.weight.grad)
    for mine, theirs in zip(*results, strict=True):
        assert (mine.double() - theirs).norm() <= 0.006 * theirs.norm()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_norm_and_silu_agree_with_torch_in_fp64(shape: tuple[int, ...]) -> None:
    fast, plain = (NormSilu(shape[1], momentum=0.4) for _ in range(2))
    for layer in (fast, plain):
        layer.bias.data = torch.linspace(-3, 3, shape[1])
    x = random_bf16(shape)
    results = [passed(fast, x), passed(plain.double(), x.double())]
    for layer, found in zip((fast, plain), results, strict=True):
        assert layer.bias.grad is not None and layer.running_mean is not None and layer.running_var is not None
        assert layer.num_batches_tracked == 1
        found += [layer.bias.grad, layer.running_mean, layer.running_var]
    for mine, theirs in zip(*results, strict=True):
        assert (mine.double() - theirs).norm() <= 0.006 * theirs.norm()  # bf16 has 8 bits


def test_extreme_values_stay_finite() -> None:
    x = torch.tensor([-3e38, -1e4, -90.0, 0.0, 90.0, 1e4, 3e4, 1.0]).view(8, 1, 1, 1).bfloat16()
    assert all(torch.isfinite(found).all() for found in passed(NormSilu(1, momentum=0.1), x))


@pytest.mark.parametrize("layer", [MaxPool(), NormSilu(1, momentum=0.1)], ids=["pool", "norm"])
def test_a_nan_goes_through(layer: nn.Module) -> None:
    # A loss that is no number has to reach the check for it.
    x = torch.zeros(2, 1, 2, 2).bfloat16()
    x[0, 0, 0, 0] = float("nan")
    assert torch.isnan(layer(x.requires_grad_())).any()


def test_predictions_take_torch_s_own_layers() -> None:
    x = torch.randn(2, 4, 6, 6)
    layer = nn.Sequential(MaxPool(), NormSilu(4, momentum=0.1)).eval()
    torch.testing.assert_close(layer(x), F.silu(F.max_pool2d(x, 2) / (1 + 1e-5) ** 0.5))


@pytest.mark.parametrize("size", [1, 7, (6, None), (4, 3), 10])
def test_a_repeatable_mean_is_torch_s_own(size: int | tuple[int | None, int | None]) -> None:
    own, network = nn.AdaptiveAvgPool2d(size), nn.Sequential(nn.AdaptiveAvgPool2d(size))
    make_pooling_repeatable(network)
    x = torch.randn(2, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    for mine, theirs in zip(passed(network, x), passed(own, x), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert "adaptive" not in str(network(x.requires_grad_()).grad_fn).lower()
