"""torch.export's program (.pt2): `write` makes the file, `main` runs it in a process of its own."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from imageclf.evaluation.inference import predict_logits
from imageclf.export.registry import Material
from imageclf.runtime.platform import available_cores

FILE, AFTER_ONNX, EXACT = "classifier.pt2", False, True
READER = "imageclf.export.formats.pt2"  # this module
FACTS = "classifier.json"  # the metadata file inside a .pt2


def write(material: Material) -> bytes:
    """The program as a .pt2 file, byte-identical from any folder."""
    # Into memory: torch writes a file's name into the archive.
    file = io.BytesIO()
    torch.export.save(material.program, file, extra_files={FACTS: json.dumps(material.facts, sort_keys=True)})
    return file.getvalue()


class Program(nn.Module):
    """A loaded program as a module with train() and eval(), which the program itself refuses."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        inside = {FACTS: ""}
        # The call, not the module: eval() would reach a child module too.
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
