"""CifarNet: a small network for small images that trains fast on a CPU.

Its design follows the record networks for CIFAR-10 (arXiv:2404.00498): a frozen first layer that whitens 2x2 patches,
three blocks of two convolutions, batch norm without a learned scale, a scaled linear head. Narrower here, so that a
shard's activations stay in the processor's cache.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from imageclf.models.layers import Conv3x3, MaxPool, NormSilu
from imageclf.models.spec import AutoValues, NetworkSpec

NORM_MOMENTUM = 0.4  # of the running statistics
HEAD_SCALE = 1 / 20  # keeps the first logits small, so that the first steps do not saturate the softmax


class CifarNet(nn.Module):
    """Pixels (N, channels, H, W), H and W at least 16, to logits (N, classes)."""

    def __init__(self, *, classes: int, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        patch = 4 * channels  # values in a 2x2 patch
        self.whitening = nn.Conv2d(channels, 2 * patch, kernel_size=2, bias=False)
        self.whitening.weight.requires_grad_(False)
        self.blocks = nn.Sequential(*(_block(a, b) for a, b in zip((2 * patch, *widths[:-1]), widths, strict=True)))
        self.head = nn.Linear(widths[-1], classes, bias=False)
        self._initialise()

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.blocks(nn.functional.silu(self.whitening(pixels)))
        return self.head(features.amax((2, 3))) * HEAD_SCALE  # (N, widths[-1]) -> (N, classes)

    @torch.no_grad()
    def look_at(self, pixels: Tensor, *, floor: float = 5e-4) -> None:
        """Whiten: the first layer becomes the principal axes of 2x2 patches of `pixels` and their negatives.

        `floor` is added to the variances, so that axes of pure noise are not amplified.
        """
        patches = pixels.unfold(2, 2, 1).unfold(3, 2, 1)  # (N, C, H-1, W-1, 2, 2)
        flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, self.whitening.weight[0].numel())
        variances, axes = torch.linalg.eigh(flat.T @ flat / len(flat))
        # An eigenvector's sign is arbitrary: fix it, so that it does not depend on the linear algebra library.
        axes = axes * torch.sign(axes.gather(0, axes.abs().argmax(0, keepdim=True)))
        filters = (axes / torch.sqrt(variances + floor)).T.flip(0).reshape(-1, *self.whitening.weight.shape[1:])
        self.whitening.weight.copy_(torch.cat([filters, -filters]))

    @torch.no_grad()
    def _initialise(self) -> None:
        for module in self.blocks.modules():
            if isinstance(module, nn.Conv2d):
                # Initialise with the identity on the input channels.
                nn.init.dirac_(module.weight[: module.in_channels])
        self.head.weight.div_(self.head.weight.std())


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        Conv3x3(inputs, outputs),
        MaxPool(),
        NormSilu(outputs, momentum=NORM_MOMENTUM),
        Conv3x3(outputs, outputs),
        NormSilu(outputs, momentum=NORM_MOMENTUM),
    )


def _build(widths: tuple[int, ...]) -> Callable[[int, int, tuple[int, int]], nn.Module]:
    return lambda classes, channels, size: CifarNet(classes=classes, channels=channels, widths=widths)


AUTO = AutoValues("muon", label_smoothing=0.2, scales=(0.75, 0.875, 1.0, 1.0), least_side=16)
HARD_FRACTION = 0.4  # 0.3 was less accurate in the same time, 0.5 no more accurate (benchmarks/PROFILE.md)
NETWORKS = {
    "cifarnet": NetworkSpec(_build((32, 96, 128)), replace(AUTO, hard_fraction=HARD_FRACTION)),
    # The widths of the paper.
    "cifarnet_large": NetworkSpec(_build((64, 256, 256)), AUTO),
}
