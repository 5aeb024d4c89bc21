"""A project as a newcomer has it: a real git and DVC repository of the shipped files, with small data."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.forks import Forks
from tests.imports import ROOT

SHIPPED = (
    "imageclf",
    "stages",
    "tools",
    "data/none",
    "dvc.yaml",
    "params.yaml",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvc/plots",
    ".dvcignore",
    ".gitignore",
)
NO_PROCESS = 2**22 + 1  # Linux gives ids up to 2**22
HANGS = 900  # seconds: no load makes a command of a test take that long
FORKS = Forks()
SMALL = {
    "name: cifar10 ": "name: shapes ",
    "  epochs: ": "  epochs: 2 #",
    "  batch_size: ": "  batch_size: 300 #",
}


def pytest_configure() -> None:
    """What a shell runs in the background ignores two signals, and so would every process that a test sends one."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_unconfigure() -> None:
    FORKS.end()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The project is made first, so that no worker waits for it later.

    Then comes training: it forks, and after torch.export a process has autograd threads that no fork survives. The
    longest files, right under tests/, are next: one of them at the end would leave a core idle.
    """
    first = ("tests/test_project.py", "tests/training/")
    items.sort(key=lambda item: (not item.nodeid.startswith(first), item.nodeid.count("/") > 1))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws without a seed does not depend on the tests before it, which differ from worker to worker."""
    if torch := sys.modules.get("torch"):  # where nothing imports it, nothing waits for it
        torch.manual_seed(0)


@dataclass
class Project:
    """A folder with a pipeline in it, and a shell of its own to run commands in."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, expect: int | None = 0) -> str:
        """What the command prints, both streams; its exit code must be `expect`, or anything where that is None."""
        if command[0] == "dvc" or command[:2] == ("python", "-m"):
            code, printed = FORKS.run(command, self.folder, self.environment, longest=HANGS)
            assert expect is None or code == expect, printed
            return printed
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=HANGS,
        )
        assert expect is None or done.returncode == expect, done.stdout
        return done.stdout

    def read(self, path: str) -> str:
        return (self.folder / path).read_text()

    def change(self, path: str, old: str, new: str) -> None:
        text = self.read(path)
        assert text.count(old) == 1, old
        (self.folder / path).write_text(text.replace(old, new))


def environment_of(folder: Path) -> dict[str, str]:
    """For the commands in a project: this Python's programs, and nothing that leads out of the folder.

    Python keeps compiled code in it, as it does for users unless they ask it not to.
    """
    ours = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(folder.with_name(f"{folder.name}-site")),
        "DVC_NO_ANALYTICS": "1",
        **{f"GIT_{who}_{what}": "someone@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    foreign = ("DVC_ROOT", "DVC_EXP_NAME", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if name not in foreign} | ours


def make_project(folder: Path) -> Project:
    for name in SHIPPED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    project = Project(folder, environment_of(folder))
    for old, new in SMALL.items():
        project.change("params.yaml", old, new)
    project.run("git", "init", "-q", "-b", "main")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "The pipeline")
    return project


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """After one `dvc repro`, its results committed. Tests leave it as they found it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # one `dvc repro` for all workers
    with (shared / "repro.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "repro").exists():
            made = make_project(shared / "unfinished")
            print(made.run("dvc", "repro"))
            made.run("git", "add", "-A")
            made.run("git", "commit", "-q", "-m", "Results")
            made.folder.rename(shared / "repro")
    folder = tmp_path_factory.mktemp("project") / "project"
    shutil.copytree(shared / "repro", folder, symlinks=True)
    return Project(folder, environment_of(folder))
