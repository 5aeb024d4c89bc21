"""Python as on a system without POSIX, for the processes that have this folder in their PYTHONPATH.

Packages that have a form of their own for such systems keep their modules: it is our code that must do without.
"""

import builtins
import ctypes
import os
import signal
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

OURS = ("imageclf", "stages", "tools", "__main__")
import_any = builtins.__import__


def import_some(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """What `import` calls."""
    if name in ("fcntl", "resource") and str((globals or {}).get("__name__")).split(".")[0] in OURS:
        raise ModuleNotFoundError(name)
    return import_any(name, globals, locals, fromlist, level)


builtins.__import__ = import_some
for name in ("fork", "forkpty", "killpg", "pread", "preadv", "pwrite", "pwritev", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("setitimer", "ITIMER_PROF", "SIGPIPE", "SIGHUP"):
    if hasattr(signal, name):
        delattr(signal, name)


class CDLL(ctypes.CDLL):
    """The C library without what Linux alone has."""

    def __getattr__(self, name: str) -> Any:
        if name in ("prctl", "mallopt"):
            raise AttributeError(name)
        return super().__getattr__(name)


ctypes.CDLL = CDLL  # type: ignore[misc]
