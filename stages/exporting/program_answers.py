"""An exported .pt2 file at work, without the code that built the network.

python -m stages.exporting.program_answers classifier.pt2 images.npy probabilities.npy
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stages.exporting.program import FACTS
from stages.machine.cores import available_cores
from stages.scoring.inference import predict_logits


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
