"""What a run shows in TensorBoard: scalars by step and by epoch, what the network sees, its graph."""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

LOGS = Path("logs")


def log_folder(root: Path, fingerprint: str) -> Path:
    """logs/<experiment> under `dvc exp run`, else logs/<the run's fingerprint>."""
    return root / LOGS / (os.environ.get("DVC_EXP_NAME") or fingerprint[:12])


class RunLog:
    """Writes a run's events to `folder`."""

    def __init__(self, folder: Path, *, first_step: int) -> None:
        """What an earlier try wrote from `first_step` on is hidden; at 0 the folder is emptied."""
        if first_step == 0:
            shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder), purge_step=first_step)

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
        self._writer.add_images("train/augmented", images, dataformats="NHWC")

    def graph(self, classifier: nn.Module, images: np.ndarray) -> None:
        """The classifier's graph, traced on uint8 (N, H, W, C)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing is deprecated upstream, and what TensorBoard draws from
            device = next(classifier.parameters()).device
            self._writer.add_graph(classifier.eval(), torch.from_numpy(images).to(device))
