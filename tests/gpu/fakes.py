"""A machine with two fake GPUs: the project's own training on tensors that have a shape, a type, a device, no values.

torch's FakeTensorMode checks what a GPU would: that every operation has a kernel, that its tensors are on one device,
which types come out. Not the values, not memory, no races. `environment` prepares a process for it, `install` makes
torch see the GPUs, and `train` runs set_up, build and fit on them, counting kernels and the host's waits for the GPU.
"""

import os
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from imageclf.augment import on_device
from imageclf.config.params import read_params
from imageclf.images.dataset import Dataset, Split
from imageclf.models import layers
from imageclf.training import graphs, setup, step, workers
from imageclf.training.checkpoint import Checkpoint
from imageclf.training.loop import fit
from imageclf.training.run import Run
from tests.training.kept import Kept

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def environment(folder: Path) -> dict[str, str]:
    """The environment of a process that `install` is called in; builds the stand-ins for CUDA in `folder`.

    Skips the test where the machine cannot build them, or torch was built without CUDA.
    """
    torch_folder = Path(folder_of("torch"))
    if not (torch_folder / "lib/libtorch_cuda.so").exists():
        pytest.skip("this torch was built without CUDA")
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing, which builds the stand-in for CUDA's runtime")
    headers = Path(folder_of("triton")) / "backends/nvidia/include"
    if not headers.exists():
        pytest.skip("triton is missing, whose CUDA headers the stand-in is built with")
    for source, library in (("runtime.c", "libfakecudart.so"), ("driver.c", "libcuda.so.1")):
        command = ["gcc", "-shared", "-fPIC", "-w", f"-I{headers}", "-o", f"{folder / library}", f"{HERE / source}"]
        subprocess.run(command, check=True)
    return os.environ | {"LD_LIBRARY_PATH": str(folder), "LD_PRELOAD": str(folder / "libfakecudart.so")}


def folder_of(package: str) -> str:
    """Where a package is installed; `missing` if it is not."""
    found = find_spec(package)
    return str(Path(found.origin).parent) if found and found.origin else "missing"


class Record(TorchDispatchMode):
    """The kernels that a GPU would be given, by name, and the places where the host would wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.steps: list[tuple[int, int]] = []  # kernels and waits so far, as each step begins

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        made = func(*args, **kwargs)
        kinds = {each.device.type for each in [*given, *_tensors(made)]}
        name = func.overloadpacket.__name__
        if "cuda" in kinds and name not in WITHOUT_KERNEL:
            self.kernels[name] += 1
            if kinds == {"cpu", "cuda"} and name in ("_to_copy", "copy_"):
                source = given[1] if name == "copy_" else given[0]
                ahead = kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])
                # An upload from pinned memory runs by itself; everything else waits.
                if not (ahead and getattr(source, "pinned", False)):
                    self.waits[f"{name} from {source.device.type} in {_place()}"] += 1
        return made

    def begin_step(self) -> None:
        self.steps.append((self.kernels.total(), self.waits.total()))

    def per_step(self) -> tuple[float, float]:
        """Kernels and waits of a step, the median: most are in the middle of an epoch."""
        steps = np.diff(self.steps, axis=0)
        kernels, waits = np.median(steps, axis=0)
        return float(kernels), float(waits)


def _tensors(values: Any) -> Iterable[Tensor]:
    return (each for each in tree_leaves(values) if isinstance(each, Tensor))


def _place() -> str:
    """The line of the project's code that a tensor is asked in."""
    frame = sys._getframe(2)
    while frame and not frame.f_code.co_filename.startswith(str(ROOT / "imageclf")):
        frame = frame.f_back  # type: ignore[assignment]
    return f"{Path(frame.f_code.co_filename).relative_to(ROOT)}:{frame.f_lineno}" if frame else "torch"


