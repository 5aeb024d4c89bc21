"""Locks on open files. The system frees one when its process ends, however it ends."""

import errno
import fcntl
from typing import IO

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
