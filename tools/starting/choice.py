"""Choose params for a folder of images: the recipe, the sizes, and a reason for each."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imageclf.models.registry import network_names
from tools.recipe import read_recipe
from tools.starting.survey import Survey

PUBLISHED = "efficientnet_b0"  # the network of the transfer recipes: among torchvision's, much accuracy for its cost
SMALL_SIDE = 48  # pixels; up to here images are as small as CIFAR-10's
MANY_SMALL = 5000  # images; as many small ones train a small network from random weights well
FEW_A_CLASS = 100  # images; with fewer, all layers of a network soon know them by heart
QUICK_SIDE = 160  # pixels; half the cost of 224, and about as accurate on photographs
ONE_SIZE = ("vit", "swin")  # in the names of networks made for one size
STEP = 3  # forward passes: what a training step costs
TIMED, TIMES = 16, 3  # images, and passes over them at least, of which the quickest counts
LONG_ENOUGH = 0.5  # seconds of passes: beside other work most of them are slow


@dataclass(frozen=True)
class Choice:
    """The value of a param, and why."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Plan:
    """A recipe, the values that differ from it, and the time that training will take in seconds."""

    recipe: str
    reason: str
    choices: list[Choice]
    seconds: float
    sees: int  # pixels of the side that the network sees


@dataclass(frozen=True)
class Beginning:
    """The weights to begin from: those of a file, or the published ones of `model`; None: there are none."""

    model: str | None
    side: int = 0  # pixels that it was trained at
    weights: Path | None = None
    why_not: str = ""  # the reason, without a model


Measure = Callable[[str, int], float]  # seconds of a forward pass over an image, by network and side


def plan(survey: Survey, beginning: Beginning, *, budget: float, measure: Measure) -> Plan:
    """Choose what trains best on these images in `budget` seconds."""
    own = _scratch(survey, beginning, measure)
    return own or _transfer(survey, beginning, budget=budget, measure=measure)


def _scratch(survey: Survey, beginning: Beginning, measure: Measure) -> Plan | None:
    """Training from random weights, where images are many and small, or there are no others."""
    many_small = survey.side <= SMALL_SIDE and survey.trained_on >= MANY_SMALL
    if beginning.model and not many_small:
        return None
    side = 32 if survey.side <= SMALL_SIDE else 64
    choices = [Choice("prepare.size", side, f"the shorter side is {survey.side} pixels in the middle")]
    if many_small:
        recipe, reason = "cifar10", f"{survey.trained_on:,} images as small as CIFAR-10's"
    else:
        recipe, reason = "scratch-small", f"no pretrained weights: {beginning.why_not}"
    choices.append(_epochs(recipe))
    return Plan(recipe, reason, choices, survey.trained_on * _passes(recipe) * measure("cifarnet", side), side)


def _transfer(survey: Survey, beginning: Beginning, *, budget: float, measure: Measure) -> Plan:
    """Training from the weights: the last layer, or all where images and time allow."""
    model = beginning.model
    assert model
    choices = []
    if model != PUBLISHED:
        choices.append(Choice("train.model", model, "the network of the weights"))
    if beginning.weights:
        choices += [
            Choice("train.pretrained", value=False, reason="the weights are a file"),
            Choice("train.weights", str(beginning.weights), "given"),
        ]
    full = beginning.side
    per_image = measure(model, full)
    a_class = survey.trained_on / len(survey.classes)
    tested = (survey.images - survey.trained_on) * per_image  # the rest is answered once
    whole = survey.trained_on * _passes("transfer") * per_image + tested
    recipe, seconds = "transfer-frozen", survey.images * per_image
    if a_class < FEW_A_CLASS:
        reason = f"{a_class:.0f} images a class are few: the last layer alone learns from them"
    elif whole > budget:
        reason = f"all layers would take {in_words(whole)}, more than {in_words(budget)}"
    else:
        reason = f"{a_class:.0f} images a class, and all layers take {in_words(whole)}"
        recipe, seconds = "transfer", whole
    seen = full
    if seconds > budget and full > QUICK_SIDE and not any(word in model for word in ONE_SIZE):
        seen = QUICK_SIDE
        choices.append(Choice("train.size", seen, f"{full} pixels would take {in_words(seconds)}"))
        seconds *= (seen / full) ** 2
    stored = min(seen, max(32, survey.side // 32 * 32))
    words = f"the network sees {seen} pixels"
    if stored < seen:
        words = f"the images have {survey.side} pixels in the middle; the network enlarges them to {seen}"
    choices += [Choice("prepare.size", stored, words), _epochs(recipe)]
    return Plan(recipe, reason, choices, seconds, seen)


def _epochs(recipe: str) -> Choice:
    reasons = {
        "cifar10": "as measured on CIFAR-10",
        "scratch-small": "random weights need many where images are few",
        "transfer": "trained weights need few",
        "transfer-frozen": "the last layer alone: an epoch takes milliseconds",
    }
    return Choice("train.epochs", read_recipe(recipe).values["train.epochs"], reasons[recipe])


def _passes(recipe: str) -> int:
    """What training costs an image, in forward passes."""
    return STEP * int(read_recipe(recipe).values["train.epochs"])


def measured(model: str, side: int) -> float:
    """Seconds of a forward pass over one image, measured on a few in this process, with random weights.

    A CPU is measured on one core and counted by all of them, as stages use it: threads wait for each other beside other
    work.
    """
    import torch

    from imageclf.models.device import choose_device
    from imageclf.models.registry import build_network
    from imageclf.runtime.platform import available_cores

    device = choose_device("auto")
    network = build_network(model, classes=2, channels=3, size=(side, side)).eval().to(device)
    images = torch.rand(TIMED, 3, side, side, device=device)
    passes, threads = list[float](), torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        while len(passes) <= TIMES or sum(passes) < LONG_ENOUGH:
            began = time.monotonic()
            float(network(images).sum())  # waits for the device
            passes.append(time.monotonic() - began)
    torch.set_num_threads(threads)
    return min(passes) / TIMED / (available_cores() if device.type == "cpu" else 1)


def named_in(file: Path) -> str | None:
    """The network whose name the file's name begins with, such as resnet18-f37072fd.pth."""
    stem = file.stem.lower()
    fitting = [name for name in network_names() if stem.startswith(name)]
    return max(fitting, key=len, default=None)


def in_words(seconds: float) -> str:
    """A time that is estimated."""
    if seconds < 90:
        return f"{max(1, seconds):.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