WITHOUT_KERNEL = {  # views, and memory that nothing is written to
    "view",
    "permute",
    "t",
    "transpose",
    "expand",
    "slice",
    "select",
    "unsqueeze",
    "squeeze",
    "alias",
    "detach",
    "as_strided",
    "_unsafe_view",
    "unfold",
    "split",
    "split_with_sizes",
    "unbind",
    "lift_fresh",
    "_reshape_alias",
    "empty",
    "empty_like",
    "new_empty",
    "empty_strided",
    "chunk",
    "reshape",
    "new_empty_strided",
    "diagonal",
    "set_",
    "is_same_size",
    "device",
}

RECORD = Record()


def install() -> None:
    """Make torch see GPUs, and let fake tensors answer what the training asks of values: always 1."""
    _see_gpus()

    def answer(value: Any) -> Callable[..., Any]:
        def asked(self: FakeTensor, *_: Any) -> Any:
            if self.device.type != "cpu":
                RECORD.waits[f"a value in {_place()}"] += 1
            return value(self)

        return asked

    def ones(tensor: FakeTensor) -> np.ndarray:
        kind = "float32" if tensor.dtype == torch.bfloat16 else str(tensor.dtype).removeprefix("torch.")
        return np.ones(tuple(tensor.shape), kind)

    def on_the_host(tensor: FakeTensor) -> np.ndarray:
        assert tensor.device.type == "cpu", f"numpy() of a tensor on {tensor.device} in {_place()}"
        return ones(tensor)

    fakes: Any = FakeTensor
    fakes.item, fakes.__float__ = answer(lambda tensor: ones(tensor).item()), answer(lambda tensor: 1.0)
    fakes.__bool__, fakes.__int__ = answer(lambda tensor: True), answer(lambda tensor: 1)
    fakes.tolist = answer(lambda tensor: ones(tensor).tolist())
    fakes.numpy = lambda self, *_, **__: on_the_host(self)
    fakes.data_ptr = lambda self: self.storage_offset() * self.element_size()
    fakes.constant = property(lambda self: None, lambda self, value: None)

    module: Any = fake_tensor
    module.init_gpu_context = lambda *_, **__: None
    module.FakeTensorConverter.add_constant_storage_mapping = lambda *_: None
    nn.init.trunc_normal_ = lambda tensor, *_, **__: tensor  # its loop ends on values
    _let_real_tensors_in()


def _see_gpus() -> None:
    cuda: Any = torch.cuda
    cuda.is_available, cuda.current_device = lambda: True, lambda: 0
    cuda.set_device = lambda device: None
    cuda.get_device_name = lambda device=None: "FAKE GPU"
    cuda.get_device_capability = lambda device=None: (8, 0)
    cuda.get_device_properties = lambda device=None: SimpleNamespace(major=8, total_memory=40 * 2**30)
    cuda.manual_seed_all = cuda.manual_seed = lambda seed: None
    cuda._is_in_bad_fork = cuda.is_current_stream_capturing = lambda: False
    cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.Tensor.pin_memory = _pinned  # type: ignore[method-assign, assignment]
    optimizer: Any = import_module("torch.optim.optimizer")  # torch.optim hides it
    optimizer._foreach_supported_types.append(FakeTensor)
    optimizer.Optimizer._cuda_graph_capture_health_check = lambda self: None


def _pinned(self: Tensor, *_: Any) -> Tensor:
    copy: Any = self.clone()
    copy.pinned = True
    return copy


