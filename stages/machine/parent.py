"""A process that ends when the one that started it does: killed, DVC would leave its stages running."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_dvc() -> None:
    """End with the DVC that started this process; with nobody outside DVC."""
    if "DVC_STAGE" in os.environ:
        end_with_parent()


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent process ends. Linux only; elsewhere nothing."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the kernel knew
        os.kill(os.getpid(), signal.SIGTERM)
