"""prepare killed while it decodes: no process goes on, and the next run goes on with what is whole."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen

import numpy as np
import pytest
from PIL import Image

from benchmarks.photos import CLASSES, write_manifest
from tests.conftest import HANGS
from tests.imports import ROOT

PHOTOS = 150
# The last photo takes as long as the process that shares out the work lives, so a kill never comes too late.
ENDLESS = f"""
import os, runpy, time
from imageclf.images import decode_all as decode
decode_one, parent = decode._decode_one, os.getpid()

def endless(file, *rest):
    while file.path.endswith("/{PHOTOS - 1}.jpg") and os.getppid() == parent:
        time.sleep(0.01)
    return decode_one(file, *rest)

decode._decode_one = endless
runpy.run_module("stages.prepare", run_name="__main__")
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beside them a folder `whole`, where prepare was not disturbed."""
    folder = tmp_path_factory.mktemp("own") / "photos"
    generator = np.random.default_rng(0)
    for number in range(PHOTOS):
        place = folder / CLASSES[number % len(CLASSES)]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (300, 400, 3)).astype(np.uint8)).save(place / f"{number}.jpg")
    with start(folder.with_name("whole"), folder) as undisturbed:
        assert undisturbed.wait(HANGS) == 0
    return folder


def start(folder: Path, photos: Path, *, endless: bool = False) -> Popen:
    if not folder.exists():
        write_manifest(photos, folder / "data/raw")
        (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("size: auto ", "size: 224 "))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *(["-c", ENDLESS] if endless else ["-m", "stages.prepare"])]
    return Popen(command, cwd=folder, env=environment, start_new_session=True, stdout=PIPE, text=True)


def sums(folder: Path) -> bytes:
    return (folder / "data/prepared/SHA256SUMS").read_bytes()


def journal(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob(".checkpoints/prepare-*/journal"))


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def living(session: int) -> list[int]:
    """Processes of a session that have not ended; a zombie has."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its = (process / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(its) == session and state != "Z":
            found.append(int(process.name))
    return found


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_a_kill_leaves_nothing_half_written(tmp_path: Path, photos: Path, number: signal.Signals) -> None:
    with start(tmp_path / "killed", photos, endless=True) as killed:
        data = tmp_path / "killed/data"
        while len(journal(tmp_path / "killed").splitlines()) < 3:  # an empty line, and two of three chunks
            assert killed.poll() is None
            time.sleep(0.005)
        killed.send_signal(number)
        assert killed.wait(HANGS) in (-9, 130, 143)
    assert not (data / "prepared").exists()
    assert not (tmp_path / "killed/metrics/data.json").exists()
    until = time.monotonic() + HANGS
    while living(killed.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not living(killed.pid)

    for kept, damaged in ((64, "train_images.npy"), (64, "journal"), (128, "")):
        copy = shutil.copytree(tmp_path / "killed", tmp_path / f"damaged{damaged}")
        if damaged:
            flip(next((copy / ".checkpoints").glob(f"prepare-*/{damaged}")), place=1000)
        with start(copy, photos) as again:
            printed, _ = again.communicate(timeout=HANGS)
        assert f"an interrupted run has decoded {kept} of {PHOTOS} files" in printed
        assert sums(copy) == sums(photos.with_name("whole"))
        assert not list((copy / "data").glob(".prepared.tmp.*"))
        assert not list((copy / ".checkpoints").glob("prepare-*"))
