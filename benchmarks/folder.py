"""A folder of photographs made ready for training, ours and torchvision's: `python -m benchmarks.folder`.

Writes 20,000 JPEGs of about 500x375 pixels to a temporary folder (1 GB), then prepare and torchvision's ImageFolder
with Resize, CenterCrop and two loader workers take turns at them, each turn in a process of its own. Then prepare once
more on one core: the same bytes. Prints the peaks of memory and of disk use. Keeps nothing; on a machine that does
something else the figures are noise.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.folder_turn import ROOT
from benchmarks.photos import write_photos
from benchmarks.watch import DiskWatch, MemoryWatch
from imageclf.images.dataset import PREPARED
from imageclf.runtime.errors import MachineError
from imageclf.runtime.files import SUMS
from imageclf.runtime.stage import run_tool


def main() -> None:
    asked = _parser().parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        photos = Path(temporary, "photos")
        write_photos(photos, asked.images)
        size = sum(file.stat().st_size for file in photos.rglob("*.jpg"))
        print(f"{asked.images:,} JPEGs of {size / asked.images / 1e3:.0f} kB, to {asked.side}x{asked.side}", flush=True)
        seconds: dict[str, list[float]] = {"ours": [], "torchvision": []}
        for number in range(1, asked.rounds + 1):
            for name in seconds if number % 2 else reversed(seconds):
                taken = _turn(name, photos, asked.side, Path(temporary, f"{name}-{number}"))
                seconds[name].append(taken)
                print(f"  {asked.images / taken:,.0f} images/s", flush=True)
        _turn("ours", photos, asked.side, Path(temporary, "one-core"), "--cores", "1")
        sums = [Path(temporary, name, PREPARED, SUMS).read_bytes() for name in ("ours-1", "one-core")]
    ratios = [theirs / own for theirs, own in zip(seconds["torchvision"], seconds["ours"], strict=True)]
    print(f"ours / torchvision: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"one core and all cores: {'the same bytes' if len(set(sums)) == 1 else 'DIFFERENT BYTES'}")


def _turn(name: str, photos: Path, side: int, workspace: Path, *options: str) -> float:
    """The seconds of one turn; its peak memory and disk use are printed.

    Raises:
        MachineError: it failed; it has said why itself.
    """
    workspace.mkdir()
    command = [sys.executable, "-m", "benchmarks.folder_turn", name, str(photos), "--side", str(side), *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (
        subprocess.Popen(command, cwd=workspace, env=environment, stdout=subprocess.PIPE, text=True) as process,
        MemoryWatch(process.pid) as watch,
        DiskWatch(workspace) as disk,
    ):
        assert process.stdout
        lines = process.stdout.read().splitlines()
    if process.returncode:
        raise MachineError(f"the turn of {name} ended with exit code {process.returncode}; its own words are above")
    arrays = sum(file.stat().st_size for file in (workspace / PREPARED).glob("*_images.npy"))
    use = f"{disk.peak / arrays:.2f} times the arrays on disk, " if arrays else ""
    print(f"{' '.join([name, *options]):17} {watch.peak.whole / 1e6:6,.0f} MB, {use}", end="", flush=True)
    taken = json.loads(lines[-1])["seconds"]
    print(f"{taken:.1f} s", end="\n" if options else ",", flush=True)
    return taken


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.folder", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=64, help="of the prepared images, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    return parser


if __name__ == "__main__":
    run_tool(main)
