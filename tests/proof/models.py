"""Every model by name goes through two steps of training, evaluate and export, or is refused in one sentence.

    python -m tests.proof.models                      all: about an hour on two cores
    python -m tests.proof.models vit_b_16 maxvit_t

Prints a line for each model as it is done, and exits with 1 where one ended in anything but its files or a sentence.
Each runs in a process of its own, in a temporary folder, on images of the smallest of a few sizes that it takes.
"""

import gc
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imageclf.models.registry import network_names
from imageclf.runtime.errors import ParamsError
from imageclf.runtime.files import write_sums
from imageclf.runtime.stage import run_tool
from stages import evaluate, export, train
from tests.conftest import Project
from tests.proof.forked import run_forked
from tests.proof.ground import set_params
from tests.proof.table import Tally
from tests.small_run import answers_here, make_card, make_prepared, random_images

SIDES = (32, 28, 64, 96, 224)  # pixels; the first that a model takes is tried
TOO_SMALL = ("cannot take images of", "nan or infinite")  # batch norm over three images of one pixel each may explode
LONGEST = 3600  # seconds
STAGES = (train, evaluate, export)
NOTES = "seconds.json"  # of the stages that a model is through, in their order
IMAGES = 6  # of three classes, for training, validation and test: three a shard, as batch norm needs more than one
RECIPE = {
    "epochs": 2,
    "batch_size": IMAGES,
    "optimizer": "sgd",
    "lr": 0.00001,
    "tta_flip": "false",
    "device": "cpu",
    "workers": 1,
}
LATE = ("torchvision.models", "torch.export", "torch.onnx", "onnxscript", "torch._dynamo")  # imported when first needed


@dataclass(frozen=True)
class Outcome:
    """How far a model came, and the sentence that ended it, if one did."""

    model: str
    side: int  # pixels
    seconds: tuple[float, ...]  # of the stages that it is through: training, evaluation, export
    said: str = ""
    is_fault: bool = False  # it ended otherwise than in one sentence before its training

    @property
    def fault(self) -> str | None:
        return f"{self.model} at {self.side} pixels: {self.said}" if self.is_fault else None


def try_model(model: str) -> Outcome:
    """Take a model through the stages, at the first of the sides that it takes."""
    for side in SIDES:
        outcome = _try_at(model, side)
        if not any(words in outcome.said for words in TOO_SMALL):
            break
    return outcome


def prove_models(models: Sequence[str], tally: Tally) -> None:
    """Try these, and count how many were exported and how many refused."""
    for model in models:
        outcome = try_model(model)
        tally.seen["refused" if outcome.said else "exported"] += 1
        tally.count(outcome.fault)


HEADER = f"{'model':22}  {'side':>4}  {'train':>7}  {'evaluate':>8}  {'export':>7}  refused, and why"


def draw_line(outcome: Outcome) -> str:
    """A line of the table under `HEADER`."""
    cells = [f"{seconds:.1f} s" for seconds in outcome.seconds] + ["-"] * len(STAGES)
    said = ("FAULT: " if outcome.is_fault else "") + outcome.said
    return f"{outcome.model:22}  {outcome.side:>4}  {cells[0]:>7}  {cells[1]:>8}  {cells[2]:>7}  {said}".rstrip()


def _try_at(model: str, side: int) -> Outcome:
    for name in LATE:
        importlib.import_module(name)  # once, for all the processes that are forked from this one
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        here = Path(folder)
        code, text = run_forked("tests.proof.models", here, here / "log", "--here", model, str(side), longest=LONGEST)
        seconds = tuple(json.loads((here / NOTES).read_text())) if (here / NOTES).exists() else ()
    said = (text.strip() or f"exit code {code}").splitlines()[-1] if code else ""
    is_refusal = code == ParamsError.exit_code and not seconds and "Traceback" not in text
    return Outcome(model, side, seconds, said, bool(code) and not is_refusal)


def _run_stages(model: str, side: int) -> None:
    """In this folder: what prepare leaves, and then each of the stages."""
    here, card = Path.cwd(), make_card(model, size=(side, side))
    make_prepared(here, card, images=random_images(IMAGES, card), labels=np.arange(IMAGES) % 3, val=IMAGES)
    prepared = here / "data/prepared"
    for part in ("images", "labels"):
        (prepared / f"train_{part}.npy").write_bytes((prepared / f"test_{part}.npy").read_bytes())
    write_sums(prepared)
    set_params(Project(here, {}), model=model, **RECIPE)
    export.fresh_answers = answers_here  # type: ignore[assignment, attr-defined]
    seconds: list[float] = []

    def stages() -> None:
        for stage in STAGES:
            begun = time.monotonic()
            stage.main()
            seconds.append(time.monotonic() - begun)
            gc.collect()
            (here / NOTES).write_text(json.dumps(seconds))

    run_tool(stages)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--here"]:
        _run_stages(arguments[1], int(arguments[2]))
        return 0
    print(HEADER, flush=True)
    outcomes = []
    for model in arguments or network_names():
        outcomes.append(try_model(model))
        print(draw_line(outcomes[-1]), flush=True)
    return int(any(outcome.is_fault for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
