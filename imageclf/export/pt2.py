"""The exported program of torch (.pt2), written and asked in a process of its own."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from imageclf.evaluation.inference import predict_logits
from imageclf.models.card import Card
from imageclf.models.classifier import Classifier
from imageclf.models.tracing import traced
from imageclf.runtime.platform import available_cores

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


class Program(nn.Module):
    """A loaded program behind a module that may be told to train or to eval: the program itself refuses both."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        inside = {FACTS: ""}
        # The call, not the module: a child module would be told too.
        self.answer = torch.export.load(path, extra_files=inside).module().__call__
        self.network_size = json.loads(inside[FACTS]).get("network_size")

    def forward(self, images: Tensor) -> Tensor:
        return self.answer(images)


def main(model: Path, images: Path, answers: Path) -> None:
    pixels = np.load(images, mmap_mode="r")
    probabilities = predict_logits(Program(model), pixels, device=torch.device("cpu"), threads=available_cores())
    np.save(answers, probabilities.numpy())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*map(Path, sys.argv[1:]))
