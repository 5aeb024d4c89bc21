"""A classifier as one program of torch.export: uint8 images in, class probabilities out."""

import io
import json
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from stages.model.card import Card
from stages.model.classifier import Classifier

INPUT, OUTPUT = "images", "probabilities"
FACTS = "classifier.json"  # the file inside a .pt2 that says what it classifies


class Exportable(nn.Module):
    """uint8 (N, H, W, C) in, float32 (N, classes) out that sum to 1."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        return torch.softmax(self.classifier(images), dim=1)


def export_program(classifier: Classifier, card: Card) -> ExportedProgram:
    """Trace the classifier, on the CPU and in eval mode, for any number of images."""
    # Two images: torch.export would take a batch of one to mean that it is always one.
    images = torch.zeros(2, *card.size, card.channels, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            Exportable(classifier).eval(), (images,), dynamic_shapes={INPUT: {0: Dim("batch", min=1)}}
        )
    _forget_source(program.graph_module)
    return program


def program_bytes(program: ExportedProgram, facts: dict[str, Any]) -> bytes:
    """The program as a .pt2 file, the same bytes from any folder."""
    # Into memory: torch would write the file's name into the archive.
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={FACTS: json.dumps(facts, sort_keys=True)})
    return file.getvalue()


def _forget_source(graph: GraphModule) -> None:
    """Take out the stack traces: they hold absolute paths of this machine and lines of its code."""
    for module in graph.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
