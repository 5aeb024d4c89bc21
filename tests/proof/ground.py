"""The project under proof: a small one, built or copied, and one undisturbed run of it."""

import re
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random

from tests.conftest import Project, make_project
from tests.proof.artefacts import LOCK, Fingerprint, fingerprint, outs_of
from tests.proof.processes import Run

EPOCHS = 4
# Some seconds of training in which later epochs choose their images, cut into enough shards for four workers, with
# checkpoints (where there are any) all the time.
SMALL = {"epochs": EPOCHS, "batch_size": 256, "shards": 4, "hard_fraction": 0.5, "checkpoint_every": 0.3}


@dataclass(frozen=True)
class Ground:
    """A folder to prove in, and the seed of every chance that is taken there."""

    folder: Path
    seed: int

    def draws(self, row: str) -> Random:
        """The same for the same row, whichever other rows run."""
        return Random(f"{self.seed} {row}")

    def fresh(self, name: str) -> Project:
        """A project in which nothing has run."""
        folder = self.folder / name / "project"
        project = make_project(folder)
        set_params(project, **SMALL)
        return project

    def copy(self, original: Project, name: str) -> Project:
        """Its files, outs and cache, in another folder."""
        folder = self.folder / name / "project"
        shutil.copytree(original.folder, folder, symlinks=True)
        return Project(folder, original.environment | {"DVC_SITE_CACHE_DIR": str(folder.with_name("site"))})

    @cached_property
    def prepared(self) -> Project:
        """All is there but what train and later stages leave."""
        project = self.fresh("prepared")
        finish(project, "dvc", "repro", "prepare")
        return project

    @cached_property
    def finished(self) -> Project:
        """After one `dvc repro` that nothing disturbed."""
        project = self.fresh("finished")
        finish(project, "dvc", "repro")
        return project


def finish(project: Project, *command: str, umask: int = -1, cores: set[int] | None = None) -> float:
    """Run a command to its end; the seconds it took.

    Raises:
        AssertionError: it did not exit with 0.
    """
    begun = time.monotonic()
    with Run(project, command, project.folder.with_name("log"), umask=umask, cores=cores) as run:
        code = run.ended()
        assert code == 0, f"{' '.join(command)} in {project.folder} exited with {code}: {run.text[-1500:]}"
    return time.monotonic() - begun


def everything(project: Project) -> Fingerprint:
    """Hashes of all outs and of dvc.lock."""
    return fingerprint(project.folder, [*outs_of(project.folder), LOCK])


def set_params(project: Project, **values: object) -> None:
    """Set keys of params.yaml, named without their sections. A key that this version does not know is left out."""
    path = project.folder / "params.yaml"
    text = path.read_text(encoding="utf-8")
    for key, value in values.items():
        text = re.sub(rf"^( +{key}: +)\S+", rf"\g<1>{value}", text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")
