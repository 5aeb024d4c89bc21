"""The export formats by name. Every module of imageclf/export/formats is one."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch.export import ExportedProgram

from imageclf.export import formats
from imageclf.models.card import Card


@dataclass(frozen=True)
class Material:
    """Everything that a format writes into a file."""

    program: ExportedProgram
    card: Card
    facts: dict[str, Any]  # metadata for readers: classes, size, channels and more
    opset: int  # ONNX only
    scores: dict[str, Any]  # of the trained model, on the test split
    images: np.ndarray  # uint8 (N, H, W, C), N at least 1: some to train on
    made: dict[str, bytes] = field(default_factory=dict)  # the files so far, by format: a demo contains ONNX


class Format(Protocol):
    """The interface of a module of formats."""

    FILE: str  # its name
    AFTER_ONNX: bool  # it is made from the ONNX file
    EXACT: bool  # its answers must be the trained model's; if not, it may be right less often by export.int8_loss
    READER: str  # a module that runs the file: python -m READER file images.npy probabilities.npy

    def write(self, material: Material) -> bytes:
        """The file's content, byte-identical from any folder."""


def chosen_formats(names: Sequence[str]) -> dict[str, Format]:
    """These formats by name, sorted."""
    return {name: importlib.import_module(f"{formats.__name__}.{name}") for name in sorted(names)}
