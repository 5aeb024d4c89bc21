"""Images made ready for a GPU by processes, ours and a DataLoader with torchvision: `python -m benchmarks.loader`.

Both give batches of uint8 from arrays of prepared images, each image shifted over a black border, mirrored by a coin,
and with brightness, contrast and saturation of its own. They take turns, each with two processes and nothing that
trains beside. Keeps nothing; on a machine that does something else the figures are noise. Two minutes.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from benchmarks.pictures import Pictures, endless
from imageclf.augment.mixing import Mixing
from imageclf.augment.transforms import NO_AUGMENTATION, Augment
from imageclf.images.dataset import Split
from imageclf.models.device import Compute
from imageclf.runtime.stage import run_tool
from imageclf.training.loading import Batch, Loader, Preparation

IMAGES, BATCH, PROCESSES = 2048, 256, 2
SHIFT, COLOR = 16, 0.4
WARM_UP, SECONDS = 6, 6.0  # batches, and for how long they are counted


def main() -> None:
    asked = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        split = _pictures(Path(folder), asked.size)
        turns = {"ours": lambda: ours(split), "torchvision": lambda: torchvision(split)}
        rates: dict[str, list[float]] = {name: [] for name in turns}
        for number in range(asked.rounds):
            for name in turns if number % 2 == 0 else reversed(turns):
                rates[name].append(rate(turns[name]))
                print(f"{name:12} {rates[name][-1]:7,.0f} images/s", flush=True)
    ratios = [own / other for own, other in zip(*rates.values(), strict=True)]
    print(f"ours / torchvision: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.loader", description=__doc__)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    return parser


def _pictures(folder: Path, size: int) -> Split:
    draws = np.random.default_rng(0)
    np.save(folder / "images.npy", draws.integers(0, 256, (IMAGES, size, size, 3), np.uint8))
    return Split(np.load(folder / "images.npy", mmap_mode="r"), draws.integers(0, 10, IMAGES))


def rate(start: Callable[[], Iterator[int]]) -> float:
    """Images a second, after a warm-up."""
    batches, images = start(), 0
    for _ in range(WARM_UP):
        next(batches)
    began = time.monotonic()
    while time.monotonic() - began < SECONDS:
        images += next(batches)
    seconds = time.monotonic() - began
    batches.close()  # type: ignore[attr-defined]
    return images / seconds


def ours(split: Split) -> Iterator[int]:
    """The sizes of batches that have arrived."""
    params = NO_AUGMENTATION.model_copy(update={"crop": SHIFT, "flip": "random", "color": COLOR})
    preparation = Preparation(
        split, Augment(0, params), Mixing(0), range(1), 1, resizes=False, resident=False, batch_size=BATCH
    )
    compute = Compute(torch.device("cpu"), "fp32", 1, packed=True, prefetch=2 * PROCESSES, loaders=PROCESSES)
    loader, order, positions = Loader(preparation, compute), np.random.default_rng(0), np.arange(BATCH)
    batches = [Batch(order.integers(0, IMAGES, BATCH), 0, step) for step in range(compute.prefetch)]
    for batch in batches:
        loader.expect(batch)
    try:
        for step in count(compute.prefetch):
            batches.append(Batch(order.integers(0, IMAGES, BATCH), 0, step))
            loader.expect(batches[-1])
            yield len(loader.shard(batches.pop(0), 0, positions).images)
    finally:
        loader.close()


def torchvision(split: Split) -> Iterator[int]:
    """The same of a DataLoader."""
    changes = [v2.RandomCrop(split.images.shape[1:3], padding=SHIFT), v2.RandomHorizontalFlip()]
    transform = v2.Compose([v2.PILToTensor(), *changes, v2.ColorJitter(COLOR, COLOR, COLOR)])
    loader = DataLoader(Pictures(split, transform), BATCH, shuffle=True, drop_last=True, num_workers=PROCESSES)
    for images, _ in endless(loader):
        yield len(images)


if __name__ == "__main__":
    run_tool(main)
