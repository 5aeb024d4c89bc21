"""A stage that ends when DVC does: killed, DVC leaves its stages running."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_dvc() -> None:
    """Have the kernel send SIGTERM when the DVC that started this process ends. Linux only; elsewhere nothing."""
    if sys.platform != "linux" or "DVC_STAGE" not in os.environ:
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the kernel knew
        os.kill(os.getpid(), signal.SIGTERM)
