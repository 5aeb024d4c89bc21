"""Stages run to their end in a clone of the project, where nothing that lies here is touched."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.changes import Changes, change_params
from imageclf.runtime.errors import MachineError

RAW = Path("data/raw")


def clone_project(folder: Path, changes: Changes) -> None:
    """Clone the last commit, set its params, and prepare its images: of the raw ones that lie here, where they fit."""
    subprocess.run(["git", "clone", "--quiet", ".", folder], check=True)
    change_params(folder / "params.yaml", changes)
    if RAW.exists() and not any(key.startswith("data.") for key in changes):
        shutil.copytree(RAW, folder / RAW)
    else:
        run_module("stages.download", folder)
    run_module("stages.prepare", folder)


def uncommitted() -> bool:
    """Whether tracked files differ from the last commit, which is what a clone has."""
    command = ["git", "status", "--porcelain", "--untracked-files=no"]
    return bool(subprocess.run(command, check=True, capture_output=True).stdout)


def run_module(module: str, folder: Path, *options: str) -> tuple[float, str]:
    """Run `python -m module` in a folder: its seconds, start included, and what it printed, which is shown too.

    Raises:
        MachineError: it failed; it has said why itself.
    """
    # Of DVC's variables one would lead the stage out of the clone.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    begun, printed = time.monotonic(), []
    command = [sys.executable, "-m", module, *options]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            print(f"  {line}", end="", flush=True)
            printed.append(line)
    if process.returncode:
        raise MachineError(f"{module} ended with exit code {process.returncode}; its own words are above")
    return time.monotonic() - begun, "".join(printed)
