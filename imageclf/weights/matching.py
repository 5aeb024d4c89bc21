"""Weights from a file, and which of them go into which tensor of a network."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from imageclf.models.card import METADATA, Metadata
from imageclf.runtime.errors import DataError, Fault, printable
from imageclf.weights.torch_file import read_torch_file

TORCH = (b"PK\x03\x04", b"\x80\x02")  # how its two formats begin: a zip archive, a pickle
POINTER = b"version https://git-lfs"  # what Git LFS leaves in the place of a file that it has not fetched


def read_weights(path: Path) -> dict[str, dict[str, Tensor]]:
    """Every dict of tensors by name, in the order of the file, under the keys that lead to it.

    Raises:
        DataError: it is missing, damaged, or has no tensors by name.
    """
    try:
        return _read(path)
    except Fault as fault:
        raise DataError(f"{printable(path)} {fault}; train.weights takes .safetensors, and .pth or .pt files") from None


def read_metadata(path: Path) -> Metadata | None:
    """What a classifier of ours says of itself in its file, or in the card.json beside it if it is older.

    Raises:
        DataError: it says what cannot be.
    """
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(METADATA)
    except (SafetensorError, OSError):
        return None  # no safetensors file; who reads its tensors says more
    try:
        if text:
            return Metadata.model_validate_json(text)
    except ValidationError:
        raise DataError(f"{printable(path)} is damaged: its metadata cannot be read; copy it anew") from None
    try:
        return Metadata.model_validate_json((path.parent / "card.json").read_bytes())
    except (ValidationError, OSError):
        return None


def is_in_order(path: Path) -> bool:
    """Whether the tensors stand in the network's order: PyTorch keeps it, safetensors sorts them by name."""
    with path.open("rb") as file:
        return file.read(4).startswith(TORCH)


def _read(path: Path) -> dict[str, dict[str, Tensor]]:
    if not path.is_file():
        raise Fault("is a folder, not a file in it" if path.is_dir() else "is no file")
    if is_in_order(path):
        return read_torch_file(path)
    try:
        # It is told by its content: safetensors begins with a length and a brace.
        return {"": load_file(path)}
    except (SafetensorError, OSError, KeyError, ValueError):
        with path.open("rb") as file:
            if file.read(len(POINTER)) == POINTER:
                raise Fault("is a pointer of Git LFS, and git lfs pull brings the file") from None
        raise Fault("is neither a safetensors file nor one that PyTorch wrote") from None


# Counters of batch norm, which older files lack, and those that averages and profilers add: no answer depends on them.
COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # heads of googlenet and inception_v3 that only their first training used
AVERAGE = re.compile(r"(^|[._])(ema|swa|averaged?|teacher)([._]|$)")  # how moving averages of the weights are named
States = Mapping[str, Mapping[str, Tensor]]  # dicts of tensors by name, under the keys that lead to them in a file


@torch.no_grad()
def begin_from(network: nn.Module, states: States, *, fresh: str | None, source: str, in_order: bool = True) -> str:
    """Give the network the tensors' values, all but the layer named `fresh`; the sentence about it.

    They go by name, once a prefix of all of them (`module.`, `model.backbone.`) is off. Where several dicts fit, a
    moving average comes first. Where the names are others, they go by order, if the file has the network's
    (`in_order`), every shape and every last part of a name (weight, bias, running_mean) is the same in both rows, and
    nothing but the names could tell two neighbours apart.

    Raises:
        DataError: something beyond the fresh layer is missing, too much or of another shape.
    """
    wanted = _without_counters(network.state_dict())
    to_fill = {name: tensor for name, tensor in wanted.items() if not _is_of(name, fresh)}
    states = {where: _without_counters(tensors) for where, tensors in states.items()}
    parts, how = _parts(states, to_fill), ""
    fitting = [part for part in parts if _fits(to_fill, _body(part[1], to_fill, fresh))]
    if not fitting and in_order:
        fitting, how = _by_order(states, wanted, to_fill, fresh), ", by order and shape, for its names are others"
    if not fitting:
        nearest = max((part for _, part in parts), key=lambda part: len(part.keys() & to_fill.keys()))
        misfit = _misfit(to_fill, _body(nearest, to_fill, fresh))
        raise DataError(f"{source} does not fit train.model: {misfit}; give the weights of this model")
    where, found = fitting[0]
    for name, tensor in to_fill.items():
        tensor.copy_(found[name])
    words = f"{len(to_fill)} of {len(wanted)} tensors from {source}"
    if where:
        words += f" ({printable(where)[:100]}{', a moving average' if AVERAGE.search(where) else ''})"
    others = sum(map(len, states.values())) - len(found)
    return f"{words}{how}{f'; {others} others in it are not used' if others else ''}"


def _without_counters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(COUNTERS)}


def _parts(states: States, wanted: Mapping[str, Tensor]) -> list[tuple[str, dict[str, Tensor]]]:
    """What may be the network's tensors, and the words before their names, averages first.

    These are the tensors below each prefix that stands before one of the network's own names.
    """
    found = []
    for where, tensors in states.items():
        ends = {name: [0, *(dot.end() for dot in re.finditer(r"\.", name))] for name in tensors}
        prefixes = Counter(name[:end] for name in tensors for end in ends[name] if name[end:] in wanted)
        for prefix, _ in prefixes.most_common() or [("", 0)]:
            below = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
            found.append((f"{where}.{prefix}".strip("."), below))
    return sorted(found, key=lambda part: not AVERAGE.search(part[0]))


def _body(part: Mapping[str, Tensor], wanted: Mapping[str, Tensor], fresh: str | None) -> dict[str, Tensor]:
    """All but auxiliary heads and what is in the fresh layer's place: a layer, or several of another head."""

    def is_beside(name: str) -> bool:
        return name.startswith(AUXILIARY) or _is_of(name, fresh) or name.startswith(f"{fresh}.")

    return {name: tensor for name, tensor in part.items() if name in wanted or not is_beside(name)}


def _by_order(
    states: States, wanted: Mapping[str, Tensor], to_fill: Mapping[str, Tensor], fresh: str | None
) -> list[tuple[str, dict[str, Tensor]]]:
    """The dicts that fit by order, with a layer in the fresh one's place or without, averages first."""
    found = [
        (where, dict(zip(row, tensors.values(), strict=True)))
        for where, tensors in states.items()
        for row in (wanted, to_fill)
        if _fits_by_order(row, tensors, fresh)
    ]
    return sorted(found, key=lambda part: not AVERAGE.search(part[0]))


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
    return f"{len(names)} of {total} tensors {what} (first {printable(names[0])[:100]})" if names else ""


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "1"
