"""A classifier as one program of torch.export, and that as ONNX: what export writes, and what train tries before."""

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
    """uint8 (N, H, W, C) in, float32 (N, classes) out that sum to 1."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        return torch.softmax(self.classifier(images), dim=1)


def traced(classifier: Classifier, card: Card) -> ExportedProgram:
    """The classifier's program, on the CPU and in eval mode, for any number of images, without a word of this machine.

    Raises:
        ParamsError: torch.export cannot follow it.
    """
    # Two images: torch.export would take a batch of one to mean that it is always one.
    images = torch.zeros(2, *card.size, card.channels, dtype=torch.uint8)
    remedy = "forward has to take the same steps for all images (torch.where, not if) and for any number of them"
    with told(card.model, "be exported", remedy), _quietly():
        program = torch.export.export(
            Exportable(classifier).eval(), (images,), dynamic_shapes={INPUT: {0: Dim("batch", min=1)}}
        )
    _forget_source(program.graph_module)
    return program


def _forget_source(graph: GraphModule) -> None:
    """Take out the stack traces: they hold absolute paths of this machine and lines of its code."""
    for module in graph.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)


def translated(program: ExportedProgram, card: Card, *, opset: int) -> Any:
    """The program as an onnx.ModelProto, by torch's own translation.

    Raises:
        ParamsError: it does not know one of the program's operations, or not in this opset.
    """
    remedy = "mend that, or try another export.opset or train.model"
    with told(card.model, f"be written as ONNX with opset {opset}", remedy), _quietly():
        found = torch.onnx.export(
            program, dynamo=True, opset_version=opset, input_names=[INPUT], output_names=[OUTPUT], verbose=False
        )
        assert found is not None  # None is the answer where a file name is given
        return found.model_proto


@contextmanager
def _quietly() -> Iterator[None]:
    """Without torch's remarks on the terminal."""
    logging.disable(logging.ERROR)
    try:
        # What torch.export could not follow it prints as a whole.
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
