"""A stage run in a process forked from this one: the real stage, without the seconds that its imports take."""

import gc
import importlib
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

LONGEST = 300  # seconds


def run_forked(
    module: str,
    folder: Path,
    log: Path,
    *arguments: str,
    before: Callable[[], None] | None = None,
    longest: int = LONGEST,
) -> tuple[int, str]:
    """`python -m module` in `folder`, after `before`; its exit code (-N: signal N) and what it printed.

    After `longest` seconds it is ended.
    """
    importlib.import_module(module)
    sys.modules.pop(module)  # it is run as __main__; what it imports is there already
    sys.stdout.flush()
    sys.stderr.flush()
    gc.collect()
    gc.freeze()  # a child that collects would copy all of what is imported
    pid = os.fork()
    if pid == 0:
        os._exit(_become(module, folder, log, arguments, before, longest))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, log.read_text(encoding="utf-8", errors="replace")


def _become(
    module: str,
    folder: Path,
    log: Path,
    arguments: tuple[str, ...],
    before: Callable[[], None] | None,
    longest: int,
) -> int:
    """Live the child's life; its exit code."""
    signal.alarm(longest)
    stream = log.open("w", encoding="utf-8", buffering=1)
    for descriptor in (1, 2):
        os.dup2(stream.fileno(), descriptor)
    sys.stdout = sys.stderr = stream
    os.chdir(folder)
    sys.argv[1:] = arguments
    try:
        if before:
            before()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        stream.flush()
    return 0
