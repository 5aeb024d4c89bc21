"""What spoke for an answer, place by place: LayerCAM (Jiang et al. 2021, doi:10.1109/TIP.2021.3089943), and for tokens.

A heat map is the sum, over the channels of a layer, of its activation times the positive gradient of the answer's
logit. The layer is found by the shapes in a forward pass, so that any network with feature maps or tokens has one.

Behind the layer there may be strided convolutions, such as the shortcuts of a ResNet. They hand all of the gradient to
every other row and column, which would show as dots, so it is averaged over the cells of the coarsest of their grids.

Tokens have most of their activation in common, and of both signs. They count by what they have beyond their mean, times
the gradient: in a small ViT, the hottest place was on the mark that told the classes in 88 % of images, and in 60 %
with LayerCAM.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import local

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imageclf.evaluation.inference import chunk_pool
from imageclf.models.classifier import Classifier

FINE = 7  # rows and columns: a coarser layer tells hardly more than a corner of the image, and one before it is taken
CELL = (1, 1)  # no map
MOST_EXTRA = 16  # tokens before those of the image, such as a class token

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Layer:
    """What a layer of the network answered, and the rows and columns in which it lies over the image."""

    output: Tensor  # (N, C, h, w), (N, h, w, C), or (N, T, C): tokens row by row, any others before them
    grid: Size
    strided: bool = False  # a convolution that makes its input smaller

    @property
    def has_tokens(self) -> bool:
        return self.output.dim() == 3

    def over_image(self, values: Tensor) -> Tensor:
        """The output, or a tensor of its shape such as its gradient, as (N, C, h, w)."""
        if self.has_tokens:
            return values[:, -self.grid[0] * self.grid[1] :].transpose(1, 2).unflatten(2, self.grid)
        return values if values.shape[2:] == self.grid else values.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Choice:
    """The position of a layer among those over the image, and the coarsest grid of strided ones behind it."""

    position: int
    coarsest: Size


def heat_maps(
    classifier: Classifier, images: np.ndarray, answers: Sequence[int], *, threads: int
) -> list[np.ndarray] | None:
    """Heat maps float32 (h, w), at least 0, of images uint8 (N, H, W, C) whose classes were `answers`, their numbers.

    None if the network has no layer that lies over the image and that the answer depends on. It is computed on the
    CPU, image by image with one compute thread each, so that nothing depends on `threads`. The classifier stays there.
    """
    size: Size = getattr(classifier, "network_size", None) or images.shape[1:3]
    looks = 2 if getattr(classifier, "tta_flip", False) else 1
    with _outputs(classifier.cpu().eval()) as outputs, chunk_pool(threads) as pool:

        def answered(image: np.ndarray, answer: int) -> tuple[Tensor, list[Layer]]:
            outputs.seen = []
            with torch.enable_grad():
                logits = classifier(torch.from_numpy(image[None].copy()))
            layers = _layers(outputs.seen, looks=looks, channels=image.shape[2], size=size)
            outputs.seen = []
            return logits[0, answer], layers

        def seen_at(chosen: Choice, image: np.ndarray, answer: int) -> np.ndarray:
            logit, layers = answered(image, answer)
            return _layer_cam(logit, layers[chosen.position], chosen.coarsest)

        if not len(images):
            return []
        chosen = pool.submit(lambda: _choice(*answered(images[0], answers[0]))).result()
        return None if chosen is None else list(pool.map(partial(seen_at, chosen), images, answers))


@contextmanager
def _outputs(network: nn.Module) -> Iterator[local]:
    """In the block, each module and what it returns is added to `seen` of the thread that called the network."""
    outputs = local()

    def keep(module: nn.Module, inputs: object, output: object) -> None:
        outputs.seen.append((module, output))

    hooks = [module.register_forward_hook(keep) for module in network.modules()]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def _layers(outputs: Sequence[tuple[nn.Module, object]], *, looks: int, channels: int, size: Size) -> list[Layer]:
    """Those of the outputs that lie over images of `channels` and of `size`; `looks` are the images in a batch."""
    found: list[Layer] = []
    for module, output in outputs:
        if isinstance(output, Tensor) and output.requires_grad and output.shape[0] == looks:
            if output.dim() == 4:
                kinds = (output.shape[2:4], output.shape[1]), (output.shape[1:3], output.shape[3])
                grids = [(rows, columns) for (rows, columns), depth in kinds if depth > channels]
                strided = isinstance(module, nn.Conv2d) and max(module.stride) > 1
                fits = [grid for grid in grids if _is_like(grid, size) or (strided and grid == CELL)]
                found += [Layer(output, grid, strided) for grid in fits[:1]]
            elif output.dim() == 3 and found:
                # Patches are cut out by a layer whose output is a feature map.
                extra = output.shape[1] - math.prod(found[-1].grid)
                found += [Layer(output, found[-1].grid)] if 0 <= extra <= MOST_EXTRA else []
    return found


def _is_like(grid: Size, size: Size) -> bool:
    """Whether rows and columns can be those of an image of this size, made smaller, and are more than a cell."""
    (rows, columns), (height, width) = grid, size
    smaller = 1 < rows * columns <= height * width
    return smaller and abs(rows * width - columns * height) < max(size)  # to the rounding of a row or column


def _choice(logit: Tensor, layers: Sequence[Layer]) -> Choice | None:
    """The last layer that is fine enough, else the finest; of those that the logit depends on."""
    if not (layers and logit.requires_grad):
        return None
    slopes = torch.autograd.grad(logit, [layer.output for layer in layers], allow_unused=True)
    # Where an answer is read off the class token, it depends on no other token of the last block.
    reaching = [
        position
        for position, (layer, slope) in enumerate(zip(layers, slopes, strict=True))
        if slope is not None and layer.over_image(slope).any()
    ]
    maps = [position for position in reaching if layers[position].grid != CELL]
    if not maps:
        return None
    position = max(maps, key=lambda position: (min(*layers[position].grid, FINE), position))
    behind = [layers[later].grid for later in reaching if later > position and layers[later].strided]
    return Choice(position, min([layers[position].grid, *behind]))


def _layer_cam(logit: Tensor, layer: Layer, coarsest: Size) -> np.ndarray:
    """The heat map (h, w) of a layer; with a mirror image, the mean of both, the second turned back."""
    (slope,) = torch.autograd.grad(logit, layer.output)
    slope, values = layer.over_image(slope), layer.over_image(layer.output.detach())  # (looks, C, h, w)
    if coarsest != layer.grid:
        slope = F.interpolate(F.adaptive_avg_pool2d(slope, coarsest), layer.grid, mode="bilinear")
    spoke = (values - values.mean((2, 3), keepdim=True)) * slope if layer.has_tokens else values * slope.clamp(min=0)
    maps = spoke.sum(1).clamp(min=0).unbind()
    return (maps[0] if len(maps) == 1 else (maps[0] + maps[1].flip(1)) / 2).numpy()
