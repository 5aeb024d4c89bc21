"""Trace a classifier with torch.export and convert it to ONNX. Train tries this before it begins."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from imageclf.models.card import Card
from imageclf.models.classifier import Classifier
from imageclf.models.own import told

INPUT, OUTPUT = "images", "probabilities"


class Exportable(nn.Module):
    """uint8 (N, H, W, C) to probabilities float32 (N, classes)."""

    def __init__(self, classifier: Classifier, temperature: float | None = None) -> None:
        super().__init__()
        self.classifier, self.temperature = classifier, temperature

    def forward(self, images: Tensor) -> Tensor:
        logits = self.classifier(images)
        return torch.softmax(logits if self.temperature is None else logits / self.temperature, dim=1)


def traced(classifier: Classifier, card: Card, temperature: float | None = None) -> ExportedProgram:
    """Trace the classifier on the CPU and in eval mode, for any batch size, without traces of this machine.

    Its answers are those at `temperature`, if there is one.

    Raises:
        ParamsError: torch.export cannot trace it.
    """
    # Two images: torch.export specialises a batch of one.
    images = torch.zeros(2, *card.size, card.channels, dtype=torch.uint8)
    remedy = "forward must not depend on values (torch.where, not if) or on the number of images"
    with told(card.model, "be exported", remedy), _quietly(), _out_of_place(classifier):
        program = torch.export.export(
            Exportable(classifier, temperature).eval(), (images,), dynamic_shapes={INPUT: {0: Dim("batch", min=1)}}
        )
    _forget_source(program.graph_module)
    return program


@contextmanager
def _out_of_place(module: nn.Module) -> Iterator[None]:
    """In the block no layer overwrites its input: torch.onnx undoes that slowly (EfficientNet-Lite0: 38 s, not 15)."""
    inside = [each for each in module.modules() if getattr(each, "inplace", False) is True]
    for each in inside:
        each.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for each in inside:
            each.inplace = True  # type: ignore[assignment]


def _forget_source(graph: GraphModule) -> None:
    """Remove stack traces: they contain absolute paths and lines of code."""
    for module in graph.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)


def translated(program: ExportedProgram, card: Card, *, opset: int) -> Any:
    """Convert the program to an onnx.ModelProto with torch's exporter.

    Raises:
        ParamsError: an operation of the program is not supported in this opset.
    """
    remedy = "fix it, or try another export.opset or train.model"
    with told(card.model, f"be written as ONNX with opset {opset}", remedy), _quietly():
        found = torch.onnx.export(
            program, dynamo=True, opset_version=opset, input_names=[INPUT], output_names=[OUTPUT], verbose=False
        )
        assert found is not None  # None only if a file name is given
        return found.model_proto


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence torch's messages."""
    logging.disable(logging.ERROR)
    try:
        # torch.export prints the whole program if it fails.
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
