import pytest
import torch
from torch import Tensor

from stages.model.norm_silu import NormSilu

SHAPES = [(4, 32, 31, 31), (3, 96, 15, 14), (32, 128, 3, 3), (5, 24, 2, 2), (6, 1, 8, 8)]


def passed(layer: NormSilu, x: Tensor, dy: Tensor) -> list[Tensor]:
    """The answer, the gradients and the running statistics."""
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(dy.to(y.dtype))
    assert x.grad is not None and layer.bias.grad is not None
    assert layer.running_mean is not None and layer.running_var is not None
    return [y.detach(), x.grad, layer.bias.grad, layer.running_mean, layer.running_var]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("pool", [True, False])
def test_the_fast_form_in_bf16_agrees_with_torch_in_fp64(shape: tuple[int, ...], pool: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = (3 * torch.randn(shape, generator=generator) + 1).bfloat16().to(memory_format=torch.channels_last)
    fast, plain = (NormSilu(shape[1], momentum=0.4, pool=pool) for _ in range(2))
    for layer in (fast, plain):
        layer.bias.data = torch.linspace(-3, 3, shape[1])
    dy = torch.randn_like(plain(x.float())).bfloat16()
    plain.reset_running_stats()
    for mine, theirs in zip(passed(fast, x, dy), passed(plain.double(), x.double(), dy.double()), strict=True):
        assert (mine.double() - theirs).norm() <= 0.006 * theirs.norm()  # bf16 has 8 bits
    assert fast.num_batches_tracked == 1


def test_equal_maxima_have_one_winner_and_negative_zero_is_no_trap() -> None:
    x = torch.tensor([[0.0, -0.0], [-0.0, 0.0]]).view(1, 1, 2, 2).repeat(2, 1, 1, 1).bfloat16().requires_grad_()
    layer = NormSilu(1, momentum=0.1, pool=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).sum() <= 2  # one in each image at most


def test_extreme_values_stay_finite() -> None:
    x = torch.tensor([-3e38, -1e4, -90.0, 0.0, 90.0, 1e4, 3e4, 1.0]).view(8, 1, 1, 1).bfloat16().requires_grad_()
    layer = NormSilu(1, momentum=0.1)
    y = layer(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.isfinite(y).all() and torch.isfinite(x.grad).all()


def test_a_nan_goes_through() -> None:
    # A loss that is no number has to reach the check for it.
    x = torch.zeros(2, 1, 2, 2).bfloat16()
    x[0, 0, 0, 0] = float("nan")
    assert torch.isnan(NormSilu(1, momentum=0.1, pool=True)(x.requires_grad_())).any()


def test_predictions_take_torch_s_own_layers() -> None:
    layer = NormSilu(4, momentum=0.1, pool=True).eval()
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(
        layer(x), torch.nn.functional.silu(torch.nn.functional.max_pool2d(x, 2) / (1 + layer.eps) ** 0.5)
    )
