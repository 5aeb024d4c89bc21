"""The operating system: the only module with code for specific systems."""

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
from filelock import FileLock, Timeout

LINUX = sys.platform == "linux"
WINDOWS = sys.platform == "win32"
SIGKILL, SIGBUS, SIGPIPE, SIGPROF = 9, 7, 13, 27  # not defined on Windows


CORES = "CORES_OF_THIS_RUN"  # environment variable of a sweep that runs several at a time


def available_cores() -> int:
    """The number of cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, int(os.environ.get(CORES, cores)))


def start_method() -> str:
    """The start method of worker processes, for multiprocessing.get_context.

    A fork is fast and shares this process's memory; it is safe while this process has one thread. On macOS system
    libraries may crash after a fork, and Windows has no fork.
    """
    return "fork" if LINUX and hasattr(os, "fork") else "spawn"


def is_alive(process: int) -> bool:
    """Whether a process with this PID runs."""
    return 0 < process < 2**31 and psutil.pid_exists(process)


def is_first_rank() -> bool:
    """Whether this process speaks for its run: it is the only one, or the first that torchrun has started."""
    return os.environ.get("RANK", "0") == "0"


def loopback() -> str:
    """The name of the network interface to this machine itself; empty on Windows, where gloo takes no names."""
    if WINDOWS:
        return ""
    interfaces = psutil.net_if_addrs().items()
    return next((name for name, found in interfaces if any(each.address == "127.0.0.1" for each in found)), "")


ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM for the block, and in a process that it forks. POSIX only; no effect elsewhere."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release_signals() -> None:
    """Let signals through that `signals_held` held back in the process that forked this one."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST_INT, LARGEST_MMAP_THRESHOLD = 2**31 - 1, 32 * 2**20  # bytes; glibc's maxima
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _libc(name: str) -> Any:
    """A function of Linux's C library; None elsewhere."""
    return getattr(ctypes.CDLL(None), name, None) if LINUX else None


def keep_freed_memory() -> None:
    """Let glibc keep freed memory: otherwise each step gets new pages, which the kernel clears. Linux only."""
    if mallopt := _libc("mallopt"):
        mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, LARGEST_INT)


def end_with_dvc() -> None:
    """End this process when the DVC that started it ends; no effect outside DVC."""
    if "DVC_STAGE" in os.environ:
        end_with_parent()


def end_with_parent() -> None:
    """Let the kernel send SIGTERM when the parent process ends. Linux only; no effect elsewhere."""
    if prctl := _libc("prctl"):
        parent = os.getppid()
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent ended before prctl
            os.kill(os.getpid(), signal.SIGTERM)


def limit_memory(most: int) -> None:
    """Limit this process's memory to `most` bytes. POSIX only; no effect elsewhere."""
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def limit_computing(seconds: float) -> None:
    """End this process after this much CPU time; 0: never. POSIX only; no effect elsewhere.

    CPU time, not wall time, so that a busy machine does not change a result.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


# For os.open: follow no link, do not block on a pipe, keep line ends.
READ_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - read only


def free_shared_memory() -> int | None:
    """Free bytes of shared memory; None if there is no separate limit."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.exists() else None


SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h


def begin_writing(descriptor: int) -> None:
    """Let the kernel begin to write a file's changes to disk, without waiting: then `sync` is short. Linux only."""
    if sync_file_range := _libc("sync_file_range"):
        sync_file_range(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), SYNC_FILE_RANGE_WRITE)


def sync(path: Path) -> None:
    """Flush a file or folder to disk. On Windows folders cannot be flushed."""
    if WINDOWS and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


NO_LOCKS = (
    errno.ENOLCK,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
)  # from NFS without a lock service, and some other file systems
_told = False


@contextmanager
def locked(path: Path, *, patience: float = -1, waiting: str = "") -> Iterator[None]:
    """Hold a lock file for the block. With `waiting`, the end of patience prints that line, and it waits on.

    A file system without locks gets a warning, once: there, nothing prevents two equal runs at the same time.

    Raises:
        filelock.Timeout: another process holds it for more than `patience` seconds; -1 waits without limit.
    """
    global _told
    lock = FileLock(path)
    try:
        try:
            lock.acquire(patience)
        except Timeout:
            if not waiting:
                raise
            print(waiting, flush=True)
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
    """Start a program that Ctrl-C in this terminal does not reach. On Linux it ends with this process."""
    if WINDOWS:
        return subprocess.Popen(command, creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0), **settings)
    return subprocess.Popen(command, start_new_session=True, preexec_fn=end_with_parent, **settings)


def interrupt_group(process: subprocess.Popen) -> None:
    """Send Ctrl-C to a program of `start_in_group` and its children."""
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
    """Describe how a process ended, from Python's exit code: negative for a signal, None if unknown."""
    if code is None:
        return "broke off"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    return f"was killed by signal {-code}{name}{AS_A_RULE.get(-code, '')}"
