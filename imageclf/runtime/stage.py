"""Run a stage or a tool: errors become one line, signals are handled, changed inputs are detected."""

import errno
import hashlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from imageclf.runtime.errors import DataError, Pruned, RankLost, UserError
from imageclf.runtime.files import sha256_of_file, write_json
from imageclf.runtime.platform import ENDING, SIGPIPE, end_with_dvc, is_first_rank
from imageclf.runtime.yaml import flat, load_yaml


class StopWish:
    """Graceful shutdown: a first Ctrl-C or SIGTERM only sets `number`; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> "StopWish":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number


PIPELINE = Path("dvc.yaml")
PARAMS = Path("params.yaml")
CODE = {".py", ".html"}  # hashed; the template is beside its module


def inputs_of(stage: str) -> dict[str, str]:
    """The current state of every dep and param of the stage; empty without a dvc.yaml.

    Files of code have one each, and the other files of a folder one together: there may be a million images.
    """
    if not PIPELINE.exists():
        return {}
    definition = _load(PIPELINE)["stages"][stage]
    params = _load(PARAMS)
    state = dict[str, str]()
    for dep in definition.get("deps", []):
        state |= _states(filled_in(dep, params))
    for section in {name.partition(".")[0] for name in definition.get("params", [])}:
        for key, value in flat({section: params.get(section)}).items():
            state[f"{PARAMS} ({key})"] = json.dumps(value)
    return state


def first_change(before: dict[str, str], after: dict[str, str]) -> str:
    """The name of the first input that differs; empty if none does."""
    return next((name for name in sorted({*before, *after}) if before.get(name) != after.get(name)), "")


def filled_in(path: str, params: Any) -> str:
    """A path of dvc.yaml with each `${section.key}` replaced by the value in params.yaml."""

    def value(found: re.Match[str]) -> str:
        return str(reduce(lambda section, key: section[key], found[1].split("."), params))

    return re.sub(r"\$\{([\w.]+)\}", value, path)


def _states(dep: str) -> dict[str, str]:
    if not os.path.isdir(dep):  # noqa: PTH112 - a string
        return {dep: _state(dep)}
    states = {}
    for folder, folders, names in os.walk(dep):
        folders[:] = [name for name in folders if name != "__pycache__"]
        together = hashlib.sha256()
        for name in sorted(names):
            path = f"{folder}/{name}"
            if os.path.splitext(name)[1] in CODE:  # noqa: PTH122 - ten times as fast as Path's
                states[path] = _state(path)
            else:
                together.update(f"{name} {_state(path)}\n".encode(errors="surrogateescape"))
        if names:
            states[folder] = together.hexdigest()
    return states


def _state(path: str) -> str:
    try:
        # Data was checked against SHA256SUMS when it was read; size, time and inode are enough here.
        status = os.stat(path)  # noqa: PTH116 - ten times as fast as Path's
    except OSError:
        return "missing"
    if os.path.splitext(path)[1] in CODE:  # noqa: PTH122 - the same
        return sha256_of_file(Path(path))
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _load(path: Path) -> Any:
    return load_yaml(path.read_text(encoding="utf-8"))


FULL = "can't allocate memory"  # torch's message in a RuntimeError
GPU_FULL = "out of memory"  # the same, of CUDA and of Apple's GPUs
NOT_REPEATABLE = re.compile(r"(\S+) does not have a deterministic implementation")
SECONDS = Path("logs/seconds.json")
UNWRITABLE = (
    errno.ENOSPC,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.EDQUOT,
    errno.EEXIST,
    errno.ENOTDIR,
)


def project_root() -> Path:
    """The main checkout, also inside DVC's temporary workspaces; the current folder outside DVC."""
    return Path(os.environ.get("DVC_ROOT", "."))


def run_stage(name: str, main: Callable[[], str]) -> None:
    """Run a stage's `main`, print its closing line with the time, and store the time for the summary.

    `main` prints its own opening line and returns the closing one. Errors end it as in `run_tool`. If an input changed
    during the run, the result is discarded: the exit code is not 0.
    """

    def timed() -> None:
        end_with_dvc()
        begun = time.monotonic()
        before = _inputs(name)
        closing = main()
        seconds = time.monotonic() - begun
        changed = first_change(before, _inputs(name))
        if changed:
            raise DataError(f"{name}: {changed} changed while it ran, so its result is discarded; run dvc repro again")
        print(f"{name}: {closing}, {seconds:.1f} s", flush=True)
        if is_first_rank():
            _remember_seconds(name, seconds)

    run_tool(timed)


def _inputs(name: str) -> dict[str, str]:
    try:
        return inputs_of(name)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}  # params.yaml is invalid, or being edited: reading it gives a better message


def run_tool(main: Callable[[], None]) -> None:
    """Run `main`. Errors are one line and an exit code.

    The exit code is the UserError's own; 5 if disk or memory is full; 130 for Ctrl-C; 143 for SIGTERM; 141 for a closed
    pipe, as in a shell.
    """
    signal.signal(signal.SIGTERM, _stop)
    if not is_first_rank():
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - to the end
    try:
        main()
    except UserError as error:
        _fail(f"{error}", error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped by Ctrl-C; run again to go on", 130)
    except (MemoryError, RuntimeError) as error:
        if GPU_FULL in str(error):
            _fail(
                "the GPU's memory is full; raise train.shards, lower train.batch_size or set runtime.device to cpu", 5
            )
        if found := NOT_REPEATABLE.search(str(error)):
            _fail(
                f"the network uses {found[1]}, which does not give the same bits twice on a GPU; choose another "
                "train.model, or set runtime.device to cpu",
                5,
            )
        if isinstance(error, RuntimeError) and FULL not in str(error):
            raise
        _fail("this machine's memory is full; lower train.batch_size or runtime.workers, or end other programs", 5)
    except BrokenPipeError:
        # `| head` has closed the pipe. Python would try to flush the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + SIGPIPE)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        _fail(f"cannot write {error.filename or 'the output'}: {error.strerror}; fix it and run again", 5)
    except SystemExit as asked:
        _leave(asked.code)


def _stop(number: int, frame: FrameType | None) -> None:
    # DVC and the kernel both send SIGTERM; the second one would interrupt the clean-up.
    signal.signal(number, signal.SIG_IGN)
    # sys.exit unwinds the stack, which removes temporary files and ends worker processes.
    if is_first_rank():
        print("stopped by SIGTERM; run again to go on", file=sys.stderr, flush=True)
    sys.exit(128 + number)


def _fail(sentence: str, exit_code: int) -> None:
    if is_first_rank():
        print(sentence, file=sys.stderr, flush=True)
    # What ends all ranks alike, the first one tells.
    elif exit_code not in (RankLost.exit_code, Pruned.exit_code, *(128 + number for number in ENDING)):
        print(f"rank {os.environ['RANK']}: {sentence}", file=sys.stderr, flush=True)
    _leave(exit_code)


def _leave(code: Any) -> NoReturn:
    """End with an exit code; one of several ranks at once, as gloo's threads may abort a process that tidies up."""
    if "RANK" in os.environ and isinstance(code, int):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _remember_seconds(name: str, seconds: float) -> None:
    """Store the time outside DVC's outs, which must be reproducible."""
    path = project_root() / SECONDS
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    try:
        write_json(path, known | {name: round(seconds, 1)})
    except OSError as error:
        print(f"{name}: its time is not kept in {SECONDS} ({error.strerror}); the run goes on", flush=True)
