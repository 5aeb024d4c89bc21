"""The sharded step beside the ordinary one: `python -m benchmarks.sharded_step`, after `dvc repro`; a minute.

The same network, batch, precision and optimiser. Ours: shards on single-threaded processes. Ordinary: the whole batch
at once on torch's own threads. The two take turns, so that a machine that slows down slows both.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from stages.data.augment import Augment
from stages.data.prepared import read_split
from stages.machine.cores import available_cores
from stages.model.card import read_card
from stages.model.classifier import Classifier, build_classifier
from stages.params.read import read_params
from stages.training.compute import Compute, choose_compute
from stages.training.network import Network
from stages.training.objective import choose_objective
from stages.training.optimizer import make_optimizers
from stages.training.shards import Batch, ShardWorker, make_board, shard_count
from stages.training.workers import WorkerPool

ROUNDS, STEPS = 5, 8


def main() -> None:
    recipe = read_params().train
    split = read_split("train")
    shards = shard_count(recipe.batch_size, recipe.shards)
    compute = choose_compute("cpu", recipe.precision, "auto", shards=shards)
    augment = Augment(recipe.seed, **recipe.augment.model_dump())
    objective = choose_objective(recipe.loss, label_smoothing=recipe.label_smoothing)
    batches = [Batch(np.arange(recipe.batch_size) + step, 0, step) for step in range(STEPS)]

    network = Network(_fresh())
    board = make_board(network, shards=shards, workers=compute.workers, device=compute.device)
    make_worker = partial(
        ShardWorker,
        board=board,
        network=network,
        split=split,
        augment=augment,
        objective=objective,
        compute=compute,
        seed=recipe.seed,
    )
    with WorkerPool(board, make_worker) as pool:
        optimizers_of = partial(
            make_optimizers, recipe.optimizer, lr=1e-4, momentum=0.9, nesterov=True, weight_decay=0.0
        )
        ours = optimizers_of(network.trainable)
        plain = Network(_fresh())
        for parameter in plain.trainable:
            parameter.grad = torch.zeros_like(parameter)
        theirs = optimizers_of(plain.trainable)

        def sharded(batch: Batch) -> None:
            pool.compute(batch)
            for optimizer in ours:
                optimizer.step()

        def ordinary(batch: Batch) -> None:
            _plain_step(plain.classifier, augment(split.images, batch.indices, 0), split.labels[batch.indices], compute)
            for optimizer in theirs:
                optimizer.step()
                optimizer.zero_grad(set_to_none=False)

        rates: dict[str, list[float]] = {"sharded": [], "ordinary": []}
        for _ in range(ROUNDS + 1):  # the first round warms up
            rates["sharded"].append(_rate(sharded, batches, threads=1))
            rates["ordinary"].append(_rate(ordinary, batches, threads=available_cores()))
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}
    for name, median in medians.items():
        print(f"{name:9} {median:7,.0f} images a second")
    print(f"sharded / ordinary: {medians['sharded'] / medians['ordinary']:.2f}")


def _fresh() -> Classifier:
    torch.manual_seed(0)
    return build_classifier(read_card()).to(memory_format=torch.channels_last)


def _plain_step(classifier: Classifier, images: np.ndarray, labels: np.ndarray, compute: Compute) -> None:
    classifier.train()
    with compute.autocast():
        logits = classifier(torch.from_numpy(images))
    torch.nn.functional.cross_entropy(logits.float(), torch.from_numpy(labels), label_smoothing=0.2).backward()


def _rate(step: Callable[[Batch], None], batches: list[Batch], *, threads: int) -> float:
    """Images a second."""
    torch.set_num_threads(threads)
    begun = time.monotonic()
    for batch in batches:
        step(batch)
    return sum(len(batch.indices) for batch in batches) / (time.monotonic() - begun)


if __name__ == "__main__":
    main()
