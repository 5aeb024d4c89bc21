"""The library: what the stages and the tools share. Imports run one way: stages and tools, then these rooms."""

import sys
from types import TracebackType

CODE_FOLDERS = ("imageclf", "stages", "tools")


def _say_briefly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What sys.excepthook does, but for Ctrl-C: it may come while a stage is still importing."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped by Ctrl-C; run again to do it anew", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _say_briefly
