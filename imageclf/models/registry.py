"""Build networks by name, with a head for the classes, and check the images that they accept."""

import importlib
import pkgutil
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy

import torch
from torch import Tensor, nn

from imageclf.models import networks
from imageclf.models.own import is_own_module, own_name, own_network, source_sha256, told
from imageclf.models.spec import AutoValues, NetworkSpec
from imageclf.models.zoo import TIMM, check_timm, is_in_zoo, torchvision_names, zoo_network
from imageclf.runtime.errors import ParamsError, nearest


def last_layer(network: nn.Module) -> tuple[str, nn.Module]:
    """Name and module of the last linear layer, in order of definition, or else of the last convolution.

    Raises:
        ParamsError: there is neither, or a timm model has several heads.
    """
    get_classifier = getattr(network, "get_classifier", None)
    answers = get_classifier() if callable(get_classifier) else None
    if isinstance(answers, tuple | nn.ModuleList):
        raise ParamsError(
            f"params.yaml: train.model has {len(answers)} heads, and only one is supported; do not set weights, "
            "and reset train.head, train.freeze and train.head_lr"
        )
    for kind in (nn.Linear, nn.Conv2d):
        found = [(name, module) for name, module in network.named_modules() if isinstance(module, kind)]
        if found:
            return found[-1]
    raise ParamsError(
        "params.yaml: train.model has no linear layer or convolution that could be its last; "
        "reset train.head, train.freeze and train.head_lr"
    )


def with_head(network: nn.Module, head: str, classes: int) -> nn.Module:
    """The network with an additional layer: `append` after its last layer, `append_after` after the whole network.

    With `replace` the network is unchanged: it was built for these classes.
    """
    if head == "replace":
        return network
    name, last = last_layer(network)
    if head == "append" and name:
        above, _, own = name.rpartition(".")
        setattr(network.get_submodule(above), own, nn.Sequential(last, _behind(last, classes)))
        return network
    return nn.Sequential(OrderedDict(network=network, head=nn.Linear(_outputs(last), classes)))


def _behind(last: nn.Module, classes: int) -> nn.Module:
    """A new last layer; a convolution if the last layer is one, as in squeezenet."""
    return nn.Conv2d(_outputs(last), classes, 1) if isinstance(last, nn.Conv2d) else nn.Linear(_outputs(last), classes)


def _outputs(last: nn.Module) -> int:
    if isinstance(last, nn.Conv2d):
        return last.out_channels
    assert isinstance(last, nn.Linear)
    return last.out_features


MOST_BYTES = 2**31 - 2**20  # of weights in an ONNX file, which is limited to 2 GiB
LARGER = "set train.size to 224, or train.model to resnet18"
SIDES = (28, 32, 48, 64, 96, 128, 160, 192, 224, 256, 299, 384, 512)  # common image sizes of networks, in pixels


def _networks() -> dict[str, NetworkSpec]:
    names = [f"{networks.__name__}.{found.name}" for found in pkgutil.iter_modules(networks.__path__)]
    modules = [importlib.import_module(name) for name in names]
    return {name: spec for module in modules for name, spec in module.NETWORKS.items()}


OURS = _networks()


def auto_values(name: str) -> AutoValues:
    """The values of `auto` for the network of this name."""
    return OURS[name].auto if name in OURS else AutoValues()


def network_names() -> list[str]:
    """Names of our own networks, then of torchvision's classification models."""
    return [*OURS, *torchvision_names()]


def build_network(
    name: str,
    *,
    classes: int,
    channels: int,
    size: tuple[int, int],
    head: str = "replace",
    begin: Callable[[nn.Module], object] = lambda network: None,
) -> nn.Module:
    """A network with random weights from torch's global generator, for images of `size` (H, W).

    `begin` may load weights, before a layer is appended and before grey images are expanded to RGB.

    Raises:
        ParamsError: the model is unknown, does not support `head`, or cannot take images of this size.
        MachineError: the model needs timm, which is not installed.
    """
    from_zoo = has_published_weights(name)
    if head != "replace" and (name in OURS or is_own_module(name)):
        raise ParamsError(
            f"params.yaml: train.head is {head}, which only models of torchvision and timm support, and train.model is "
            f"{name}; set it to replace"
        )
    if from_zoo:
        with told(name, _taking(size), LARGER):
            network = zoo_network(name, classes=classes if head == "replace" else None, size=size)
    elif is_own_module(name):
        network = own_network(name, classes=classes, channels=channels)
    else:
        network = _our_network(name, classes=classes, channels=channels, size=size)
    begin(network)
    network = with_head(network, head, classes)
    if from_zoo and channels != 3:
        network = ThreeChannels(network)
    answer = check_takes(network, name, channels, size)
    if getattr(answer, "shape", None) != (1, classes):
        found = "x".join(map(str, answer.shape)) if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        raise ParamsError(
            f"params.yaml: train.model {name} returns {found} for one image; it must return logits, 1x{classes}"
        )
    return network


