"""Prove that the same code, data and params give the same bytes, whatever happens meanwhile.

    python -m tests.proof --quick        some minutes; what CI runs
    python -m tests.proof --full         the whole of it, hours on two cores
    python -m tests.proof --quick --seed 7 --only crashes

Prints a line as each claim is done, a table at the end, and exits with 1 if a claim did not hold; what broke it is then
named, with a copy of its folder. Needs Linux.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

from imageclf.models.registry import network_names
from tests.proof.corruption import prove_artefacts, prove_cache
from tests.proof.crashes import prove_crashes
from tests.proof.features import prove_features
from tests.proof.ground import Ground
from tests.proof.kills import prove_dvc_kills, prove_train_kills
from tests.proof.layouts import LAYOUTS, Layout, prove_layouts
from tests.proof.models import prove_models
from tests.proof.table import Tally, draw
from tests.proof.worlds import WORLDS, prove_worlds


@dataclass(frozen=True)
class Plan:
    """How much is tried of each claim."""

    worlds: int
    train_kills: int
    dvc_kills: int
    features: int
    killed_stages: tuple[str, ...]  # that dvc is asked for; none: all
    crash_stages: tuple[str, ...]
    crash_over_outs: tuple[bool, ...]  # whether the outs of the run before are there: by hand they are, not under DVC
    models: tuple[str, ...]
    tried_models: tuple[str, ...]  # all the way to their exported files; none: every one there is
    layouts: tuple[Layout, ...]
    precisions: tuple[str, ...]
    corruptions: int  # in forked stages
    real_corruptions: int  # in stages as they are started
    cached_corruptions: int


QUICK = Plan(
    worlds=2,
    train_kills=6,
    dvc_kills=2,
    features=4,
    killed_stages=("train",),
    crash_stages=("prepare",),
    crash_over_outs=(False,),
    models=("cifarnet",),
    tried_models=("mnasnet0_5", "vit_b_32", "alexnet"),
    layouts=(Layout(1, 1), Layout(4, 2), Layout(1, 2, processes=2)),
    precisions=("fp32",),
    corruptions=500,
    real_corruptions=4,
    cached_corruptions=1,
)
FULL = Plan(
    worlds=len(WORLDS) + 1,
    train_kills=170,
    dvc_kills=30,
    features=60,
    killed_stages=(),
    crash_stages=("prepare", "train", "evaluate"),
    crash_over_outs=(False, True),
    models=("cifarnet", "efficientnet_b0"),
    tried_models=(),
    layouts=LAYOUTS,
    precisions=("fp32", "bf16"),
    corruptions=500,
    real_corruptions=12,
    cached_corruptions=20,
)
SHOWN = 5  # faults of a claim
Prover = tuple[str, str, int | None, Callable[[Tally], None]]


def main() -> int:
    arguments = _parser().parse_args()
    plan = FULL if arguments.full else QUICK
    folder = Path(tempfile.mkdtemp(prefix="proof-")).resolve()
    print(f"proof: {'full' if arguments.full else 'quick'}, seed {arguments.seed}, in {folder}", flush=True)
    whole = False
    try:
        tallies = [
            _prove(prover, folder)
            for prover in _provers(Ground(folder, arguments.seed), plan)
            if not arguments.only or prover[0] in arguments.only
        ]
        whole = bool(tallies) and all(tally.whole for tally in tallies)
        print(f"\n{draw(tallies)}\n", flush=True)
        print("proof: " + ("every claim held" if whole else f"NOT PROVEN; seed {arguments.seed}, see {folder}"))
    finally:
        _clean(folder, whole=whole)
    return 0 if whole else 1


def _provers(ground: Ground, plan: Plan) -> list[Prover]:
    layouts = len(plan.models) * len(plan.precisions) * len(plan.layouts)
    return [
        (
            "worlds",
            "clean clones, dvc repro from nothing: outs and dvc.lock alike",
            plan.worlds,
            lambda tally: prove_worlds(ground, plan.worlds, tally),
        ),
        (
            "kills",
            "SIGKILL of train at a random moment: same bytes",
            plan.train_kills,
            lambda tally: prove_train_kills(ground, plan.train_kills, tally),
        ),
        (
            "dvc-kills",
            "SIGKILL of dvc repro, alone or with all its processes: same bytes and dvc.lock",
            plan.dvc_kills,
            lambda tally: prove_dvc_kills(ground, plan.dvc_kills, tally, stages=plan.killed_stages),
        ),
        (
            "features",
            "a frozen backbone's features: train killed, or a flip or cut in what is kept: same bytes",
            plan.features,
            lambda tally: prove_features(ground, plan.features, tally),
        ),
        (
            "crashes",
            "crash at every write, fsync and rename; nothing, half or garbage left: recovered",
            None,
            lambda tally: prove_crashes(ground, plan.crash_stages, plan.crash_over_outs, tally),
        ),
        (
            "layouts",
            "processes, workers and cores: one hash for each model and precision",
            layouts,
            lambda tally: prove_layouts(ground, plan.models, plan.precisions, plan.layouts, tally),
        ),
        (
            "models",
            "every model by name: trained two steps, scored and exported, or refused in a sentence",
            len(plan.tried_models) or None,
            lambda tally: prove_models(plan.tried_models or network_names(), tally),
        ),
        (
            "corruption",
            "a random flip or cut in what passes between stages: found before use",
            plan.corruptions + plan.real_corruptions,
            lambda tally: prove_artefacts(ground, plan.corruptions, plan.real_corruptions, tally),
        ),
        (
            "cache",
            "a random flip or cut in DVC's cache: found before use",
            plan.cached_corruptions,
            lambda tally: prove_cache(ground, plan.cached_corruptions, tally),
        ),
    ]


def _prove(prover: Prover, folder: Path) -> Tally:
    row, done, wanted, prove = prover
    with Tally(row, done, wanted=wanted, evidence=folder / "kept") as tally:
        prove(tally)
    print(f"{tally.row}: {tally.result} in {tally.seconds:.0f} s", flush=True)
    for fault in tally.faults[:SHOWN]:
        print(f"  {fault}", flush=True)
    if len(tally.faults) > SHOWN:
        print(f"  and {len(tally.faults) - SHOWN} more", flush=True)
    return tally


def _clean(folder: Path, *, whole: bool) -> None:
    """Keep what broke a claim, and nothing else."""
    for path in folder.iterdir():
        if whole or path.name != "kept":
            shutil.rmtree(path)
    if whole or not any(folder.iterdir()):
        folder.rmdir()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=(__doc__ or "").split("\n")[0])
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="some minutes")
    size.add_argument("--full", action="store_true", help="hours")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6), help="to repeat what failed")
    parser.add_argument("--only", nargs="+", metavar="CLAIM", help="some claims: the first words of the table's lines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
