"""A classifier as one program of torch.export: uint8 images in, class probabilities out."""

import io
import json
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule

from stages.model.card import Card
from stages.model.classifier import Classifier
from stages.model.traced import traced

FACTS = "classifier.json"  # the file inside a .pt2 that says what it classifies


def export_program(classifier: Classifier, card: Card) -> ExportedProgram:
    """The classifier's program, for any number of images, without a word about this machine.

    Raises:
        ParamsError: torch.export cannot follow the network.
    """
    program = traced(classifier, card)
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
