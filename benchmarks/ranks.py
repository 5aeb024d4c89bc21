"""A step on 1, 2 and 4 processes of this machine, beside a model of its time: `python -m benchmarks.ranks`.

For R processes on C cores or machines the model is

    step(R) = step(1) / min(R, C) + CALLS * latency * (R - 1) + received(R) / bandwidth
    received(R) = 2 * 4 * P * (1 - 1 / R) bytes, for P parameters

Its constants are measured in the same run: the step of one process, and what an exchange costs that has nothing in it
and one that has much. The last lines are the model alone, for machines like this one in a network. See docs/scale.md.

After `dvc repro prepare`. Four minutes on two cores that have nothing else to do.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import psutil
import torch

from benchmarks.ours import RATE, batches, default_recipe, fresh
from imageclf.augment.transforms import Augment
from imageclf.images.dataset import read_dataset, read_split
from imageclf.models.device import choose_compute
from imageclf.runtime.errors import MachineError
from imageclf.runtime.platform import available_cores, loopback
from imageclf.runtime.stage import run_tool
from imageclf.training.auto import resolve
from imageclf.training.ranks import Ranks, join_ranks
from imageclf.training.shared import Network, flat_size
from imageclf.training.workers import start_pool

COUNTS, ROUNDS = (1, 2, 4), 3
TOGETHER = 2  # workers of one process, which share its memory: what two processes are compared with
SHARDS, WARM_UP, STEPS = 4, 5, 20
CALLS = 3  # exchanges in a step: of scores and statistics, of gradients, of parameters
MACHINES, LATENCY, BANDWIDTH = (1, 2, 4, 8, 64, 1024), 50e-6, 1.25e9  # a network of 10 Gbit/s
MUCH = 2**22  # floats: an exchange whose time is all bandwidth


def main() -> None:
    if "RANK" in os.environ:
        with join_ranks() as ranks:
            found = measure(ranks, workers=int(sys.argv[1]))
            if ranks.first:
                print(json.dumps(found), flush=True)
        return
    taken: dict[int, list[dict[str, float]]] = {count: [] for count in COUNTS}
    shared = []
    for number in range(ROUNDS):
        for count in COUNTS if number % 2 == 0 else reversed(COUNTS):
            taken[count].append(_in_processes(count))
        shared.append(_in_processes(1, workers=TOGETHER))
    cores, alone = available_cores(), _median(taken[1], "step")
    print("processes      step     model    received   by model   latency   bandwidth")
    for count, turns in taken.items():
        step, parameters, sent = (_median(turns, name) for name in ("step", "parameters", "sent"))
        latency, bandwidth = (_median(turns, name) for name in ("latency", "bandwidth"))
        costs = Costs(alone, cores, latency, bandwidth, parameters)
        print(
            f"{count:9}  {1e3 * step:5.1f} ms  {1e3 * costs.step(count):5.1f} ms  {sent / 1e6:7.2f} MB "
            f"{costs.received(count) / 1e6:7.2f} MB"
            + (f"  {1e6 * latency:5.0f} us  {bandwidth / 1e9:5.2f} GB/s" if count > 1 else "")
        )
    together = _median(shared, "step")
    ratio = together / _median(taken[TOGETHER], "step")
    print(f"{TOGETHER} workers: {1e3 * together:.1f} ms; {TOGETHER} processes are {ratio:.2f} times as fast")
    words = f"{1e6 * LATENCY:.0f} us and {BANDWIDTH / 1e9:.2f} GB/s apart"
    print(f"\nmachines with {cores} of these cores, {words}, by the model")
    network = Costs(alone / cores, max(MACHINES), LATENCY, BANDWIDTH, parameters)
    for count in MACHINES:
        speedup = network.step(1) / network.step(count)
        print(f"{count:9}  {1e3 * network.step(count):5.1f} ms  {speedup:5.1f} times as fast as one")


@dataclass(frozen=True)
class Costs:
    """The constants of the model: seconds, bytes a second, parameters."""

    alone: float
    cores: int
    latency: float
    bandwidth: float
    parameters: float

    def step(self, count: int) -> float:
        """Seconds of a step on so many processes."""
        own = self.alone / min(count, self.cores)
        if count == 1:
            return own
        return own + CALLS * self.latency * (count - 1) + self.received(count) / self.bandwidth

    def received(self, count: int) -> float:
        """Bytes of gradients and parameters that each of so many processes receives in a step."""
        return 2 * 4 * self.parameters * (1 - 1 / count)


def measure(ranks: Ranks, *, workers: int) -> dict[str, float]:
    """Medians over steps, in seconds and in bytes a process."""
    dataset, split = read_dataset(), read_split("train")
    params = default_recipe().model_copy(update={"shards": SHARDS})
    recipe = resolve(params, images=len(split), size=dataset.size)
    compute = choose_compute("cpu", recipe.precision, workers, shards=workers)
    network = Network(fresh(recipe, dataset))
    augment = Augment(recipe.seed, recipe.augment)
    seconds, sent = [], 0
    with start_pool(network, split, augment, recipe=recipe, compute=compute, ranks=ranks) as pool:
        for number, batch in enumerate(islice(batches(len(split), recipe.batch_size), WARM_UP + STEPS)):
            if number == WARM_UP:
                sent = _sent()
            began = time.perf_counter()
            pool.compute(batch)
            pool.update(RATE)
            seconds.append(time.perf_counter() - began)
        sent = _sent() - sent
    nothing, much = (torch.zeros(ranks.count * floats) for floats in (1, MUCH))
    latency = _time(lambda: ranks.share((nothing, [1] * ranks.count))) / max(1, ranks.count - 1)
    large = _time(lambda: ranks.share((much, [MUCH] * ranks.count)))
    return {
        "step": statistics.median(seconds[WARM_UP:]),
        "sent": sent / STEPS / ranks.count,
        "parameters": flat_size(network.trainable),
        "latency": latency,
        "bandwidth": 4 * MUCH * (ranks.count - 1) / large,
    }


def _in_processes(count: int, *, workers: int = 1) -> dict[str, float]:
    engine = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=localhost"]
    done = subprocess.run(
        [*engine, f"--nproc-per-node={count}", "-m", __spec__.name, f"{workers}"],
        env=os.environ | {"GLOO_SOCKET_IFNAME": loopback(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MachineError(f"benchmarks.ranks: {count} processes failed: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _median(turns: list[dict[str, float]], name: str) -> float:
    return statistics.median(turn[name] for turn in turns)


def _time(call: Callable[[], Any]) -> float:
    """Seconds of a call, the median of many."""
    seconds = []
    for _ in range(STEPS):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _sent() -> int:
    """Bytes that this machine has sent to itself."""
    return psutil.net_io_counters(pernic=True)[loopback()].bytes_sent


if __name__ == "__main__":
    run_tool(main)
