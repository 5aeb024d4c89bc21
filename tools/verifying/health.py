"""What killed processes leave behind in a project, and the commands that clean it up."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from imageclf.runtime.errors import DataError
from imageclf.runtime.platform import is_alive
from tools.repository import branch_left_by_experiment
from tools.verifying.outputs import Finding, words

RWLOCK = Path(".dvc/tmp/rwlock")
QUEUE = "dvc-task"  # the location of experiments that DVC's queue runs
TASKS = Path(".dvc/tmp/exps/run")


def broken_lock_file() -> Iterator[Finding]:
    """DVC's lock file, if a crash has truncated it.

    Raises:
        DataError: DVC is running now.
    """
    try:
        held = json.loads(RWLOCK.read_bytes())
        writers = [holder["pid"] for holder in held.get("write", {}).values()]
    except FileNotFoundError:
        return
    except (ValueError, AttributeError, TypeError, KeyError):
        yield Finding(f"{RWLOCK} is damaged, and every dvc command fails", f"rm {RWLOCK}")
        return
    for pid in writers:
        if is_alive(pid):
            raise DataError(f"dvc is running here (PID {pid}); verify when it has ended")


def detached_head() -> Iterator[Finding]:
    """A HEAD that a killed `dvc exp run` left detached."""
    branch = branch_left_by_experiment()
    # This is normal while DVC runs; broken_lock_file has checked that.
    if branch:
        yield Finding("git HEAD was left detached by a `dvc exp run` that was killed", f"git switch {words([branch])}")


def dead_tasks() -> Iterator[Finding]:
    """Experiments of the queue that stay Running although their process is gone."""
    for path in sorted(TASKS.glob("*/*.json")):
        process, run = _json(path), _json(path.with_suffix(".run"))
        if run.get("location") != QUEUE:
            continue  # from a plain `dvc exp run`, and overwritten by the next one
        if "returncode" in process and process["returncode"] is None and not is_alive(process.get("pid", 0)):
            name = run.get("name") or path.stem[:7]
            yield Finding(
                f"the queue's task {name} stays Running although its process is gone",
                f"dvc queue kill {words([name])}; dvc queue remove {words([name])}",
            )


def left_over_files(folders: Iterable[Path]) -> Iterator[Finding]:
    """Temporary names, `.NAME.tmp.PID`, whose process is gone."""
    found = [path for folder in folders for path in sorted(folder.glob(".*.tmp.*")) if not _in_use(path)]
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield Finding(f"{found[0]}{more}: left behind by a killed process", f"rm -rf {words(found)}")


def _in_use(path: Path) -> bool:
    number = path.suffix.removeprefix(".")
    return not number.isdecimal() or is_alive(int(number))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
