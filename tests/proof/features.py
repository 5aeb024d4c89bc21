"""Features of a frozen backbone: killed while they are computed, or damaged where they are kept, the same bytes."""

from functools import partial

from tests.proof.artefacts import difference, fingerprint, outs_of, remove
from tests.proof.corruption import corrupt
from tests.proof.ground import Ground, finish, set_params
from tests.proof.kills import TRAIN, Target, prove_target
from tests.proof.processes import Run
from tests.proof.table import Tally

FEATURES = ".features"
FROZEN = {"model": "mnasnet0_5", "freeze": "backbone", "optimizer": "adamw", "lr": 0.001}


def prove_features(ground: Ground, count: int, tally: Tally) -> None:
    """In turns: SIGKILL of train, begun without features; a flip or cut in a file of features."""
    project, draws = ground.copy(ground.prepared, "features"), ground.draws("features")
    set_params(project, **FROZEN)
    paths = outs_of(project.folder, "train")
    clear = partial(remove, project.folder, paths)
    seconds = finish(project, *TRAIN)
    target = Target(project, TRAIN, paths, fingerprint(project.folder, paths), seconds, clear)
    features = fingerprint(project.folder, [FEATURES])
    while tally.tried < count:
        if tally.tried % 2 == 0:
            remove(project.folder, [FEATURES])
            prove_target(target, [False], draws, tally)
            if fault := difference(features, fingerprint(project.folder, [FEATURES])):
                tally.count(fault, folder=project.folder)
        else:
            _damage(target, features, ground, tally)


def _damage(target: Target, features: dict[str, str], ground: Ground, tally: Tally) -> None:
    folder, draws = target.project.folder, ground.draws(f"damage {tally.tried}")
    path = draws.choice(sorted((folder / FEATURES).glob("*.npy")))
    words = corrupt(path, draws)
    target.before()
    with Run(target.project, target.command, folder.with_name("log")) as run:
        code = run.ended()
        fault = None if code == 0 and "damaged" in run.text else f"exit code {code}: {run.text[-500:]}"
    fault = fault or difference(target.reference, fingerprint(folder, target.paths))
    fault = fault or difference(features, fingerprint(folder, [FEATURES]))
    tally.count(f"{path.name} {words}: {fault}" if fault else None, folder=folder)
    tally.seen[words.split()[0]] += 1
