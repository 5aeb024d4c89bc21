"""Weights from a file that comes from outside: safetensors, or what torch.save wrote."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from stages.console.errors import DataError
from stages.console.text import printable
from stages.model.torch_file import read_torch_file
from stages.sources.fault import Fault

TORCH = (b"PK\x03\x04", b"\x80\x02")  # how its two formats begin: a zip archive, a pickle
PREFIXES = ("module.", "model.")  # that wrappers around a network put before every name


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors by name, in the order of the file.

    Raises:
        DataError: it is missing, damaged, or holds anything else than tensors.
    """
    try:
        return _without_prefix(_read(path))
    except Fault as fault:
        raise DataError(
            f"{printable(path)} {fault}; give train.weights a .safetensors file, or a .pth of nothing but tensors"
        ) from None


def is_in_order(path: Path) -> bool:
    """Whether the tensors stand in the network's order: PyTorch keeps it, safetensors sorts them by name."""
    with path.open("rb") as file:
        return file.read(4).startswith(TORCH)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise Fault("is no file")
    if is_in_order(path):
        return read_torch_file(path)
    try:
        # It is told by its content: safetensors begins with a length and a brace.
        return load_file(path)
    except (SafetensorError, OSError, KeyError, ValueError):
        raise Fault("is neither a safetensors file nor one that PyTorch wrote") from None


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors
