"""Networks by name: pixels float (N, C, H, W) in, logits (N, classes) out."""

import difflib

import torch
from torch import Tensor, nn

from stages.console.errors import ParamsError
from stages.model.cifarnet import WIDTHS, CifarNet
from stages.model.notes import notes_cnn

OWN = (*WIDTHS, "notes_cnn", "notes_cnn_relu")


def network_names() -> list[str]:
    """Every name that `build_network` knows: our own first, then torchvision's classification models."""
    import torchvision.models as zoo  # here: it takes longer than all else of a stage, and our own need it not

    return [*OWN, *zoo.list_models(module=zoo)]


def build_network(name: str, *, classes: int, channels: int, size: tuple[int, int]) -> nn.Module:
    """A network with fresh weights from torch's global generator.

    Raises:
        ParamsError: no such model, or it cannot take images of this size.
    """
    if name in WIDTHS:
        network: nn.Module = CifarNet(classes=classes, channels=channels, widths=WIDTHS[name])
    elif name in ("notes_cnn", "notes_cnn_relu"):
        network = notes_cnn(classes=classes, channels=channels, size=size, activations=name.endswith("relu"))
    elif name in network_names():
        network = _torchvision_network(name, classes, channels)
    else:
        close = difflib.get_close_matches(name, network_names(), n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ParamsError(
            f"params.yaml: train.model is {name!r}; it can be {', '.join(OWN)} "
            f"or a classification model of torchvision{hint}"
        )
    check_takes(network, name, channels, size)
    return network


class ThreeChannels(nn.Module):
    """Shows grey images as RGB to a network made for colour."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(pixels.expand(-1, 3, -1, -1))


def _torchvision_network(name: str, classes: int, channels: int) -> nn.Module:
    import torchvision.models as zoo

    # The auxiliary heads of these two answer in training with a tuple; they serve networks trained on ImageNet.
    extra = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    network = zoo.get_model(name, weights=None, num_classes=classes, **extra)
    return network if channels == 3 else ThreeChannels(network)


def check_takes(network: nn.Module, name: str, channels: int, size: tuple[int, int]) -> None:
    """Let a network answer for one image of (H, W) pixels.

    Raises:
        ParamsError: it cannot.
    """
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, channels, *size))
    except (RuntimeError, AssertionError, ValueError) as error:
        height, width = size
        raise ParamsError(
            f"params.yaml: train.model {name} cannot take images of {width}x{height} pixels "
            f"({str(error).splitlines()[0]}); resnet18 and cifarnet can"
        ) from None
    network.train(training)
