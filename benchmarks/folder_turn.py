"""One turn at a folder of photographs: `python -m benchmarks.folder_turn NAME FOLDER`; its last line is JSON.

Turns are taken by `python -m benchmarks.folder`, in a folder of its own for each.
"""

import argparse
import json
import os
import time
from pathlib import Path

import yaml

from benchmarks.photos import write_manifest

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.folder_turn")
    parser.add_argument("name", choices=["ours", "torchvision"])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--side", type=int, required=True, help="of the prepared images, in pixels")
    parser.add_argument("--cores", type=int, help="that may be used; else all")
    asked = parser.parse_args()
    if asked.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.cores])
    take = ours if asked.name == "ours" else torchvision
    print(json.dumps({"seconds": take(asked.photos, asked.side)}))


def ours(photos: Path, side: int) -> float:
    """Seconds of prepare in the current folder: read, check, decode, look over, split, pack and describe."""
    from stages import prepare

    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["prepare"] |= {"size": side, "on_bad": "drop"}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    write_manifest(photos, Path("data/raw"))
    begun = time.monotonic()
    prepare.main()
    return time.monotonic() - begun


def torchvision(photos: Path, side: int) -> float:
    """Seconds in which ImageFolder and two loader workers bring every image once, cut and resized to the same size."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

    images = ImageFolder(str(photos), Compose([Resize(side), CenterCrop(side), PILToTensor()]))
    begun = time.monotonic()
    number = sum(len(labels) for _, labels in DataLoader(images, batch_size=256, num_workers=2))
    assert number == len(images)
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
