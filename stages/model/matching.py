"""Which tensor of a file goes where in a network."""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise

import torch
from torch import Tensor, nn

from stages.console.errors import DataError

COUNTER = "num_batches_tracked"  # of batch norm; no answer depends on it, and older files lack it
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # heads of googlenet and inception_v3 that only their first training used


@torch.no_grad()
def begin_from(
    network: nn.Module, tensors: Mapping[str, Tensor], *, fresh: str | None, source: str, in_order: bool = True
) -> str:
    """Give the network the tensors' values, all but the layer named `fresh`; the sentence about it.

    They go by name. Where the names are others, they go by order, if the file has the network's (`in_order`), every
    shape and every last part of a name (weight, bias, running_mean) is the same in both rows, and nothing but the names
    could tell two neighbours apart.

    Raises:
        DataError: something beyond the fresh layer is missing, too much or of another shape.
    """
    wanted = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(COUNTER)}
    given = {name: tensor for name, tensor in tensors.items() if not name.endswith(COUNTER)}
    given = {name: tensor for name, tensor in given.items() if name in wanted or not name.startswith(AUXILIARY)}
    to_fill = {name: tensor for name, tensor in wanted.items() if not _is_of(name, fresh)}
    others = {name: tensor for name, tensor in given.items() if not _is_of(name, fresh)}
    found, how = others, ""
    if not _fits(to_fill, others) and in_order and _fits_by_order(wanted, given, fresh):
        found, how = dict(zip(wanted, given.values(), strict=True)), ", by order and shape, for its names are others"
    elif not _fits(to_fill, others):
        raise DataError(
            f"{source} does not fit train.model: {_misfit(to_fill, others)}; give the weights of this model"
        )
    for name, tensor in to_fill.items():
        tensor.copy_(found[name])
    end = "" if fresh is None else "; the last layer is fresh"
    return f"{len(to_fill)} of {len(wanted)} tensors from {source}{how}{end}"


def _is_of(name: str, layer: str | None) -> bool:
    return layer is not None and name.rpartition(".")[0] == layer


def _fits(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    return _shapes(wanted) == _shapes(given)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _fits_by_order(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], fresh: str | None) -> bool:
    if len(wanted) != len(given) or _is_ambiguous(wanted) or _is_ambiguous(given):
        return False
    return all(
        mine.rpartition(".")[2] == theirs.rpartition(".")[2]
        and (_is_of(mine, fresh) or wanted[mine].shape == given[theirs].shape)
        for mine, theirs in zip(wanted, given, strict=True)
    )


def _is_ambiguous(tensors: Mapping[str, Tensor]) -> bool:
    """Whether two neighbouring modules of equal shapes differ in more than a number: query and key, say."""
    modules = [
        (re.sub(r"\d+", "", name), [tensors[each].shape for each in names])
        for name, names in (
            (name, list(names)) for name, names in groupby(tensors, lambda each: each.rpartition(".")[0])
        )
    ]
    return any(a != b and shapes == others for (a, shapes), (b, others) in pairwise(modules))


def _misfit(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    missing = [name for name in wanted if name not in given]
    unknown = [name for name in given if name not in wanted]
    other = [name for name in wanted if name in given and wanted[name].shape != given[name].shape]
    words = [_counted(missing, len(wanted), "are missing"), _counted(unknown, len(given), "have no place in it")]
    if other:
        sizes = f"{_size(given[other[0]].shape)} for {_size(wanted[other[0]].shape)}"
        words.append(f"{_counted(other, len(wanted), 'have another shape')}, {sizes}")
    return ", ".join(filter(None, words))


def _counted(names: list[str], total: int, what: str) -> str:
    return f"{len(names)} of {total} tensors {what} (first {names[0][:100]})" if names else ""


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "1"
