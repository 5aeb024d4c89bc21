"""Max pooling, batch norm and SiLU as one layer, with a fast form for training in bf16 on a CPU."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NormSilu(nn.BatchNorm2d):
    """(N, C, H, W) -> silu(batch norm, without a learned scale); with `pool`, of the 2x2 maxima."""

    def __init__(self, channels: int, *, momentum: float, pool: bool = False) -> None:
        super().__init__(channels, momentum=momentum)
        self.weight.requires_grad_(False)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.dtype == torch.bfloat16 and x.device.type == "cpu":
            y, mean, variance = _Fused.apply(x, self.bias, self.eps, self.pool)
            self._remember(mean, variance, y.numel() // self.num_features)
            return y
        return F.silu(super().forward(F.max_pool2d(x, 2) if self.pool else x))

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """As torch's batch norm does: the running variance is the unbiased one."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
        self.num_batches_tracked += 1


class _Fused(torch.autograd.Function):
    """The layer and its gradient by compiled loops; batch norm's gradient as in arXiv:1502.03167, section 3."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, eps: float, pool: bool) -> tuple[Tensor, Tensor, Tensor]:
        # Here, not above: only training needs numba, and importing it takes half a second.
        from stages.model import kernels

        x = x.contiguous(memory_format=torch.channels_last)
        ctx.shape = images, height, width, channels = tuple(x.permute(0, 2, 3, 1).shape)
        if pool:
            pooled = _empty(images, height // 2, width // 2, channels)
            ctx.winner = np.empty(pooled.numel(), np.int8)
            kernels.max_pool(_flat(x), ctx.shape, _flat(pooled), ctx.winner)
            x = pooled
        sums = np.empty(2 * channels)
        kernels.moments(_flat(x), images, sums)
        count = x.numel() // channels
        mean = sums[:channels] / count
        variance = np.maximum(sums[channels:] / count - mean * mean, 0.0)
        scale = 1 / np.sqrt(variance + eps)
        factors = np.concatenate([scale, bias.detach().numpy() - mean * scale]).astype(np.float32)
        y = torch.empty_like(x)
        kernels.scaled_silu(_flat(x), factors, _flat(y))
        ctx.save_for_backward(x)
        ctx.pool, ctx.mean, ctx.scale, ctx.factors = pool, mean, scale, factors
        statistics = torch.from_numpy(mean).float(), torch.from_numpy(variance).float()
        ctx.mark_non_differentiable(*statistics)
        return y, *statistics

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[override]
        from stages.model import kernels

        (x,) = ctx.saved_tensors
        images, height, width, channels = ctx.shape
        dy = dy.contiguous(memory_format=torch.channels_last)
        dz, sums = torch.empty_like(x), np.empty(2 * channels)
        kernels.scaled_silu_gradient(_flat(x), _flat(dy), ctx.factors, images, _flat(dz), sums)
        count = x.numel() // channels
        of_dz, scale, mean = sums[:channels], ctx.scale, ctx.mean
        # Sum of dz * xhat, where xhat = (x - mean) * scale.
        of_dz_xhat = (sums[channels:] - mean * of_dz) * scale
        slope = -scale * scale * of_dz_xhat / count
        factors = np.concatenate([scale, slope, -scale * of_dz / count - slope * mean]).astype(np.float32)
        dx = torch.empty_like(x)
        kernels.combined(_flat(x), _flat(dz), factors, _flat(dx))
        if ctx.pool:
            gradient, dx = dx, _empty(images, height, width, channels)
            kernels.max_pool_gradient(_flat(gradient), ctx.winner, ctx.shape, _flat(dx))
        return dx, torch.from_numpy(of_dz).float(), None, None


def _empty(images: int, height: int, width: int, channels: int) -> Tensor:
    """bf16 (N, C, H, W), channels last in memory."""
    return torch.empty((images, height, width, channels), dtype=torch.bfloat16).permute(0, 3, 1, 2)


def _flat(x: Tensor) -> np.ndarray:
    """The int16 bits behind a bf16 tensor (N, C, H, W) with its channels last in memory."""
    return x.detach().permute(0, 2, 3, 1).view(torch.int16).numpy().reshape(-1)
