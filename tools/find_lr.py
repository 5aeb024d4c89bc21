"""Find a learning rate by a range test: `python -m tools.find_lr`.

It takes the params and the prepared data of this folder, and trains on about a hundred batches while the rate rises
exponentially (arXiv:1506.01186). It stops where the loss diverges, and suggests a tenth of the rate with the lowest
smoothed loss. Only its curve is written, to logs/find_lr: no output of the pipeline changes. The same params give the
same curve.
"""

import argparse
import io
from functools import partial
from pathlib import Path

import pandas as pd

from imageclf.augment.transforms import Augment
from imageclf.config.runtime import RuntimeParams
from imageclf.config.section import read_section
from imageclf.config.train import TrainParams
from imageclf.images.dataset import Split, read_dataset, read_split
from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute, choose_compute
from imageclf.runtime.errors import DataError
from imageclf.runtime.files import write_bytes, write_text
from imageclf.runtime.progress import Progress
from imageclf.runtime.stage import project_root, run_tool
from imageclf.training.auto import Recipe, resolve
from imageclf.training.optimizers import OPTIMIZERS
from imageclf.training.schedule import epoch_order, plan_course
from imageclf.training.setup import build, check_counts, make_card
from imageclf.training.shared import Network, make_board
from imageclf.training.step import Batch, choose_loss
from imageclf.training.workers import WorkerPool, make_worker
from imageclf.weights.initial import DOWNLOADS, choose_beginning
from tools.finding.curve import FEWEST, Curve, draw_curve

FOLDER = Path("logs/find_lr")
STEPS = 100
BEYOND = 10  # the rates go from the lowest in use divided by this to the highest times this


def main() -> None:
    steps = _arguments().steps

    # 1. Build the classifier as train does.
    params, runtime = read_section(TrainParams), read_section(RuntimeParams)
    dataset, train = read_dataset(), read_split("train")
    beginning = choose_beginning(params, dataset, project_root() / DOWNLOADS)
    begun = beginning.weights is not None
    chosen = resolve(params, images=len(train), size=beginning.sees.size, begun=begun, fresh_head=beginning.fresh_head)
    recipe = chosen.model_copy(update={"freeze_epochs": 0})  # all layers that are trained in the end
    check_counts(recipe, plan_course(len(train), recipe), len(train), val=len(train))
    compute = choose_compute(runtime.device, recipe.precision, runtime.workers, shards=recipe.shards)
    kind = OPTIMIZERS[recipe.optimizer]
    lowest, highest = kind.lowest / BEYOND, kind.highest * BEYOND
    print(
        f"find_lr: {recipe.model} on {dataset.name}, {recipe.optimizer}, rates from {lowest:g} to {highest:g} in "
        f"{steps} batches of {recipe.batch_size} images",
        flush=True,
    )
    classifier = build(make_card(params, recipe, dataset, beginning, compute), beginning, recipe, train, compute)

    # 2. Train while the rate rises.
    rates = [lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps)]
    curve = measure(classifier, train, rates, recipe=recipe, compute=compute)

    # 3. Write the curve, and suggest a rate.
    write_text(FOLDER / "curve.csv", _table(curve).to_csv(index=False, lineterminator="\n"))
    content = io.BytesIO()
    draw_curve(curve, title=f"Range test: {recipe.model} on {dataset.name}, {recipe.optimizer}").save(content, "PNG")
    write_bytes(FOLDER / "curve.png", content.getvalue())
    print(
        f"find_lr: the smoothed loss is lowest at {curve.lowest():.2g}; a tenth of it is the suggestion "
        f"({FOLDER / 'curve.png'})\n  dvc exp run -S train.lr={curve.suggestion():g}"
    )


def measure(classifier: Classifier, train: Split, rates: list[float], *, recipe: Recipe, compute: Compute) -> Curve:
    """Train the classifier, a batch for each rate, until the loss diverges.

    Raises:
        DataError: it has diverged within the first few batches.
    """
    network = Network(classifier, head_lr=recipe.head_lr, layer_decay=recipe.layer_decay)
    board = make_board(network, images=len(train), shards=recipe.shards, workers=compute.workers, device=compute.device)
    make = partial(
        make_worker,
        board=board,
        network=network,
        split=train,
        augment=Augment(recipe.seed, recipe.augment),
        loss_fn=choose_loss(recipe.loss, label_smoothing=recipe.label_smoothing),
        compute=compute,
        recipe=recipe,
        memory={},
    )
    curve, whole = Curve([], []), len(train) // recipe.batch_size  # batches of an epoch
    with WorkerPool(board, make) as pool, Progress("find_lr", total=len(rates), unit="batch") as progress:
        for step, rate in enumerate(rates):
            epoch, place = divmod(step, whole)
            order, epochs = epoch_order(train.labels, recipe.sampling, recipe.seed, epoch)
            piece = slice(place * recipe.batch_size, (place + 1) * recipe.batch_size)
            indices = order[piece]
            batch = Batch(indices, epoch, step, recipe.scales[0], None if epochs is None else epochs[piece])
            loss, _ = pool.compute(batch)
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
