"""Epochs of a last layer, the frozen backbone run in each or its features kept: `python -m benchmarks.frozen`.

In the folder of a project, after `dvc repro prepare`; `-S train.epochs=5` changes params as dvc's -S does. Each round
has its own seed and three turns: the whole network in every epoch; features, computed and trained on; the same features
with half of the head's rate. Times are without the start of the stage. Scores are those of the test split, which is
answered once for all. Keeps nothing.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.changes import change_params, changes_of, words
from imageclf.config.params import read_params
from imageclf.config.runtime import RuntimeParams
from imageclf.config.train import TrainParams
from imageclf.evaluation.inference import predict_logits
from imageclf.evaluation.scores import top_k_accuracy, wilson_interval
from imageclf.images.dataset import Split, read_split
from imageclf.runtime.stage import run_tool
from imageclf.training.checkpoint import held_checkpoints
from imageclf.training.frozen import on_features
from imageclf.training.log import RunLog
from imageclf.training.loop import Task, fit
from imageclf.training.setup import build, set_up
from imageclf.weights.initial import DOWNLOADS

TURNS = ("every epoch", "features", "other head_lr")


@dataclass(frozen=True)
class Bench:
    """What all turns have in common, and a folder of their own."""

    params: TrainParams
    runtime: RuntimeParams
    folder: Path

    def turn(self, name: str, seed: int) -> tuple[float, Task]:
        """Seconds of a turn, and the last layer that it trained, with the features of the test split."""
        params = self.params.model_copy(update={"seed": seed})
        setup = set_up(params, self.runtime, DOWNLOADS)
        recipe = setup.recipe
        if name == TURNS[2]:
            recipe = recipe.model_copy(update={"head_lr": recipe.head_lr / 2})
        whole = build(setup)

        def features(task: Task, sha256: dict[str, str], folder: str) -> Task:
            return on_features(task, setup.card, recipe, sha256=sha256, folder=self.folder / folder)

        start = time.monotonic()
        task = whole if name == TURNS[0] else features(whole, setup.dataset.sha256, f"seed {seed}")
        with held_checkpoints(self.folder / "run") as checkpoints, RunLog(self.folder / "log", first_step=0) as log:
            fit(
                task,
                recipe,
                begun=None,
                checkpoints=checkpoints,
                checkpoint_every=10.0,
                log=log,
                log_every=10,
            )
        seconds = time.monotonic() - start
        tested = replace(whole, train=Split(whole.train.images[:1], whole.train.labels[:1]), val=read_split("test"))
        sha256 = {"train_images": "one", "val_images": setup.dataset.sha256["test_images"]}
        return seconds, features(tested, sha256, "test")


def main() -> None:
    asked = _parser().parse_args()
    changes = changes_of(asked.changes) | {"train.freeze": "backbone"}
    print(f"frozen: {words(changes)}", flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in TURNS}
    correct: dict[str, list[int]] = {name: [] for name in TURNS}
    with tempfile.TemporaryDirectory() as temporary:
        params = Path(temporary, "params.yaml")
        params.write_text(Path("params.yaml").read_text())
        change_params(params, changes)
        read = read_params(params)
        bench = Bench(read.train, read.runtime, Path(temporary))
        for seed in range(asked.rounds):
            # The third turn needs the features of the second; the first changes its place.
            for name in TURNS if seed % 2 == 0 else (*TURNS[1:], TURNS[0]):
                taken, task = bench.turn(name, seed)
                found = _correct(task)
                seconds[name].append(taken)
                correct[name].append(found)
                print(f"round {seed + 1}, {name}: {taken:.2f} s, {found} of {len(task.val)} correct", flush=True)
    images = len(read_split("test"))
    for name in TURNS:
        low, high = wilson_interval(round(statistics.mean(correct[name])), images)
        ratio = statistics.median(one / other for one, other in zip(seconds[TURNS[0]], seconds[name], strict=True))
        print(
            f"{name:14} {statistics.median(seconds[name]):8.2f} s, {ratio:6.1f} times as fast; test top-1 "
            f"{100 * statistics.mean(correct[name]) / images:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
        )


def _correct(task: Task) -> int:
    logits = predict_logits(task.classifier, task.val.images, device=torch.device("cpu"), threads=1)
    return round(top_k_accuracy(np.asarray(logits), task.val.labels, 1) * len(task.val))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frozen", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-S", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    return parser


if __name__ == "__main__":
    run_tool(main)
