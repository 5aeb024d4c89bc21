"""Networks by name, with a head for the classes, and what they can take."""

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
    """Name and module of the last linear layer by definition; of the last convolution where there is none.

    Raises:
        ParamsError: there is neither, or a model of timm's has several heads.
    """
    get_classifier = getattr(network, "get_classifier", None)
    answers = get_classifier() if callable(get_classifier) else None
    if isinstance(answers, tuple | nn.ModuleList):
        raise ParamsError(
            f"params.yaml: train.model has {len(answers)} heads, and there is a rule for one; give it no weights, "
            "and set train.head, train.freeze and train.head_lr back"
        )
    for kind in (nn.Linear, nn.Conv2d):
        found = [(name, module) for name, module in network.named_modules() if isinstance(module, kind)]
        if found:
            return found[-1]
    raise ParamsError(
        "params.yaml: train.model has no linear layer or convolution that could be its last; "
        "set train.head, train.freeze and train.head_lr back"
    )


def with_head(network: nn.Module, head: str, classes: int) -> nn.Module:
    """The network with a layer more: `append` behind its last layer, `append_after` behind all of it.

    With `replace` it is the network as it is: made for these classes from the start.
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
    """Where the last layer answers in maps, as squeezenet's does, one that reads maps."""
    return nn.Conv2d(_outputs(last), classes, 1) if isinstance(last, nn.Conv2d) else nn.Linear(_outputs(last), classes)


def _outputs(last: nn.Module) -> int:
    if isinstance(last, nn.Conv2d):
        return last.out_channels
    assert isinstance(last, nn.Linear)
    return last.out_features


MOST_BYTES = 2**31 - 2**20  # of weights in an ONNX file, whose format ends at 2 GiB
LARGER = "set train.size to 224, or train.model to resnet18"
SIDES = (28, 32, 48, 64, 96, 128, 160, 192, 224, 256, 299, 384, 512)  # pixels that networks are made for


def _networks() -> dict[str, NetworkSpec]:
    names = [f"{networks.__name__}.{found.name}" for found in pkgutil.iter_modules(networks.__path__)]
    modules = [importlib.import_module(name) for name in names]
    return {name: spec for module in modules for name, spec in module.NETWORKS.items()}


OURS = _networks()  # a new module of imageclf/models/networks is found by itself


def auto_values(name: str) -> AutoValues:
    """What `auto` means for the network of this name."""
    return OURS[name].auto if name in OURS else AutoValues()


def network_names() -> list[str]:
    """Every name without a package before it: our own first, then torchvision's classification models."""
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
    """A network with fresh weights from torch's global generator, for images of `size` (H, W).

    `begin` may give it others before a layer is appended and before it is shown grey images as RGB.

    Raises:
        ParamsError: no such model, it does not go with `head`, or it cannot take images of this size.
        MachineError: it is timm's, which is missing.
    """
    from_zoo = has_published_weights(name)
    if head != "replace" and (name in OURS or is_own_module(name)):
        raise ParamsError(
            f"params.yaml: train.head is {head}, which goes with models that have classes of their own, torchvision's "
            f"and timm's, and train.model is {name}; set it to replace"
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
            f"params.yaml: train.model {name} answers {found} for one image, and 1x{classes} is needed: logits"
        )
    return network


def check_known(name: str) -> None:
    """Whether a model of this name is there to be built.

    Raises:
        ParamsError: it is not.
        MachineError: it is timm's, which is missing.
    """
    if is_own_module(name):
        source_sha256(name)
    elif name.startswith(TIMM):
        check_timm(name)
    elif name not in network_names():
        raise _unknown(name)


def has_published_weights(name: str) -> bool:
    """Whether it is torchvision's or timm's."""
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
    """Shows grey images as RGB to a network made for colour."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(pixels.expand(-1, 3, -1, -1))


def check_takes(network: nn.Module, name: str, channels: int, size: tuple[int, int], remedy: str = "") -> object:
    """A network's answer for one image of (H, W) pixels, on the device that it is on.

    Raises:
        ParamsError: it cannot; ends with the `remedy`, or with a size that it can take.
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
    """What to do about a network that cannot take images of one size."""
    if name in OURS:
        return "set train.size to 32"
    if not is_own_module(name):
        return LARGER
    for side in SIDES:
        with suppress(Exception):
            _answer(network, channels, (side, side))
            return f"it can take {side}x{side}: set train.size to {side}"
    return "mend that"


def check_weight(network: nn.Module, name: str) -> None:
    """Let no network pass whose weights are more than an ONNX file holds.

    Raises:
        ParamsError: they are.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.parameters())
    if size >= MOST_BYTES:
        raise ParamsError(
            f"params.yaml: train.model {name} has {size / 1e9:.1f} GB of weights, and the ONNX file that export writes "
            "holds 2; take a smaller one"
        )


def check_takes_one(network: nn.Module, name: str, channels: int, size: tuple[int, int]) -> None:
    """Train a copy on a single image of (H, W) pixels: batch norm cannot average over what is one pixel by then.

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
