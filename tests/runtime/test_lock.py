"""A lock keeps two processes apart where the disk has locks, and ends no run where it has none."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import Timeout

from imageclf.runtime import platform
from imageclf.runtime.platform import locked
from tests.imports import ROOT

HOLDER = """
import sys
from pathlib import Path
from imageclf.runtime.platform import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_that_another_process_has_is_not_given_until_that_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Timeout), locked(path, patience=0):
            pass
        holder.kill()
    with locked(path, patience=0):
        pass


def without_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(platform, "_told", False)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_it_goes_on_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    without_locks(monkeypatch, number)
    done = []
    for _ in range(2):
        with locked(tmp_path / "lock", patience=0):
            done.append(True)
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"{tmp_path}/lock cannot be locked ({os.strerror(number)}); do not run the same twice at once"
    assert done == [True, True]


def test_other_faults_of_a_lock_stay_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_locks(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"), locked(tmp_path / "lock"):
        pass
