"""How a process ended is said by its signal or its exit code, and no more than is known."""

import subprocess
import sys

import pytest

from imageclf.runtime.platform import how_it_ended


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("os.kill(os.getpid(), 9)", "was killed by signal 9 (SIGKILL), as the system does when memory runs out"),
        ("os.kill(os.getpid(), 15)", "was killed by signal 15 (SIGTERM), so someone ended it"),
        ("os.kill(os.getpid(), 11)", "was killed by signal 11 (SIGSEGV)"),
        ("sys.exit(3)", "ended with exit code 3"),
        ("pass", "ended with exit code 0"),
    ],
)
def test_the_end_of_a_process_in_words(body: str, words: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import os, sys\n{body}"], check=False)
    assert how_it_ended(done.returncode) == words


def test_what_is_not_known_is_not_made_up() -> None:
    assert how_it_ended(None) == "broke off"
    assert how_it_ended(-1000) == "was killed by signal 1000"
