"""Commands in processes forked from one that has imported what they need: real ones, without the seconds of imports."""

import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.imports import ROOT

# Nothing of ours: a project has its own. And no torch, which few of the commands need.
IMPORTED = """
    dvc.cli.parser dvc.data_cloud dvc.repo dvc.repo.experiments.queue.tempdir dvc_data.hashfile.db.local networkx
    ruamel.yaml hydra.core.override_parser.overrides_parser celery.result dulwich.porcelain
    numpy pandas pydantic PIL.Image scipy.stats tqdm
    """.split()  # noqa: SIM905


class Forks:
    """`dvc` and `python -m` as the shell has them; the process that is forked from starts with the first."""

    def __init__(self) -> None:
        self._parent: subprocess.Popen[str] | None = None

    def run(
        self, command: Sequence[str], folder: Path, environment: dict[str, str], *, longest: int
    ) -> tuple[int, str]:
        """The exit code (-N: signal N) and what was printed, both streams; after `longest` seconds it is ended."""
        if not self._parent:
            self._parent = subprocess.Popen(
                [sys.executable, "-um", __name__], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._parent.stdin and self._parent.stdout
        with tempfile.NamedTemporaryFile("r") as log:
            asked = [command, str(folder), environment, log.name, longest]
            self._parent.stdin.write(f"{json.dumps(asked)}\n")
            self._parent.stdin.flush()
            return int(self._parent.stdout.readline()), log.read()

    def end(self) -> None:
        """Let the process end that is forked from."""
        if self._parent:
            self._parent.communicate()


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a child that collects would copy all of this
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(*json.loads(line))
            return  # and end as any process does
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _become(command: list[str], folder: str, environment: dict[str, str], log: str, longest: int) -> None:
    signal.alarm(longest)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, path in ((0, os.devnull), (1, log), (2, log)):
        os.dup2(os.open(path, os.O_RDWR | os.O_APPEND), descriptor)
    module, *arguments = command if command[0] == "dvc" else command[2:]
    sys.path[0] = folder
    sys.modules.pop("imageclf", None)  # the project's own is meant
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in environment
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
