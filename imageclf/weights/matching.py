"""Read weights from a file and match them to the tensors of a network."""

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

TORCH = (b"PK\x03\x04", b"\x80\x02")  # signatures of its two formats: zip archive, pickle
POINTER = b"version https://git-lfs"  # a file that Git LFS has not fetched


def read_weights(path: Path) -> dict[str, dict[str, Tensor]]:
    """Every dict of tensors in the file, in its order, by the path of keys to the dict.

    Raises:
        DataError: the file is missing, damaged, or has no named tensors.
    """
    try:
        return _read(path)
    except Fault as fault:
        raise DataError(f"{printable(path)} {fault}; train.weights takes .safetensors, and .pth or .pt files") from None


def read_metadata(path: Path) -> Metadata | None:
    """The metadata of a classifier of ours, in its file or, for older ones, in the card.json beside it.

    Raises:
        DataError: the metadata is invalid.
    """
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(METADATA)
    except (SafetensorError, OSError):
        return None  # not a safetensors file; reading its tensors gives the message
    try:
        if text:
            return Metadata.model_validate_json(text)
    except ValidationError:
        raise DataError(f"{printable(path)} is damaged: its metadata cannot be read; copy it again") from None
    try:
        return Metadata.model_validate_json((path.parent / "card.json").read_bytes())
    except (ValidationError, OSError):
        return None


def is_in_order(path: Path) -> bool:
    """Whether the file keeps the network's order: PyTorch does, safetensors sorts by name."""
    with path.open("rb") as file:
        return file.read(4).startswith(TORCH)


def _read(path: Path) -> dict[str, dict[str, Tensor]]:
    if not path.is_file():
        raise Fault("is a folder, not a file in it" if path.is_dir() else "is not a file")
    if is_in_order(path):
        return read_torch_file(path)
    try:
        # Recognised by content: safetensors begins with a length and a brace.
        return {"": load_file(path)}
    except (SafetensorError, OSError, KeyError, ValueError):
        with path.open("rb") as file:
            if file.read(len(POINTER)) == POINTER:
                raise Fault("is a Git LFS pointer; run git lfs pull") from None
        raise Fault("is neither a safetensors file nor one that PyTorch wrote") from None


# Counters of batch norm, which older files lack, and of averages and profilers: predictions do not depend on them.
COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # auxiliary heads of googlenet and inception_v3
AVERAGE = re.compile(r"(^|[._])(ema|swa|averaged?|teacher)([._]|$)")  # names of moving averages of the weights
States = Mapping[str, Mapping[str, Tensor]]  # dicts of tensors, by the path of keys to the dict


@torch.no_grad()
def begin_from(network: nn.Module, states: States, *, fresh: str | None, source: str, in_order: bool = True) -> str:
    """Copy the tensors into the network, except into the layer named `fresh`; returns a message.

    Tensors are matched by name, without a common prefix (`module.`, `model.backbone.`). If several dicts fit, a moving
    average comes first. If the names differ, tensors are matched by order. This needs a file in the network's order
    (`in_order`), the same shapes and last parts of names (weight, bias, running_mean), and no two neighbours that only
    their names distinguish.

    Raises:
        DataError: a tensor outside the fresh layer is missing, superfluous or of another shape.
    """
    wanted = _without_counters(network.state_dict())
    to_fill = {name: tensor for name, tensor in wanted.items() if not _is_of(name, fresh)}
    states = {where: _without_counters(tensors) for where, tensors in states.items()}
    parts, how = _parts(states, to_fill), ""
    fitting = [part for part in parts if _fits(to_fill, _body(part[1], to_fill, fresh))]
    if not fitting and in_order:
        fitting, how = _by_order(states, wanted, to_fill, fresh), ", by order and shape, since its names differ"
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
    """Candidates for the network's tensors, with their prefixes, averages first.

    A candidate is all tensors with a prefix that occurs before one of the network's names.
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
    """The tensors without auxiliary heads and without the layers in the fresh layer's place."""

    def is_beside(name: str) -> bool:
        return name.startswith(AUXILIARY) or _is_of(name, fresh) or name.startswith(f"{fresh}.")

    return {name: tensor for name, tensor in part.items() if name in wanted or not is_beside(name)}


def _by_order(
    states: States, wanted: Mapping[str, Tensor], to_fill: Mapping[str, Tensor], fresh: str | None
) -> list[tuple[str, dict[str, Tensor]]]:
    """The dicts that fit by order, with or without a layer in the fresh one's place, averages first."""
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
    """Whether two neighbouring modules of equal shapes differ in more than a number, as query and key do."""
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
    words = [_counted(missing, len(wanted), "are missing"), _counted(unknown, len(given), "are unexpected")]
    if other:
        sizes = f"{_size(given[other[0]].shape)} for {_size(wanted[other[0]].shape)}"
        words.append(f"{_counted(other, len(wanted), 'have another shape')}, {sizes}")
    return ", ".join(filter(None, words))


def _counted(names: list[str], total: int, what: str) -> str:
    return f"{len(names)} of {total} tensors {what} (first {printable(names[0])[:100]})" if names else ""


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "1"