def check_known(name: str) -> None:
    """Check that the model exists.

    Raises:
        ParamsError: the model is unknown.
        MachineError: the model needs timm, which is not installed.
    """
    if is_own_module(name):
        source_sha256(name)
    elif name.startswith(TIMM):
        check_timm(name)
    elif name not in network_names():
        raise _unknown(name)


def has_published_weights(name: str) -> bool:
    """Whether the model is torchvision's or timm's."""
    return name not in OURS and not is_own_module(name) and is_in_zoo(name)


def _our_network(name: str, *, classes: int, channels: int, size: tuple[int, int]) -> nn.Module:
    if name not in OURS:
        raise _unknown(name)
    spec = OURS[name]
    if min(size) < spec.least_side:
        raise ParamsError(
            f"params.yaml: train.model {name} cannot {_taking(size)} "
            f"(fewer than {spec.least_side} a side); set train.size to 32"
        )
    return spec.build(classes, channels, size)


def _unknown(name: str) -> ParamsError:
    meant = own_name(name)
    hint = f" (did you mean {meant}?)" if meant else nearest(name, network_names())
    return ParamsError(
        f"params.yaml: train.model is {name!r}; it can be {', '.join(OURS)}, a classification model of torchvision, "
        f"timm/NAME or package.module:Class{hint}"
    )


def _taking(size: tuple[int, int]) -> str:
    return f"take images of {size[1]}x{size[0]} pixels"


class ThreeChannels(nn.Module):
    """Expands grey images to RGB for a network made for colour."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(pixels.expand(-1, 3, -1, -1))


def check_takes(network: nn.Module, name: str, channels: int, size: tuple[int, int], remedy: str = "") -> object:
    """Check that a network takes an image of (H, W) pixels; returns its answer.

    Raises:
        ParamsError: it cannot; the message ends with the `remedy`, or with a size that works.
    """
    training = network.training
    with told(name, _taking(size), lambda: remedy or _other_size(network, name, channels)):
        answer = _answer(network, channels, size)
    network.train(training)
    return answer


def _answer(network: nn.Module, channels: int, size: tuple[int, int]) -> object:
    device = next((each.device for each in network.parameters()), None)
    with torch.no_grad():
        return network.eval()(torch.zeros(1, channels, *size, device=device))


def _other_size(network: nn.Module, name: str, channels: int) -> str:
    """A remedy for a network that cannot take images of the current size."""
    if not is_own_module(name) and name not in OURS:
        return LARGER
    for side in SIDES:
        with suppress(Exception):
            _answer(network, channels, (side, side))
            return f"it can take {side}x{side}: set train.size to {side}"
    return "fix it"


def check_weight(network: nn.Module, name: str) -> None:
    """Check that the weights fit into an ONNX file.

    Raises:
        ParamsError: they do not fit.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.parameters())
    if size >= MOST_BYTES:
        raise ParamsError(
            f"params.yaml: train.model {name} has {size / 1e9:.1f} GB of weights, and an ONNX file holds at most 2; "
            "choose a smaller model"
        )


def check_takes_one(network: nn.Module, name: str, channels: int, size: tuple[int, int]) -> None:
    """Check that the network trains on one image of (H, W) pixels: batch norm cannot average over a single pixel.

    Raises:
        ParamsError: it cannot.
    """
    copy = deepcopy(network).train()
    try:
        with torch.no_grad():
            copy(torch.zeros(1, channels, *size, device=next(network.parameters()).device))
    except ValueError as error:
        raise ParamsError(
            f"params.yaml: train.model {name} cannot be trained on a shard of one image ({error}); "
            "set train.drop_last to true, or change train.batch_size or train.shards"
        ) from None
