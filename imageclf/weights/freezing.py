"""Parts of a network that training leaves as they are."""

from collections.abc import Iterator

from torch import nn

from imageclf.models.classifier import Classifier
from imageclf.models.registry import last_layer
from imageclf.runtime.errors import ParamsError


def freeze(classifier: Classifier, how: str | int) -> str:
    """Freeze nothing (`none`), all but the last layer (`backbone`) or the first `how` blocks; the sentence about it.

    Frozen parameters get no gradient, and frozen modules and what lies between them answer as in eval mode: batch norm
    by its running statistics, no dropout.

    Raises:
        ParamsError: there are fewer blocks.
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
    classifier.frozen = tuple(_frozen(network))
    return f"{words} {'are' if how != 1 else 'is'} frozen"


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The network's parts with parameters, in order of definition, before its last layer.

    A part is a child of the network; a child that is a mere row of others (nn.Sequential), or has the last layer in
    it, or is the only part, counts by its own children.
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


def _frozen(network: nn.Module) -> Iterator[nn.Module]:
    """The modules whose parameters are all frozen, and those without any, dropout say, before the last of them."""
    modules = list(network.modules())
    parameters = [list(module.parameters()) for module in modules]
    frozen = [bool(each) and not any(parameter.requires_grad for parameter in each) for each in parameters]
    last = max((place for place, is_frozen in enumerate(frozen) if is_frozen), default=0)
    for place, module in enumerate(modules):
        if frozen[place] or (place < last and not parameters[place]):
            yield module
