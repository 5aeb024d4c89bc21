"""Start a run on several processes of this machine, with torchrun's engine, and start them again if one is killed."""

import logging
import os
import signal
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NoReturn
from uuid import uuid4

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from imageclf.config.runtime import RuntimeParams
from imageclf.config.train import TrainParams
from imageclf.runtime.errors import MachineError, RankLost
from imageclf.runtime.platform import how_it_ended, loopback
from imageclf.runtime.stage import project_root
from imageclf.training.setup import set_up
from imageclf.weights.initial import DOWNLOADS

RESTARTS = 3
FAREWELL = 300  # seconds that a process has for its step and its checkpoint when it is asked to stop


def ranks_to_start(params: TrainParams, runtime: RuntimeParams) -> int:
    """`runtime.processes` with auto resolved; 1 in a process that torchrun has started.

    Raises:
        ParamsError, DataError: auto finds several GPUs, and the params or the data do not fit.
    """
    if "RANK" in os.environ:
        return 1
    if isinstance(runtime.processes, int):
        return runtime.processes
    if runtime.device not in ("auto", "cuda") or torch.cuda.device_count() < 2 or not dist.is_nccl_available():
        return 1
    # In a process that ends: a CUDA context takes hundreds of megabytes of a GPU, for as long as its process lives.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(ranks_for_gpus, params, runtime).result()


def ranks_for_gpus(params: TrainParams, runtime: RuntimeParams) -> int:
    """A process for each GPU, up to a power of two that shares the shards; 1 if torch cannot compute on the GPUs.

    Raises:
        ParamsError, DataError: the params or the data do not fit.
    """
    setup = set_up(params, runtime, project_root() / DOWNLOADS)
    if setup.compute.device.type != "cuda":  # torch has no kernels for the GPUs here
        return 1
    shards = setup.recipe.shards
    return 2 ** (min(torch.cuda.device_count(), shards).bit_length() - 1)


def start_ranks(count: int, module: str) -> NoReturn:
    """Run `python -m module` in `count` processes, which join as ranks; end as they do.

    A process that says why it fails ends all. If one is killed, all start again from the last checkpoint.

    Raises:
        MachineError: processes were killed again and again.
    """
    logging.disable()  # the engine's: it would hide the one sentence of a rank
    if name := loopback():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)  # gloo would look up the host's name, which some cannot
    with tempfile.TemporaryDirectory() as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            shutdown_timeout=FAREWELL,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        for left in reversed(range(RESTARTS + 1)):
            try:
                elastic_launch(config, sys.executable)("-m", module)
                sys.exit(0)
            except SignalException as asked:
                sys.exit(128 + asked.sigval)
            except ChildFailedError as failed:
                codes = [failure.exitcode for failure in failed.failures.values()]
            # When one is killed, the engine ends the others with SIGTERM, which they may tell of.
            killed = next((code for code in codes if code < 0 and code != -signal.SIGTERM), None)
            unsaid = (RankLost.exit_code, *([128 + signal.SIGTERM] if killed else []))
            told = [code for code in codes if code > 0 and code not in unsaid]
            if told:
                sys.exit(told[0])
            if left:
                first = killed or codes[0]
                print(f"train: a process {how_it_ended(first)}; all {count} go on from the last checkpoint", flush=True)
    raise MachineError(
        f"train: one of {count} processes was killed {RESTARTS + 1} times; lower runtime.processes or runtime.workers"
    )
