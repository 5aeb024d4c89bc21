"""The classifier that train leaves in models/classifier: a network behind its preprocessing."""

from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from stages.files.atomic import replaced_folder, write_json
from stages.model.card import CLASSIFIER, Card, read_card
from stages.model.registry import build_network


class Classifier(nn.Module):
    """uint8 (N, H, W, C) in, logits (N, classes) out.

    With `mirror` the answer, not the training, is the mean over an image and its mirror image.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: list[float], std: list[float], *, mirror: bool = False) -> None:
        super().__init__()
        self.network = network
        self.mirror = mirror
        # On the scale 0 to 255, so that images need no division of their own.
        self.register_buffer("mean", 255 * torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = self.pixels(images)
        if self.mirror and not self.training:
            return (self.network(pixels) + self.network(pixels.flip(3))) / 2
        return self.network(pixels)

    def pixels(self, images: Tensor) -> Tensor:
        """What the network sees of uint8 (N, H, W, C): float (N, C, H, W), channels last in memory, mean 0, std 1."""
        return (images.permute(0, 3, 1, 2).float() - self.mean) / self.std


def build_classifier(card: Card) -> Classifier:
    """A classifier with fresh weights, drawn from torch's global generator."""
    network = build_network(card.model, classes=len(card.classes), channels=card.channels, size=card.size)
    return Classifier(network, card.mean, card.std, mirror=card.mirror)


def save_classifier(classifier: Classifier, card: Card, folder: Path = CLASSIFIER) -> None:
    """Write weights.safetensors and card.json, whole or not at all."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.network.state_dict().items()}
    with replaced_folder(folder) as temporary:
        (temporary / "weights.safetensors").write_bytes(save(weights))
        write_json(temporary / "card.json", asdict(card))


def load_classifier(folder: Path = CLASSIFIER) -> tuple[Classifier, Card]:
    """The trained classifier, on the CPU, in fp32, ready to predict.

    Raises:
        DataError: a file is missing or damaged.
    """
    card = read_card(folder)
    classifier = build_classifier(card)
    classifier.network.load_state_dict(load_file(folder / "weights.safetensors"))
    return classifier.eval(), card
