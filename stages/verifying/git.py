"""What git holds: the committed files, where HEAD is, what DVC left among the refs."""

import re
import subprocess
from pathlib import Path

EXPERIMENT = "refs/exps/exec/EXEC_BASELINE"  # there while `dvc exp run` works in the workspace


def committed(path: Path) -> str | None:
    """A file's text at HEAD; None where there is none."""
    return git("show", f"HEAD:./{path.as_posix()}")


def branch_left_by_experiment() -> str | None:
    """The branch that a killed `dvc exp run` left HEAD detached from (treeverse/dvc#9260); None where it did not."""
    if git("symbolic-ref", "-q", "HEAD") is not None or git("rev-parse", "-q", "--verify", EXPERIMENT) is None:
        return None
    for step in (git("reflog", "--format=%gs", "HEAD") or "").splitlines():
        left = re.fullmatch(r"checkout: moving from (\S+) to \S+", step)
        if left and git("rev-parse", "-q", "--verify", f"refs/heads/{left[1]}") is not None:
            return left[1]
    return None


def git(*arguments: str) -> str | None:
    """What git prints; None where it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
