"""The formats of exported files by name: the modules of imageclf/export/formats. A new one is found by itself."""

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Any, Protocol

from torch.export import ExportedProgram

from imageclf.export import formats
from imageclf.models.card import Card


@dataclass(frozen=True)
class Material:
    """What a file is written from."""

    program: ExportedProgram
    card: Card
    facts: dict[str, Any]  # that a reader needs: classes, size, channels and more
    opset: int  # of ONNX


class Format(Protocol):
    """What a module of formats has."""

    READER: str  # a module that answers from the file: python -m READER file images.npy probabilities.npy

    def write(self, material: Material) -> bytes:
        """The file's content, the same bytes from any folder."""


def all_formats() -> dict[str, Format]:
    """By the end of the file's name, in the order of the alphabet."""
    names = [found.name for found in pkgutil.iter_modules(formats.__path__)]
    return {name: importlib.import_module(f"{formats.__name__}.{name}") for name in sorted(names)}
