"""The library that stages and tools share. It never imports them."""

import os
import sys
from types import TracebackType

# For numpy, before it is imported: our own threads and processes fill the cores, and its threads would wait for those.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

CODE_FOLDERS = ("imageclf", "stages", "tools")


def _say_briefly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Like sys.excepthook, but with one line for Ctrl-C, also while a stage is still importing."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped by Ctrl-C; run again to go on", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _say_briefly
