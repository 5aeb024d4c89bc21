"""The operating system: the one module that knows what a system has and another lacks."""

import ctypes
import errno
import fcntl
import os
import signal
import sys
from typing import IO


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST_INT, LARGEST_MMAP_THRESHOLD = 2**31 - 1, 32 * 2**20  # bytes; glibc takes no more


def keep_freed_memory() -> None:
    """Have glibc keep what is freed: else each step gets its activations as new pages, which the kernel clears first.

    Elsewhere nothing.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT)


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


NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # what NFS without a lock service, and some others, answer
_told = False


def lock(file: IO[str], *, wait: bool = False) -> bool:
    """Whether this process has the lock on an open file, until that is closed; with `wait` it does in the end.

    A disk that has no locks is taken at its word, once with a line: all that is lost there is that two runs of the same
    are kept apart.
    """
    global _told
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        if not _told:
            print(f"{file.name} cannot be locked ({error.strerror}); do not run the same twice at once", flush=True)
        _told = True
    return True


AS_A_RULE = {
    signal.SIGKILL: ", as the system does when memory runs out",
    signal.SIGBUS: ", as happens when /dev/shm or the disk is full",
    signal.SIGTERM: ", so someone ended it",
}


def how_it_ended(code: int | None) -> str:
    """What is known of a process by its exit code as Python has it: negative for a signal, None where it has none."""
    if code is None:
        return "broke off"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        known = signal.Signals(-code)
    except ValueError:
        return f"was killed by signal {-code}"
    return f"was killed by signal {-code} ({known.name}){AS_A_RULE.get(known, '')}"
