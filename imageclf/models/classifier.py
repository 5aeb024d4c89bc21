"""The classifier in models/classifier: a network with its preprocessing."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor, nn

from imageclf.models.card import CLASSIFIER, Card, metadata_of, read_card
from imageclf.models.own import check_source
from imageclf.models.registry import build_network
from imageclf.runtime.files import replaced_folder, write_json


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(H, W) in pixels with both sides times `scale`, rounded, at least 1."""
    height, width = size
    return max(1, round(height * scale)), max(1, round(width * scale))


def scaled(images: Tensor, scale: float) -> Tensor:
    """uint8 (N, H, W, C) -> uint8 (N, h, w, C), antialiased, for a `scale` of at most 1."""
    if scale == 1:
        return images
    planes = images.permute(0, 3, 1, 2)  # channels last in memory
    size = scaled_size((images.shape[1], images.shape[2]), scale)
    return F.interpolate(planes, size=size, mode="bilinear", antialias=True).permute(0, 2, 3, 1)


def channels_last_on(device: torch.device) -> bool:
    """Whether images and filters have their channels last in memory, which is faster.

    On Apple's GPUs batch norm's gradient is wrong then (github.com/pytorch/pytorch/pull/175189).
    """
    return device.type != "mps"


class Classifier(nn.Module):
    """uint8 (N, H, W, C) in, logits (N, classes) out.

    Images are resized to `network_size` (H, W), unless it is None. With `tta_flip`, in eval mode, an answer is the mean
    over an image and its mirror image.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: list[float],
        std: list[float],
        *,
        tta_flip: bool = False,
        network_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.tta_flip = tta_flip
        self.network_size = network_size
        self.frozen: tuple[nn.Module, ...] = ()  # parts that stay in eval mode
        # On the scale 0 to 255, which saves dividing the images.
        self.register_buffer("mean", 255 * torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(-1, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """Disable `tta_flip` in the block, which halves the time."""
        tta_flip, self.tta_flip = self.tta_flip, False
        try:
            yield
        finally:
            self.tta_flip = tta_flip

    def forward(self, images: Tensor, scale: float = 1.0) -> Tensor:
        pixels = self.pixels(images, scale)
        if self.tta_flip and not self.training:
            # One batch of both: in an exported file the network stands once.
            answers = self.network(torch.cat([pixels, pixels.flip(3)]))
            return answers.view(2, pixels.shape[0], -1).mean(0)
        return self.network(pixels)

    def pixels(self, images: Tensor, scale: float = 1.0) -> Tensor:
        """Normalise uint8 (N, H, W, C) to float (N, C, h, w), channels last in memory, mean 0, std 1.

        (h, w) is `network_size` times `scale`. A mean of three channels turns one channel into three.
        """
        planes = images.permute(0, 3, 1, 2).float()
        if not channels_last_on(images.device):
            planes = planes.contiguous()
        if self.network_size is not None:
            # Not antialiased, so that ONNX and .pt2 agree.
            size = scaled_size(self.network_size, scale)
            if planes.device.type == "cpu":
                planes = F.interpolate(planes, size, mode="bilinear")
            else:  # for its gradient, which is not needed, torch would take a slow form (torch/nn/functional.py)
                planes = torch.ops.aten.upsample_bilinear2d(planes, size, False)
        return (planes - self.mean) / self.std


def build_classifier(card: Card, begin: Callable[[nn.Module], object] = lambda network: None) -> Classifier:
    """A classifier with random weights from torch's global generator, or with those that `begin` loads."""
    network = build_network(
        card.model,
        classes=len(card.classes),
        channels=card.channels,
        size=card.network_size,
        head=card.head,
        begin=begin,
    )
    resized = card.network_size if card.network_size != card.size else None
    return Classifier(network, card.mean, card.std, tta_flip=card.tta_flip, network_size=resized)


def save_classifier(classifier: Classifier, card: Card, folder: Path = CLASSIFIER) -> None:
    """Write weights.safetensors, with metadata, and card.json, atomically."""
    # Copies, because safetensors refuses shared tensors.
    weights = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in classifier.network.state_dict().items()
    }
    with replaced_folder(folder) as temporary:
        (temporary / "weights.safetensors").write_bytes(save(weights, metadata_of(card)))
        write_json(temporary / "card.json", asdict(card))


def load_classifier(folder: Path = CLASSIFIER) -> tuple[Classifier, Card]:
    """Load the trained classifier on the CPU, in fp32 and eval mode.

    Raises:
        DataError: a file is missing or damaged, or the user's own module has changed since training.
    """
    card = read_card(folder)
    check_source(card.model, card.made_from)
    classifier = build_classifier(card)
    weights = OrderedDict(load_file(folder / "weights.safetensors"))
    # The layers' versions: without them mnasnet treats its weights as older ones.
    weights._metadata = classifier.network.state_dict()._metadata  # type: ignore[attr-defined]
    classifier.network.load_state_dict(weights)
    return classifier.eval(), card
