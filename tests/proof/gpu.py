"""A GPU keeps the promises, and how fast it is: `make gpu-check`, or `python -m tests.proof.gpu` with names of checks.

For a machine with an NVIDIA GPU, with made images, in temporary folders, under ten minutes. Prints a line for each
check and exits with 1 if one failed; `--json FILE` writes them too. `--device cpu` tries the checks without a GPU.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.loader import IMAGES, PROCESSES, ours, rate
from imageclf.augment.transforms import Augment
from imageclf.config.params import read_params
from imageclf.images.dataset import Split
from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute, choose_compute, choose_device
from imageclf.models.layers import make_pooling_repeatable
from imageclf.models.registry import build_network
from imageclf.runtime.errors import MachineError
from imageclf.training.auto import LARGEST_SHARD, Accelerator, resolve
from imageclf.training.loading import Batch
from imageclf.training.shared import Network
from imageclf.training.workers import WorkerPool, start_pool
from tests.conftest import Project
from tests.imports import ROOT
from tests.proof.artefacts import difference, fingerprint, outs_of
from tests.proof.ground import Ground, finish, set_params
from tests.proof.kills import TRAIN, prove_train_kills
from tests.proof.table import Tally

MODELS = {"cifarnet": 32, "notes_cnn_relu": 32, "resnet18": 64, "efficientnet_b0": 64, "vgg11": 64}  # and pixels
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "muon")
ATTENTION = {"vit_b_32": 224}
NEAR = 1e-3  # of the gradient's norm: how far a gradient in fp32 may be from the CPU's
KILLS = 5
LOADING: list[dict[str, object]] = [
    {"prefetch": 0},
    {"prefetch": 2, "loaders": 0},
    {"prefetch": 8, "loaders": 0},
    {"loaders": 2},
]
RACES = {  # network, pixels, batch size, whether the images stay on the GPU
    "default": ("cifarnet", 32, 512, True),
    "94 % recipe": ("cifarnet_large", 32, 1024, True),
    "ResNet-50": ("resnet50", 224, 256, False),
}


class Check:
    """What all checks need: the device, and a small project that is prepared."""

    def __init__(self, device: torch.device, folder: Path) -> None:
        self.device, self.folder = device, folder
        self.ground = Ground(folder, 0)
        self._copies = 0

    def project(self, **params: object) -> Project:
        """A project in which train can run on the device."""
        self._copies += 1
        project = self.ground.copy(self.ground.prepared, f"copy-{self._copies}")
        set_params(project, device=self.device, **params)
        return project

    def trained(self, **params: object) -> Any:
        """Hashes of what train leaves."""
        project = self.project(**params)
        finish(project, *TRAIN)
        return fingerprint(project.folder, outs_of(project.folder, "train"))


def machine(check: Check) -> str:
    """What is here."""
    if check.device.type != "cuda":
        return f"torch {torch.__version__} on {check.device}"
    found = torch.cuda.get_device_properties(check.device)
    return (
        f"{found.name}, compute capability {found.major}.{found.minor}, {found.total_memory / 1e9:.0f} GB; "
        f"torch {torch.__version__}, CUDA {torch.version.cuda}"
    )


def gradients(check: Check) -> str:
    """Of every network in fp32, those of the CPU."""
    furthest = {}
    for model, size in (MODELS | ATTENTION).items():
        found = [_gradient(model, size, device) for device in (torch.device("cpu"), check.device)]
        furthest[model] = float((found[0] - found[1]).norm() / found[0].norm())
        assert furthest[model] <= NEAR, f"{model} is {furthest[model]:.1g} away"
    return f"{len(furthest)} networks, to {max(furthest.values()):.1g} of their norm"


def _gradient(model: str, size: int, device: torch.device) -> torch.Tensor:
    with _pool(model, size, device, precision="fp32", optimizer="sgd", batch_size=8, shards=1) as (pool, _, classifier):
        for module in classifier.modules():
            if hasattr(module, "p"):
                module.p = 0.0  # type: ignore[assignment]  # dropout draws from another generator on each device
        pool.compute(Batch(np.arange(8), 0, 0))
        return pool._board.gradients[0].cpu()


def repeats(check: Check) -> str:
    """Two runs, one hash."""
    runs: list[dict[str, object]] = [{"model": model, "epochs": 1} for model in MODELS if model != "cifarnet"]
    runs += [{"optimizer": name} for name in OPTIMIZERS]
    for run in runs:
        fault = difference(check.trained(**run), check.trained(**run))
        assert not fault, f"{run}: {fault}"
    return f"{len(runs)} runs, each twice: the same bytes"


def kills(check: Check) -> str:
    """SIGKILL, and the run goes on."""
    set_params(check.ground.prepared, device=check.device)
    with Tally("kills", "", wanted=KILLS, evidence=check.folder / "kept") as tally:
        prove_train_kills(check.ground, KILLS, tally)
    assert tally.whole, "; ".join(tally.faults) or f"{tally.result} tried"
    return f"killed {tally.tried} times, the bytes of an unbroken run"


def loading(check: Check) -> str:
    """Images on the GPU or sent, by a thread or by processes."""
    hosts: list[dict[str, object]] = [{}, {"crop_scale": 0.5}]
    for host in hosts:  # which Pillow does, so that images are sent
        found = [check.trained(**host, **ways) for ways in LOADING]
        faults = [difference(found[0], other) for other in found[1:]]
        assert not any(faults), f"{host}: {faults}"
    return f"{len(LOADING)} ways to load, images on the GPU and sent: the same bytes"


def graphs(check: Check) -> str:
    """Shards as CUDA graphs."""
    if check.device.type != "cuda":
        return "not tried on a CPU"
    for model in MODELS:
        fault = difference(check.trained(model=model), check.trained(model=model, cuda_graphs="true"))
        assert not fault, f"{model}: {fault}"
    return f"{len(MODELS)} networks: the bytes without"


def export(check: Check) -> str:
    """The exported file answers as the network on the GPU."""
    project = check.project()
    finish(project, "dvc", "repro")
    found = json.loads((project.folder / "metrics/export.json").read_text())["onnx"]
    assert found["same"] == found["images"], f"{found['same']} of {found['images']} test images"
    return f"the same class on {found['same']:,} of {found['images']:,} test images"


def memory(check: Check) -> str:
    """A full memory is a sentence."""
    if check.device.type != "cuda":
        return "not tried on a CPU"
    total = torch.cuda.get_device_properties(check.device).total_memory
    try:
        with _pool("resnet18", 224, check.device, batch_size=512, shards=1) as (pool, _, _):
            room = torch.cuda.memory_reserved(check.device) + 2**28
            torch.cuda.set_per_process_memory_fraction(min(1.0, room / total), check.device)
            pool.compute(Batch(np.arange(512), 0, 0))
    except MachineError as error:
        assert "memory is full" in str(error), str(error)
        return f"{error}"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, check.device)
    raise AssertionError("it was not full")


def speed(check: Check) -> str:
    """Images a second, and the share of the time in which the GPU waits for them."""
    words = []
    small: dict[str, Any] = {"rounds": 3, "steps": 1} if check.device.type == "cpu" else {}
    for name, (model, size, batch_size, resident) in RACES.items():
        real, alone = (
            _seconds(model, size, check.device, batch_size=batch_size, resident=kept, **small)
            for kept in (resident, True)
        )
        waits = max(0.0, 1 - alone / real)
        recorded = _seconds(model, size, check.device, batch_size=batch_size, resident=resident, graphs=True, **small)
        words.append(
            f"{name} {batch_size / real:,.0f} images/s, waiting {waits:.0%} of the time, with graphs "
            f"{batch_size / recorded:,.0f}"
        )
    alone = rate(lambda: ours(_split(224, IMAGES)))
    return "; ".join([*words, f"{PROCESSES} loaders alone {alone:,.0f} images/s at 224"])


def _seconds(
    model: str,
    size: int,
    device: torch.device,
    *,
    batch_size: int,
    resident: bool,
    graphs: bool = False,
    rounds: int = 5,
    steps: int = 20,
) -> float:
    """Of a step, the median of the rounds after the first."""
    taken = []
    with _pool(model, size, device, batch_size=batch_size, resident=resident, graphs=graphs) as (pool, compute, _):
        draws, coming = np.random.default_rng(0), deque[Batch]()
        images = len(pool.losses)
        for step in range(rounds * steps + compute.prefetch):
            if step % steps == 0:
                taken.append(time.monotonic())
            coming.append(Batch(draws.integers(0, images, batch_size), 0, step))
            if compute.prefetch:
                pool.expect(coming[-1])
            if len(coming) > compute.prefetch:
                pool.compute(coming.popleft())
                pool.update(0.001)
            if device.type == "cuda" and step % steps == steps - 1:
                torch.cuda.synchronize(device)
    return statistics.median(np.diff(taken)[1:]) / steps


def _split(size: int, images: int) -> Split:
    draws = np.random.default_rng(0)
    return Split(draws.integers(0, 256, (images, size, size, 3), np.uint8), draws.integers(0, 10, images))


@contextmanager
def _pool(
    model: str, size: int, device: torch.device, *, resident: bool = False, graphs: bool = False, **changes: Any
) -> Iterator[tuple[WorkerPool, Compute, Classifier]]:
    """A network of 10 classes on made images of `size` pixels a side, ready for its first step."""
    split = _split(size, max(1024, changes["batch_size"]))
    section = read_params(ROOT / "params.yaml").train
    params = section.model_copy(update={"model": model, "hard_fraction": 1.0, "scales": [1.0]} | changes)
    on_cpu = device.type == "cpu"
    recipe = resolve(
        params, images=len(split), size=(size, size), accelerator=None if on_cpu else Accelerator(LARGEST_SHARD)
    )
    compute = choose_compute(
        device,
        recipe.precision,
        1,
        shards=recipe.shards,
        prefetch=2,
        loaders="auto",
        pin_memory=True,
        resident=resident,
        graphs=graphs,
    )
    torch.manual_seed(0)
    network = build_network(model, classes=10, channels=3, size=(size, size))
    classifier = Classifier(network, [0.5] * 3, [0.25] * 3).to(device).to(memory_format=torch.channels_last)
    make_pooling_repeatable(network)
    with start_pool(Network(classifier), split, Augment(0, recipe.augment), recipe=recipe, compute=compute) as pool:
        yield pool, compute, classifier


CHECKS: dict[str, Callable[[Check], str]] = {
    each.__name__: each for each in (machine, gradients, repeats, kills, loading, graphs, export, memory, speed)
}


def main() -> int:
    asked = _parser().parse_args()
    device = torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("gpu-check: torch finds no NVIDIA GPU here; run it on a machine that has one", file=sys.stderr)
        return MachineError.exit_code
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        check = Check(choose_device(asked.device), Path(folder))
        for name in asked.checks or CHECKS:
            begun = time.monotonic()
            try:
                held, words = True, CHECKS[name](check)
            except Exception as error:  # the other checks are made all the same
                held, words = False, f"{type(error).__name__}: {error}"
            rows.append({"check": name, "held": held, "found": words, "seconds": round(time.monotonic() - begun, 1)})
            print(f"{name:10} {'held  ' if held else 'FAILED'} {rows[-1]['seconds']:6} s  {words}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(not all(row["held"] for row in rows))


def _check(name: str) -> str:
    if name not in CHECKS:
        raise argparse.ArgumentTypeError(f"{name} is no check; there are {', '.join(CHECKS)}")
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.proof.gpu", description=__doc__)
    parser.add_argument("checks", nargs="*", type=_check, metavar="CHECK", help=", ".join(CHECKS))
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the checks without a GPU")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the lines as JSON too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
