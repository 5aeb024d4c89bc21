"""SHA256SUMS finds every damage to a folder, and to itself."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from imageclf.runtime.errors import DataError
from imageclf.runtime.files import SUMS, check_sums, replaced_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with replaced_folder(tmp_path / "out") as filling:
        (filling / "images.npy").write_bytes(bytes(range(256)))
        (filling / "facts.json").write_text('{"classes": 2}\n')
        (filling / "below").mkdir()
        (filling / "below" / "more").write_text("x")
    return tmp_path / "out"


def test_a_whole_folder_passes_here_and_in_coreutils(folder: Path) -> None:
    check_sums(folder, repair="")
    subprocess.run(["sha256sum", "-c", "--quiet", SUMS], cwd=folder, check=True)


def test_every_flip_and_every_truncation_is_found(folder: Path, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    names = ["images.npy", "facts.json", "below/more", SUMS]
    for number in range(200):
        victim = tmp_path / "victim"
        shutil.copytree(folder, victim)
        file = victim / names[number % len(names)]
        content = bytearray(file.read_bytes())
        place = int(chance.integers(len(content)))
        if number % 3:
            content[place] ^= 1 << int(chance.integers(8))
        else:
            del content[place:]
        file.write_bytes(content)
        with pytest.raises(DataError, match="run this"):
            check_sums(victim, repair="run this")
        shutil.rmtree(victim)


@pytest.mark.parametrize("name", ["images.npy", "below/more", SUMS])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=name):
        check_sums(folder, repair="")


def test_an_added_file_is_found_and_a_file_managers_is_not(folder: Path) -> None:
    (folder / ".DS_Store").touch()
    check_sums(folder, repair="")
    (folder / "added").touch()
    with pytest.raises(DataError, match="added"):
        check_sums(folder, repair="")
