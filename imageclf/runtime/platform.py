"""The operating system: the one module that knows what a system has and another lacks."""

import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

LINUX = sys.platform == "linux"
WINDOWS = sys.platform == "win32"
SIGKILL, SIGBUS, SIGPIPE, SIGPROF = 9, 7, 13, 27  # Windows has no names for them


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_method() -> str:
    """How worker processes start, for multiprocessing.get_context.

    A fork starts at once and shares this process's memory; it is safe while this process has one thread. A Mac's
    libraries do not survive one, and Windows has none.
    """
    return "fork" if LINUX and hasattr(os, "fork") else "spawn"


def is_alive(process: int) -> bool:
    """Whether a process with this number runs."""
    return 0 < process < 2**31 and psutil.pid_exists(process)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST_INT, LARGEST_MMAP_THRESHOLD = 2**31 - 1, 32 * 2**20  # bytes; glibc takes no more
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _libc(name: str) -> Any:
    """A function of Linux's C library; None where there is none."""
    return getattr(ctypes.CDLL(None), name, None) if LINUX else None


def keep_freed_memory() -> None:
    """Have glibc keep what is freed: else each step gets its activations as new pages, which the kernel clears first.

    Elsewhere nothing.
    """
    if mallopt := _libc("mallopt"):
        mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, LARGEST_INT)


def end_with_dvc() -> None:
    """End with the DVC that started this process; with nobody outside DVC."""
    if "DVC_STAGE" in os.environ:
        end_with_parent()


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent process ends. Linux only; elsewhere nothing."""
    if prctl := _libc("prctl"):
        parent = os.getppid()
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the kernel knew
            os.kill(os.getpid(), signal.SIGTERM)


def limit_memory(most: int) -> None:
    """Let this process have at most so many bytes of data; elsewhere than on POSIX nothing."""
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def limit_computing(seconds: float) -> None:
    """End this process once it has computed for so long, 0: never; elsewhere than on POSIX nothing.

    Seconds that it computes, not those that pass: a busy machine changes no result.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


# For os.open: no link, no waiting for a pipe, no change of line ends.
READ_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, not written to


def free_shared_memory() -> int | None:
    """Bytes that processes can share; None where only the memory limits them."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.exists() else None


def sync(path: Path) -> None:
    """Have a file or folder on the disk before this returns. Windows knows no such thing of folders."""
    if WINDOWS and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # what NFS without a lock service, and some others, answer
_told = False


@contextmanager
def locked(path: Path, *, patience: float = -1) -> Iterator[None]:
    """Hold a lock file for the block.

    A disk that has no locks is taken at its word, once with a line: all that is lost there is that two runs of the same
    are kept apart.

    Raises:
        filelock.Timeout: another process has it for more than `patience` seconds; -1 waits however long it takes.
    """
    global _told
    lock = FileLock(path, timeout=patience)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        if not _told:
            print(f"{path} cannot be locked ({error.strerror}); do not run the same twice at once", flush=True)
        _told = True
    try:
        yield
    finally:
        lock.release()


def start_in_group(command: list[str], **settings: Any) -> subprocess.Popen:
    """Start a program that Ctrl-C in this terminal does not reach, and that ends with this process where it can."""
    if WINDOWS:
        return subprocess.Popen(command, creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0), **settings)
    return subprocess.Popen(command, start_new_session=True, preexec_fn=end_with_parent, **settings)


def interrupt_group(process: subprocess.Popen) -> None:
    """Give such a program, and what it started, a Ctrl-C."""
    if WINDOWS:
        process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
    else:
        os.killpg(process.pid, signal.SIGINT)


AS_A_RULE = {
    SIGKILL: ", as the system does when memory runs out",
    SIGBUS: ", as happens when /dev/shm or the disk is full",
    signal.SIGTERM: ", so someone ended it",
}


def how_it_ended(code: int | None) -> str:
    """What is known of a process by its exit code as Python has it: negative for a signal, None where it has none."""
    if code is None:
        return "broke off"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    return f"was killed by signal {-code}{name}{AS_A_RULE.get(-code, '')}"