def _let_real_tensors_in() -> None:
    """A tensor made of an array is real until it goes to a GPU; parameters that go there are replaced."""
    to = torch.Tensor.to

    def fake_first(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        mode: Any = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
        if type(self) is Tensor and mode is not None and "cuda" in f"{args}{kwargs}":
            pinned, self = getattr(self, "pinned", False), mode.from_tensor(self)
            self.pinned = pinned  # type: ignore[attr-defined]
        return to(self, *args, **kwargs)

    def apply(self: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        for child in self.children():
            apply(child, change)
        for name, parameter in self._parameters.items():
            if parameter is not None:
                with torch.no_grad():
                    self._parameters[name] = nn.Parameter(change(parameter), parameter.requires_grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = change(buffer)
        return self

    torch.Tensor.to = fake_first  # type: ignore[method-assign, assignment]
    nn.Module._apply = apply  # type: ignore[method-assign, assignment]


class Silence:
    """A log that nobody reads."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


class InPlace:
    """A pool that answers in this thread: fake tensors are known to one thread."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> "InPlace":
        return self

    def __exit__(self, *_: object) -> None: ...

    def map(self, function: Callable[..., Any], values: Iterable[Any]) -> Iterable[Any]:
        return map(function, values)


def train(
    *,
    device: str = "cuda",
    gpus: int = 1,
    pinned: bool = True,
    recorded: bool = False,
    size: int = 32,
    channels: int = 3,
    images: int = 96,
    val: int = 20,
    every: float = 1e9,
    resume: bool = False,
    augment: dict[str, Any] | None = None,
    **changes: Any,
) -> None:
    """Train on fake images with params.yaml's `train` section and `changes` to it.

    A checkpoint is taken each `every` seconds. `resume` goes on from the last one in a new network. `recorded`: shards
    are CUDA graphs, of a kernel each.
    """
    params = read_params(ROOT / "params.yaml")
    section = params.train.model_dump() | {"epochs": 2, "batch_size": 32} | changes
    section["augment"] |= augment or {}
    recipe = type(params.train).model_validate(section)
    changed = {"device": device, "loaders": 0, "pin_memory": pinned, "cuda_graphs": recorded}
    runtime = params.runtime.model_copy(update=changed)
    draws = np.random.default_rng(0)

    def split(count: int) -> Split:
        pixels = draws.integers(0, 256, (count, size, size, channels), np.uint8)
        return Split(pixels, draws.integers(0, 10, count))

    splits = {"train": split(images), "val": split(val)}
    whole = {"mean": [0.5] * channels, "std": [0.25] * channels, "counts": {}, "sha256": {}}
    dataset = Dataset("fake", [str(each) for each in range(10)], (size, size), channels, **whole)  # type: ignore[arg-type]
    kept = Kept()
    RECORD.__init__()  # type: ignore[misc]
    for cached in (on_device._weights, layers._windows):
        cached.cache_clear()  # fake tensors belong to one mode
    with (
        patch.object(setup, "read_dataset", lambda: dataset),
        patch.object(setup, "read_split", splits.__getitem__),
        patch.object(workers, "save", lambda tensors: tensors),
        patch.object(workers, "load", lambda tensors: tensors),
        patch.object(torch.cuda, "device_count", lambda: gpus),
        patch.object(step, "replayed", lambda function, compute: _replayed(function) if compute.graphs else function),
        patch("imageclf.evaluation.inference.ThreadPoolExecutor", InPlace),
        patch.object(Run, "next_batch", _recorded(Run.next_batch)),
        warnings.catch_warnings(),
        FakeTensorMode(allow_non_fake_inputs=True),
    ):
        warnings.simplefilter("ignore")

        def go(begun: Checkpoint | None) -> None:
            found = setup.set_up(recipe, runtime, ROOT / ".downloads/weights")
            with RECORD:
                task = setup.build(found)
            settings: dict[str, Any] = {
                "checkpoints": kept,
                "checkpoint_every": every,
                "log": Silence(),
                "log_every": 10,
            }
            with RECORD:
                fit(task, found.recipe, begun=begun, **settings)

        go(None)
        if resume:
            last = kept.all[-1]
            tensors = {name: tensor.cpu() for name, tensor in last.tensors.items()}
            go(Checkpoint(last.step, tensors, last.facts))


def _replayed(function: graphs.Function) -> graphs.Function:
    def record(call: Callable[[], graphs.Outputs]) -> tuple[graphs.Outputs, Callable[[], None]]:
        before = RECORD.waits.total()
        outputs = call()
        assert RECORD.waits.total() == before, f"a wait in a graph: {RECORD.waits}"

        def replay() -> None:
            RECORD.kernels["graph"] += 1

        return outputs, replay

    return graphs.Replayed(function, record)


def _recorded(next_batch: Callable[[Run], Any]) -> Callable[[Run], Any]:
    def recorded(self: Run) -> Any:
        RECORD.begin_step()
        return next_batch(self)

    return recorded
