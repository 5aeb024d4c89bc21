"""What a run shows in TensorBoard: scalars by step and by epoch, what the network sees, its graph."""

import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

LOGS = Path("logs")


def log_folder(root: Path, facts: dict[str, Any]) -> Path:
    """logs/<experiment> under `dvc exp run`, else logs/<fingerprint of what shapes the run>."""
    fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    return root / LOGS / (os.environ.get("DVC_EXP_NAME") or fingerprint)


class RunLog:
    """Writes a run's events to `folder`, which is emptied first: two runs in one folder would share their curves."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Points at `step`, counted in optimiser steps over the whole run."""
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)

    def samples(self, images: np.ndarray) -> None:
        """A grid of uint8 (N, H, W, C): training images as the network sees them."""
        self._writer.add_image("train/augmented", make_grid(torch.from_numpy(images).permute(0, 3, 1, 2), nrow=8))

    def graph(self, classifier: nn.Module, images: np.ndarray) -> None:
        """The classifier's graph, traced on uint8 (N, H, W, C)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing is deprecated upstream, and what TensorBoard draws from
            device = next(classifier.parameters()).device
            self._writer.add_graph(classifier.eval(), torch.from_numpy(images).to(device))
