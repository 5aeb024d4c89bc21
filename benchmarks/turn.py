"""One turn in a process of its own: `python -m benchmarks.turn NAME`; the last line that it prints is JSON.

Rounds of turns are taken by `python -m benchmarks`, which also watches this process's memory until the line TIMING.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.contestant import Setup, Step
from benchmarks.lineup import PEAK
from benchmarks.notes_script import notes_script
from benchmarks.ours import default_recipe, large_recipe, notes_recipe, sharded, unsharded
from benchmarks.peak import PRECISIONS, matmul_peak
from benchmarks.record import record
from benchmarks.torchvision_loop import torchvision_loop
from benchmarks.watch import TIMING
from imageclf.images.dataset import read_split
from imageclf.models.device import processor_kind
from imageclf.runtime.stage import run_tool

PAGE = 4096  # bytes; reading one of them brings them all


def setups() -> dict[str, Setup]:
    return {
        "ours": partial(sharded, params=default_recipe()),
        "ours-unsharded": partial(unsharded, params=default_recipe()),
        "ours-large": partial(sharded, params=large_recipe()),
        "ours-notes-fp32": partial(sharded, params=notes_recipe("fp32")),
        "ours-notes-bf16": partial(sharded, params=notes_recipe("bf16")),
        "notes-script": notes_script,
        "torchvision-same-net": partial(torchvision_loop, model=default_recipe().model),
        "torchvision-resnet18": partial(torchvision_loop, model="resnet18"),
        "record": record,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turn", description=__doc__)
    parser.add_argument("name", choices=[PEAK, *setups()])
    parser.add_argument("--data", type=Path, required=True, help="a folder such as data/prepared")
    parser.add_argument("--warm-up", type=float, required=True, help="seconds")
    parser.add_argument("--seconds", type=float, required=True, help="that are timed; a step is taken to its end")
    asked = parser.parse_args()
    if asked.name == PEAK:
        figures: dict[str, object] = {precision: matmul_peak(precision) for precision in PRECISIONS}
    else:
        figures = _take(setups()[asked.name], asked.data, asked.warm_up, asked.seconds)
    made_with = {"torch": torch.__version__, "processor_kind": processor_kind()}
    print(json.dumps(figures | {"made_with": made_with}))


def _take(setup: Setup, folder: Path, warm_up: float, seconds: float) -> dict[str, object]:
    with setup(folder) as ready, _every_image_mapped(folder):
        _walk(ready.step, warm_up)
        print(TIMING, flush=True)
        images, taken = _walk(ready.step, seconds)
        finish = ready.finish() if ready.finish else 0.0
    split = read_split("train", folder)
    return {
        "images_per_second": images / taken,
        "flops_per_image": ready.flops,
        "precision": ready.precision,
        "finish_seconds": finish,
        "images": len(split),
        "size": split.images.shape[1:3],
    }


def _walk(step: Step, seconds: float) -> tuple[int, float]:
    """Take steps, one at least, until the time is over: their images and their seconds."""
    images, begun = 0, time.monotonic()
    while True:
        images += step()
        taken = time.monotonic() - begun
        if taken >= seconds:
            return images, taken


@contextmanager
def _every_image_mapped(folder: Path) -> Iterator[None]:
    """Hold in memory all the images that an epoch reads, so that the peak is an epoch's and not a few steps'."""
    images = read_split("train", folder).images
    np.add.reduce(images.reshape(-1)[::PAGE])
    yield


if __name__ == "__main__":
    run_tool(main)
