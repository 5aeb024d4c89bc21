"""Layers with a fast form for bf16 training on a CPU; otherwise they are torch's own."""

from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

SMALL_MAP, MANY_CHANNELS = 64, 128  # pixels, channels: limits within which the fast gradient of Conv3x3 pays off


class Conv3x3(nn.Conv2d):
    """(N, inputs, H, W) -> (N, outputs, H, W), zeros around the border, no bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        small = x.shape[2] * x.shape[3] <= SMALL_MAP and self.in_channels >= MANY_CHANNELS
        fast = self.training and _is_for_kernels(x) and small
        return _FastConv.apply(x, self.weight) if fast else super().forward(x)


class MaxPool(nn.Module):
    """(N, C, H, W) -> the maxima of 2x2 windows, without an odd last row or column."""

    def forward(self, x: Tensor) -> Tensor:
        return _FastMaxPool.apply(x) if _is_for_kernels(x) else F.max_pool2d(x, 2)


class NormSilu(nn.BatchNorm2d):
    """(N, C, H, W) -> silu(batch norm, without a learned scale)."""

    def __init__(self, channels: int, *, momentum: float) -> None:
        super().__init__(channels, momentum=momentum)
        self.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and _is_for_kernels(x)):
            return F.silu(super().forward(x))
        y, mean, variance = _FastNormSilu.apply(x, self.bias, self.eps)
        self._remember(mean, variance, x.numel() // self.num_features)
        return y

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics as torch does, with the unbiased variance."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
        self.num_batches_tracked += 1


def make_pooling_repeatable(network: nn.Module) -> None:
    """Let each adaptive mean of the network be computed so that a GPU gives the same bits twice.

    The gradient of torch's own is added in no fixed order there, unless it is of one mean over the whole map.
    """
    for module in network.modules():
        if isinstance(module, nn.AdaptiveAvgPool2d):
            module.forward = partial(_adaptive_mean, size=module.output_size)  # type: ignore[method-assign]


def _adaptive_mean(x: Tensor, size: int | tuple[int | None, int | None] | None) -> Tensor:
    """(N, C, H, W) -> (N, C, h, w), `size` being h and w, where None leaves a side as it is."""
    asked = size if isinstance(size, tuple) else (size, size)
    height, width = (own if side is None else side for own, side in zip(x.shape[2:], asked, strict=True))
    if (height, width) == tuple(x.shape[2:]):
        return x
    if (height, width) == (1, 1):
        return x.mean((2, 3), keepdim=True)
    sides = (x.shape[2], height), (x.shape[3], width)
    rows, columns = (_windows(*side, x.device, x.dtype) for side in sides)
    return rows @ x @ columns.T


@lru_cache  # a new one would have the host wait for the device
def _windows(before: int, after: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(after, before): the part of each value in each mean."""
    means = torch.zeros(after, before)
    for place in range(after):
        first, last = place * before // after, -(-(place + 1) * before // after)
        means[place, first:last] = 1 / (last - first)
    return means.to(device, dtype)


class _FastConv(torch.autograd.Function):
    """Its weight gradient as nine matrix products: on small maps up to four times as fast as oneDNN's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        weight = weight.to(x.dtype)
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=1)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        dx = None
        if ctx.needs_input_grad[0]:
            dx = conv2d_input(x.shape, weight, dy, padding=1)
        # With a column and a row of zeros behind every map, the pixel above or beside another is always as many rows
        # of the matrix (pixels, channels) away, and what lies outside the map is 0.
        pixels, slopes = _rows(x), _rows(dy).t().contiguous()
        dw = torch.empty(len(weight), 3, 3, x.shape[1])
        for i in range(3):
            for j in range(3):
                away = (i - 1) * (x.shape[3] + 1) + j - 1
                first, last = max(-away, 0), len(pixels) - max(away, 0)
                dw[:, i, j] = slopes[:, first:last] @ pixels[first + away : last + away]
        return dx, dw.permute(0, 3, 1, 2)


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N * (H + 1) * (W + 1), C), zeros to the right of and below each map."""
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, 1, 0, 1)).view(-1, x.shape[1])


class _FastMaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        # Here, not above: bf16 alone needs numba, and importing it takes half a second.
        from imageclf.models.kernels import max_pool

        x = x.contiguous(memory_format=torch.channels_last)
        ctx.shape = images, height, width, channels = tuple(x.permute(0, 2, 3, 1).shape)
        pooled = _empty(images, height // 2, width // 2, channels)
        ctx.winner = np.empty(pooled.numel(), np.int8)
        max_pool(_flat(x), ctx.shape, _flat(pooled), ctx.winner)
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        from imageclf.models.kernels import max_pool_gradient

        dx = _empty(*ctx.shape)
        max_pool_gradient(
            _flat(gradient.contiguous(memory_format=torch.channels_last)), ctx.winner, ctx.shape, _flat(dx)
        )
        return dx


class _FastNormSilu(torch.autograd.Function):
    """Returns mean and biased variance too; the gradient of batch norm is that of arXiv:1502.03167, section 3."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        from imageclf.models.kernels import moments, scaled_silu

        x = x.contiguous(memory_format=torch.channels_last)
        channels = x.shape[1]
        sums = np.empty(2 * channels)
        moments(_flat(x), len(x), sums)
        count = x.numel() // channels
        mean = sums[:channels] / count
        variance = np.maximum(sums[channels:] / count - mean * mean, 0.0)
        scale = 1 / np.sqrt(variance + eps)
        factors = np.concatenate([scale, bias.detach().numpy() - mean * scale]).astype(np.float32)
        y = torch.empty_like(x)
        scaled_silu(_flat(x), factors, _flat(y))
        ctx.save_for_backward(x)
        ctx.mean, ctx.scale, ctx.factors = mean, scale, factors
        statistics = torch.from_numpy(mean).float(), torch.from_numpy(variance).float()
        ctx.mark_non_differentiable(*statistics)
        return y, *statistics

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        from imageclf.models.kernels import combined, scaled_silu_gradient

        (x,) = ctx.saved_tensors
        channels, mean, scale = x.shape[1], ctx.mean, ctx.scale
        dy = dy.contiguous(memory_format=torch.channels_last)
        dz, sums = torch.empty_like(x), np.empty(2 * channels)
        scaled_silu_gradient(_flat(x), _flat(dy), ctx.factors, len(x), _flat(dz), sums)
        count = x.numel() // channels
        of_dz = sums[:channels]
        # Sum of dz * xhat, where xhat = (x - mean) * scale.
        of_dz_xhat = (sums[channels:] - mean * of_dz) * scale
        slope = -scale * scale * of_dz_xhat / count
        factors = np.concatenate([scale, slope, -scale * of_dz / count - slope * mean]).astype(np.float32)
        dx = torch.empty_like(x)
        combined(_flat(x), _flat(dz), factors, _flat(dx))
        return dx, torch.from_numpy(of_dz).float(), None


def _is_for_kernels(x: Tensor) -> bool:
    return x.dtype == torch.bfloat16 and x.device.type == "cpu"


def _empty(images: int, height: int, width: int, channels: int) -> Tensor:
    """bf16 (N, C, H, W), channels last in memory."""
    return torch.empty((images, height, width, channels), dtype=torch.bfloat16).permute(0, 3, 1, 2)


def _flat(x: Tensor) -> np.ndarray:
    """The int16 bits behind a bf16 tensor (N, C, H, W) with its channels last in memory."""
    return x.detach().permute(0, 2, 3, 1).view(torch.int16).numpy().reshape(-1)
