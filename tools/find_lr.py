"""Find a learning rate by a range test: `python -m tools.find_lr`.

It takes the params and the prepared data of this folder, and trains on about a hundred batches while the rate rises
exponentially (arXiv:1506.01186). It stops where the loss diverges, and suggests a tenth of the rate with the lowest
smoothed loss. Only its curve is written, to logs/find_lr: no output of the pipeline changes. The same params give the
same curve.
"""

import argparse
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from imageclf.config.runtime import RuntimeParams
from imageclf.config.section import read_section
from imageclf.config.train import TrainParams
from imageclf.runtime.errors import DataError
from imageclf.runtime.files import write_bytes, write_text
from imageclf.runtime.progress import Progress
from imageclf.runtime.stage import project_root, run_tool
from imageclf.training.auto import Recipe
from imageclf.training.loading import Batch
from imageclf.training.loop import Task
from imageclf.training.optimizers import OPTIMIZERS
from imageclf.training.schedule import epoch_order
from imageclf.training.setup import build, set_up
from imageclf.training.shared import Network
from imageclf.training.workers import start_pool
from imageclf.weights.initial import DOWNLOADS

FOLDER = Path("logs/find_lr")
STEPS = 100
BEYOND = 10  # the rates go from the lowest in use divided by this to the highest times this
SMOOTHING = 0.9  # of the moving average of the loss, for each step
DIVERGED = 2.0  # times the lowest smoothed loss: the test is over
SAFETY = 10  # the suggestion is the rate with the lowest loss, divided by this
FEWEST = 10  # steps before the loss can have diverged
SIDE, MARGIN, TITLE = (960, 560), 90, 20


def main() -> None:
    steps = _arguments().steps

    # 1. Build the classifier as train does, for the layers that are trained in the end.
    whole_run = {"freeze_epochs": 0, "keep": "last", "patience": 0}
    params, runtime = read_section(TrainParams).model_copy(update=whole_run), read_section(RuntimeParams)
    setup = set_up(params, runtime, project_root() / DOWNLOADS)
    recipe, data = setup.recipe, setup.card.data
    kind = OPTIMIZERS[recipe.optimizer]
    lowest, highest = kind.lowest / BEYOND, kind.highest * BEYOND
    print(
        f"find_lr: {recipe.model} on {data}, {recipe.optimizer}, rates from {lowest:g} to {highest:g} in "
        f"{steps} batches of {recipe.batch_size} images",
        flush=True,
    )
    task = build(setup)

    # 2. Train while the rate rises.
    rates = [lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps)]
    curve = measure(task, recipe, rates)

    # 3. Write the curve, and suggest a rate.
    write_text(FOLDER / "curve.csv", _table(curve).to_csv(index=False, lineterminator="\n"))
    content = io.BytesIO()
    draw_curve(curve, title=f"Range test: {recipe.model} on {data}, {recipe.optimizer}").save(content, "PNG")
    write_bytes(FOLDER / "curve.png", content.getvalue())
    if len(curve.rates) < steps:
        print(f"find_lr: stopped at a rate of {curve.rates[-1]:.2g}, where the loss diverged", flush=True)
    print(
        f"find_lr: the smoothed loss is lowest at {curve.lowest():.2g}; a tenth of it is the suggestion "
        f"({FOLDER / 'curve.png'})\n  dvc exp run -S train.lr={curve.suggestion():g}"
    )


@dataclass
class Curve:
    """Rates and losses of the steps so far."""

    rates: list[float]
    losses: list[float]

    def smoothed(self) -> list[float]:
        """The losses as a moving average, corrected for its beginning."""
        average, found = 0.0, []
        for step, loss in enumerate(self.losses, 1):
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            found.append(average / (1 - SMOOTHING**step))
        return found

    def has_diverged(self) -> bool:
        """Whether the last loss is no number, or the smoothed one is far above its lowest."""
        smoothed = self.smoothed()
        over = len(smoothed) > FEWEST and smoothed[-1] > DIVERGED * min(smoothed)
        return over or not math.isfinite(self.losses[-1])

    def lowest(self) -> float:
        """The rate with the lowest smoothed loss."""
        return self.rates[int(np.nanargmin(self.smoothed()))]

    def suggestion(self) -> float:
        """A tenth of that rate, with two digits."""
        return float(f"{self.lowest() / SAFETY:.2g}")


