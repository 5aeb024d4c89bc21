"""What a run shows in TensorBoard: scalars by step and by epoch, its params beside its final scores, what the network
sees, its graph; on demand weights as histograms and feature maps.
"""

import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from imageclf.models.own import cause

LOGS = Path("logs")


def log_folder(root: Path, fingerprint: str) -> Path:
    """logs/<experiment> under `dvc exp run`, else logs/<the run's fingerprint>."""
    return root / LOGS / (os.environ.get("DVC_EXP_NAME") or fingerprint[:12])


class RunLog:
    """Writes a run's events to `folder`; where that fails a line says so, and no more is written."""

    def __init__(self, folder: Path | None, *, first_step: int, histograms: bool = False) -> None:
        """What an earlier try wrote from `first_step` on is hidden; at 0 the folder is emptied. None writes nothing."""
        self._writer: Any = _NoWriter()
        self._histograms = histograms and folder is not None
        if folder is None:
            return
        if first_step == 0:
            shutil.rmtree(folder, ignore_errors=True)
        with self._tried():
            self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        with self._tried():
            self._writer.close()

    def step(self, step: int, **values: float) -> None:
        """Scalars of a step within an epoch."""
        # The HParams tab shows the first five scalars in the alphabet: those of the epochs come before these.
        self.scalars(step, {f"within epochs/{name}": value for name, value in values.items()})

    def epoch(self, step: int, row: Mapping[str, float]) -> None:
        """The scores of an epoch that ended at `step`."""
        self.scalars(step, {name.replace("_", "/"): value for name, value in row.items() if "_" in name})

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Points at `step`, counted in optimiser steps over the whole run."""
        with self._tried():
            for tag, value in values.items():
                self._writer.add_scalar(tag, value, step)

    def flush(self) -> None:
        """Put everything so far on disk."""
        with self._tried():
            self._writer.flush()

    def params(self, params: Mapping[str, object]) -> None:
        """The run's params by their whole keys, for the HParams tab, which puts each scalar's last point beside."""
        # Numbers are numbers; type() because torch would show true as 1.
        plain = {name: value if type(value) in (int, float) else str(value) for name, value in params.items()}
        # torch's add_hparams would make a second run of it. The list of columns is left out: TensorBoard then makes one
        # from all runs, with the params in which they differ first. The session's end is left out as it is not yet.
        _, session, _ = hparams(plain, {})
        with self._tried():
            self._writer._get_file_writer().add_summary(session)

    def insides(self, step: int, classifier: nn.Module, images: np.ndarray) -> None:
        """With `histograms`: every parameter's values, and the first convolution's maps of uint8 (N, H, W, C)."""
        if not self._histograms:
            return
        with _spared("histograms"):
            for name, parameter in classifier.named_parameters():
                self._writer.add_histogram(f"weights/{name.removeprefix('network.')}", parameter.detach().cpu(), step)
        with _spared("feature maps"):
            maps = _first_maps(classifier, images)
            if maps is not None:
                self._writer.add_images("first layer/maps", maps, step)

    def samples(self, images: np.ndarray) -> None:
        """A grid of uint8 (N, H, W, C): training images as the network sees them."""
        with _spared("sample images"):
            self._writer.add_images("train/augmented", images, dataformats="NHWC")

    def graph(self, classifier: nn.Module, images: np.ndarray) -> None:
        """The classifier's graph, traced on uint8 (N, H, W, C)."""
        # Tracing is deprecated upstream, and what TensorBoard draws from. A failure is printed there at length.
        with _spared("graph"), warnings.catch_warnings(), redirect_stdout(StringIO()), _plain_attention():
            warnings.simplefilter("ignore")
            given = torch.from_numpy(images).to(next(classifier.parameters()).device)
            # Traced here, as TensorBoard would trace it a second time to compare.
            self._writer.add_graph(torch.jit.trace(classifier.eval(), given, check_trace=False), given)

    @contextmanager
    def _tried(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = _NoWriter()
            print(f"train: nothing more goes to TensorBoard ({cause(error)}); the training goes on", flush=True)


class _NoWriter:
    """Takes every call of a SummaryWriter, and does nothing."""

    def __getattr__(self, name: str) -> Callable[..., "_NoWriter"]:
        return lambda *_, **__: self


@contextmanager
def _spared(what: str) -> Iterator[None]:
    """What fails in the block is missing in TensorBoard, as a line says, and ends no run."""
    try:
        yield
    except Exception as error:
        print(f"train: no {what} in TensorBoard ({cause(error)}); the training goes on", flush=True)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """In the block attention is computed as in training: tracing does not understand torch's shortcut for answers."""
    shortcut = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(shortcut)


def _first_maps(classifier: nn.Module, images: np.ndarray) -> Tensor | None:
    """What the first convolution answers, grey (N * filters, 1, h, w), each from 0 to 1; None where there is none."""
    first = next((module for module in classifier.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        return None
    seen: list[Tensor] = []
    handle = first.register_forward_hook(lambda module, inputs, output: seen.append(output.detach().float().cpu()))
    training = classifier.training
    try:
        with torch.no_grad():
            classifier.eval()(torch.from_numpy(np.array(images)).to(first.weight.device))
    finally:
        handle.remove()
        classifier.train(training)
    maps = seen[0].flatten(0, 1)[:, None]  # (N * filters, 1, h, w)
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-12)
