"""Clean clones in varied worlds: another folder, clock, language, home, core count, thread setting, file order."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from imageclf import CODE_FOLDERS
from tests.conftest import Project
from tests.proof.artefacts import difference
from tests.proof.ground import Ground, everything, finish, set_params
from tests.proof.table import Tally

NOT_UTF8 = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@dataclass(frozen=True)
class World:
    """What is unlike the world of the developer."""

    name: str  # of its folder
    cores: int = 0  # 0: all
    workers: int | str = "auto"
    umask: int = -1
    shuffled: bool = False  # files made in another order
    environment: dict[str, str] = field(default_factory=dict)


# The first of them differ most: the quick proof takes no more.
WORLDS = (
    World("späces and 東京 'quoted'", 1, 2, 0o077, True, {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7"}),
    World("threads", workers=4, environment={"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"} | NOT_UTF8),
    World("one-core", 1, 1),
    World("one-core-of-four-workers", 1, 4),
    World("west", environment={"TZ": "America/St_Johns", "LANG": "de_DE.UTF-8", "LC_NUMERIC": "de_DE.UTF-8"}),
    World("private", umask=0o077, environment={"PYTHONHASHSEED": "1"}),
    World("shared", umask=0o002, environment={"PYTHONHASHSEED": "4294967295"}),
    World("homeless", workers=2, environment={"HOME": "/nonexistent"}),
    World("other-order", workers=1, shuffled=True),
    World("a/very/deep/folder/in/which/nobody/would/look/for/a/project", 1, 2, environment={"TZ": "UTC"}),
    World("optimised", workers=2, environment={"PYTHONOPTIMIZE": "1", "OMP_NUM_THREADS": "1"}),
)


def prove_worlds(ground: Ground, count: int, tally: Tally) -> None:
    """`dvc repro` from nothing in `count` worlds; every out and dvc.lock must be those of the first, the plain one."""
    reference = everything(ground.finished)
    tally.count(None)
    for world in WORLDS[: count - 1]:
        project = ground.fresh(f"worlds/{world.name}")
        _settle(project, world, ground.draws(world.name))
        cores = set(sorted(os.sched_getaffinity(0))[: world.cores]) or None
        finish(project, "dvc", "repro", umask=world.umask, cores=cores)
        fault = difference(reference, everything(project))
        tally.count(f"in the world {world.name!r} {fault}" if fault else None, folder=project.folder)


def _settle(project: Project, world: World, draws: Random) -> None:
    project.environment.update(world.environment)
    set_params(project, workers=world.workers)
    if world.shuffled:
        for folder in CODE_FOLDERS:
            _make_again(project.folder / folder, draws)


def _make_again(folder: Path, draws: Random) -> None:
    """Write every file again, in a random order: a folder lists its files in the order of their making, or its hash."""
    files = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    for path in files:
        path.unlink()
    for path in draws.sample(list(files), len(files)):
        path.write_bytes(files[path])
