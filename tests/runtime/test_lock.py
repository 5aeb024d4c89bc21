"""A lock keeps two processes apart where the disk has locks, and ends no run where it has none."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from imageclf.runtime import platform as module
from imageclf.runtime.platform import lock


def test_a_lock_that_another_has_is_not_given_until_the_file_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as mine:  # flock knows open files, not processes
        assert lock(mine)
        with (tmp_path / "lock").open("w") as theirs:
            assert not lock(theirs)
    with (tmp_path / "lock").open("w") as theirs:
        assert lock(theirs, wait=True)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_it_goes_on_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(module, "_told", False)
    with (tmp_path / "lock").open("w") as file:
        assert lock(file)
        assert lock(file, wait=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"{tmp_path}/lock cannot be locked ({os.strerror(number)}); do not run the same twice at once"


def test_other_faults_of_a_lock_stay_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (tmp_path / "lock").open("w") as file, pytest.raises(OSError, match="Bad file"):
        lock(file)
