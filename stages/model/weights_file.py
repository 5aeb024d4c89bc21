"""Weights from a file that comes from outside: safetensors, or what torch.save wrote."""

from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from stages.console.errors import DataError
from stages.console.text import printable
from stages.model.card import METADATA, Metadata
from stages.model.torch_file import read_torch_file
from stages.sources.fault import Fault

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
