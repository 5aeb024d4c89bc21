"""Freeze parts of a network."""

from collections.abc import Iterator

from torch import nn

from imageclf.models.classifier import Classifier
from imageclf.models.registry import last_layer
from imageclf.runtime.errors import ParamsError


def freeze(classifier: Classifier, how: str | int) -> str:
    """Freeze nothing (`none`), all but the last layer (`backbone`) or the first `how` blocks; returns a message.

    Frozen parameters get no gradient. Frozen modules, and those between them, stay in eval mode: batch norm uses its
    running statistics, and dropout is off.

    Raises:
        ParamsError: the network has fewer blocks.
    """
    network = classifier.network
    if how == "none":
        return "nothing is frozen"
    head = last_layer(network)[1]
    if how == "backbone":
        network.requires_grad_(False)
        head.requires_grad_(True)
        words = "all but the last layer"
    else:
        blocks = blocks_of(network)
        if int(how) > len(blocks):
            raise ParamsError(f"params.yaml: train.freeze is {how}, and the network has {len(blocks)} blocks; lower it")
        for block in blocks[: int(how)]:
            block.requires_grad_(False)
        words = f"the first {how} of {len(blocks)} blocks"
    classifier.frozen = tuple(frozen_modules(network))
    return f"{words} {'are' if how != 1 else 'is'} frozen"


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The network's parts with parameters, in order of definition, before its last layer.

    A part is a child of the network. A child is replaced by its own children if it is an nn.Sequential, contains the
    last layer, or is the only part.
    """
    head, blocks = last_layer(network)[1], [network]
    while len(blocks) == 1 and list(blocks[0].children()):
        blocks = [part for part in _parts(blocks[0], head) if next(part.parameters(), None) is not None]
    return blocks


def _parts(module: nn.Module, head: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if child is head:
            return
        if type(child) in (nn.Sequential, nn.ModuleList) or any(below is head for below in child.modules()):
            yield from _parts(child, head)
        else:
            yield child


def frozen_modules(network: nn.Module) -> Iterator[nn.Module]:
    """The modules with only frozen parameters, and those without any (dropout) before the last of them."""
    modules = list(network.modules())
    parameters = [list(module.parameters()) for module in modules]
    frozen = [bool(each) and not any(parameter.requires_grad for parameter in each) for each in parameters]
    last = max((place for place, is_frozen in enumerate(frozen) if is_frozen), default=0)
    for place, module in enumerate(modules):
        if frozen[place] or (place < last and not parameters[place]):
            yield module
