"""Memory that is freed and asked for again in every step."""

import ctypes
import sys

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
