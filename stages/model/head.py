"""The last layer of a network, and the ways to make it answer for other classes."""

from collections import OrderedDict

from torch import nn

from stages.console.errors import ParamsError


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