def measure(task: Task, recipe: Recipe, rates: list[float]) -> Curve:
    """Train the classifier, a batch for each rate, until the loss diverges.

    Raises:
        DataError: it has diverged within the first few batches.
    """
    train = task.train
    network = Network(task.classifier, head_lr=recipe.head_lr, layer_decay=recipe.layer_decay)
    started = start_pool(network, train, task.augment, recipe=recipe, compute=task.compute)
    curve, whole = Curve([], []), len(train) // recipe.batch_size  # batches of an epoch
    with started as pool, Progress("find_lr", total=len(rates), unit="batch") as progress:
        for step, rate in enumerate(rates):
            epoch, place = divmod(step, whole)
            order, epochs = epoch_order(train.labels, recipe.sampling, recipe.seed, epoch)
            piece = slice(place * recipe.batch_size, (place + 1) * recipe.batch_size)
            indices = order[piece]
            batch = Batch(indices, epoch, step, recipe.scales[0], None if epochs is None else epochs[piece])
            pool.compute(batch)
            loss = pool.scores().recent_loss
            curve.rates.append(rate)
            curve.losses.append(loss / len(indices))
            if curve.has_diverged():
                break
            pool.update(rate, clip_norm=recipe.clip_norm)
            progress.advance(1, note=f"rate {rate:.2g}, loss {curve.losses[-1]:.3f}")
    if len(curve.rates) <= FEWEST:
        raise DataError(
            f"find_lr: the loss diverged within {len(curve.rates)} batches, at a rate of {rate:.2g}; "
            "try another train.optimizer"
        )
    return curve


def draw_curve(curve: Curve, *, title: str) -> Image.Image:
    """Loss over rate, the rates on a logarithmic scale; two lines mark the lowest loss and the suggestion."""
    picture = Image.new("RGB", SIDE, "white")
    draw = ImageDraw.Draw(picture)
    font, large = ImageFont.load_default(16), ImageFont.load_default(TITLE)
    smoothed = [value for value in curve.smoothed() if math.isfinite(value)]
    # From the lowest loss to the first one; what diverges beyond it is cut off.
    low, high = min(smoothed), min(max(smoothed), max(smoothed[0], DIVERGED * min(smoothed)))
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low) + 1e-6
    left, right = math.log10(curve.rates[0]), math.log10(curve.rates[-1]) + 1e-6

    def place(rate: float, loss: float) -> tuple[float, float]:
        across, up = (math.log10(rate) - left) / (right - left), (min(max(loss, low), high) - low) / (high - low)
        return MARGIN + across * (SIDE[0] - 1.5 * MARGIN), SIDE[1] - MARGIN - up * (SIDE[1] - 2 * MARGIN)

    for power in range(math.ceil(left), math.floor(right) + 1):
        x, y = place(10.0**power, low)
        draw.line([(x, y), place(10.0**power, high)], "#e4e4e4")
        draw.text((x, y + 8), f"{10.0**power:g}", "black", font, anchor="ma")
    for loss in np.linspace(low, high, 5):
        x, y = place(curve.rates[0], float(loss))
        draw.line([(x, y), place(curve.rates[-1], float(loss))], "#e4e4e4")
        draw.text((x - 8, y), f"{loss:.2f}", "black", font, anchor="rm")
    marks = {curve.suggestion(): ("suggestion", "#1a7f37"), curve.lowest(): ("lowest loss", "#b35900")}
    for rate, (name, color) in marks.items():
        x, top = place(min(max(rate, curve.rates[0]), curve.rates[-1]), high)
        draw.line([(x, top), (x, place(curve.rates[0], low)[1])], color, 2)
        draw.text((x, top - 4), f"{name} {rate:.2g}", color, font, anchor="mb")
    raw = [place(rate, loss) for rate, loss in zip(curve.rates, curve.losses, strict=True) if math.isfinite(loss)]
    draw.line(raw, "#a9c4e8", 1)
    draw.line([place(*point) for point in zip(curve.rates, smoothed, strict=False)], "#1f5fb4", 3)
    draw.text((MARGIN, 14), title, "black", large)
    draw.text((SIDE[0] / 2, SIDE[1] - 34), "learning rate", "black", font, anchor="ma")
    draw.text((MARGIN, MARGIN - 32), "loss, smoothed and of each batch", "black", font, anchor="lb")
    return picture


def _table(curve: Curve) -> pd.DataFrame:
    columns = {"lr": curve.rates, "loss": curve.losses, "smoothed_loss": curve.smoothed()}
    return pd.DataFrame(columns).map(lambda value: float(f"{value:.6g}"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.find_lr", description="Find a learning rate.")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"batches of the test; {STEPS} if not given")
    arguments = parser.parse_args()
    if arguments.steps <= FEWEST:
        parser.error(f"--steps must be above {FEWEST}")
    return arguments


if __name__ == "__main__":
    run_tool(main)
