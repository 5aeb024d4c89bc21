"""SIGKILL at random moments, of train and of dvc; the same command again until it ends, and then the same bytes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from tests.conftest import Project
from tests.proof.artefacts import LOCK, Fingerprint, damaged, difference, fingerprint, outs_of, remove
from tests.proof.ground import EPOCHS, Ground, finish
from tests.proof.processes import Identity, Run, survivors
from tests.proof.table import Tally

TRAIN = ("python", "-m", "stages.train")
REPRO = ("dvc", "repro")
IN_A_ROW = 4  # kills of one run, at most
AIMED = 0.2  # fraction of the kills that wait for the last epoch, to fall into the writing
WRITING = 0.4  # seconds after it
BUSY = ("is busy", "exited with 7", "Unable to acquire lock")  # what DVC says of its own locks, and of train's
PATIENCE = 20.0  # seconds that another run may hold its lock
SURVIVAL = 2.0  # seconds that train's workers may outlive it


@dataclass(frozen=True)
class Target:
    """A command in a project, and what it leaves after how many seconds when nothing disturbs it."""

    project: Project
    command: tuple[str, ...]
    paths: list[str]
    reference: Fingerprint
    seconds: float
    before: Callable[[], None]  # what DVC does before the command


def prove_train_kills(ground: Ground, count: int, tally: Tally) -> None:
    """`count` kills of `python -m stages.train`: its workers must die with it, its outs come out the same."""
    project, draws = ground.copy(ground.prepared, "kills"), ground.draws("train kills")
    paths = outs_of(project.folder, "train")
    clear = partial(remove, project.folder, paths)
    seconds = finish(project, *TRAIN)
    target = Target(project, TRAIN, paths, fingerprint(project.folder, paths), seconds, clear)
    while tally.tried < count:
        rounds = min(draws.randint(1, IN_A_ROW), count - tally.tried)
        prove_target(target, [False] * rounds, draws, tally)


def prove_dvc_kills(ground: Ground, count: int, tally: Tally, *, stages: Sequence[str]) -> None:
    """`count` kills of `dvc repro`, in turn with all its processes, and alone, which leaves an orphan."""
    draws = ground.draws("dvc kills")
    plain = ground.copy(ground.prepared, "dvc-unbroken")
    seconds = finish(plain, *REPRO, *stages)
    paths = [*outs_of(plain.folder, *stages), LOCK]
    reference = fingerprint(plain.folder, paths)
    trial = 0
    while tally.tried < count:
        trial += 1
        project = ground.copy(ground.prepared, f"dvc-kills-{trial}")
        target = Target(project, (*REPRO, *stages), paths, reference, seconds, lambda: None)
        rounds = min(draws.randint(1, IN_A_ROW), count - tally.tried)
        prove_target(target, [(trial + turn) % 2 == 0 for turn in range(rounds)], draws, tally)


def prove_target(target: Target, groups: list[bool], draws: Random, tally: Tally) -> None:
    """Kill the command once for each of `groups` (True: its group with it), let it end, compare, and count."""
    struck, fault = _trial(target, groups, draws, tally)
    if struck or fault:
        tally.count(fault, times=max(struck, 1), folder=target.project.folder)


def _trial(target: Target, groups: list[bool], draws: Random, tally: Tally) -> tuple[int, str | None]:
    """The kills that came in time, and what is wrong."""
    struck, fault = 0, None
    orphans: list[Identity] = []
    for whole_group in groups:
        family, fault = _strike(target, whole_group, draws, tally)
        orphans += family or []
        struck += family is not None
        if family is None or fault:
            break  # None: it had ended before its moment came
    fault = fault or _finish(target, tally)
    if left := survivors(orphans, 0):
        fault = fault or f"{len(left)} processes outlived the dvc that started them, and the whole run after it"
    return struck, fault or difference(target.reference, fingerprint(target.project.folder, target.paths))


def _strike(target: Target, whole_group: bool, draws: Random, tally: Tally) -> tuple[list[Identity] | None, str | None]:
    """One kill: the orphans it left (None: it came too late), and what is wrong after it."""
    target.before()
    with Run(target.project, target.command, target.project.folder.with_name("log")) as run:
        if not _moment_comes(run, target, draws):
            return None, None if run.ended() == 0 or _busy(run) else f"exit code {run.ended()}: {run.text[-500:]}"
        family = run.strike(whole_group=whole_group)
        tally.seen[_phase(run.text)] += 1
        tally.seen["resumed"] += "resuming" in run.text
    if target.command == TRAIN and (left := survivors(family, SURVIVAL)):
        return [], f"{len(left)} worker processes lived on {SURVIVAL:g} s after train was killed"
    return family, damaged(target.project.folder, set(target.paths) - {LOCK}, target.reference)


def _moment_comes(run: Run, target: Target, draws: Random) -> bool:
    """Wait for the moment of a kill; False where the command ends before."""
    aimed, wait = draws.random() < AIMED, draws.uniform(0, target.seconds)
    if not aimed:
        return run.ended(wait) is None
    while run.ended(0.01) is None:
        if _phase(run.text) == "while it wrote":
            return run.ended(wait / target.seconds * WRITING) is None
    return False


def _finish(target: Target, tally: Tally) -> str | None:
    """Run the command to its end, and again while another run holds its lock."""
    deadline = time.monotonic() + PATIENCE
    while True:
        target.before()
        with Run(target.project, target.command, target.project.folder.with_name("log")) as run:
            code = run.ended()
            tally.seen["resumed"] += "resuming" in run.text
            if code == 0:
                return None
            if not _busy(run) or time.monotonic() > deadline:
                return f"the next {' '.join(target.command)} exited with {code}: {run.text[-800:]}"
        time.sleep(0.5)


def _busy(run: Run) -> bool:
    """Whether it gave way to another run: train's own exit code, or DVC's words."""
    return run.ended() == 7 or any(words in run.text for words in BUSY)


def _phase(text: str) -> str:
    if f"epoch {EPOCHS}/{EPOCHS}" in text:
        return "while it wrote"
    return "during steps" if "train: cifarnet" in text else "before the first step"
