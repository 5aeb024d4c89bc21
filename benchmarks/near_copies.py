"""How many of 30 altered copies among 300 different pictures prepare finds: `python -m benchmarks.near_copies FOLDER`.

Takes up to 300 pictures from all of a folder and adds crops, mirrored, resized, re-encoded and brighter copies of some.
Prints which copies were not found, and the other pairs: look at them, since the folder may have copies of its own.
`--timed` takes a folder of class folders as it is, and prints how long it takes to decode its pictures and to search.
"""

import argparse
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from imageclf.datasets.folder import make_manifest
from imageclf.images.decode import read_picture
from imageclf.images.decode_all import decode_files
from imageclf.images.likeness import SKETCH
from imageclf.images.manifest import Files
from imageclf.images.near_copies import NearCopies, find_near_copies, shown_pairs
from imageclf.images.outcomes import Outcomes
from imageclf.images.pairs import draw_pairs
from imageclf.images.splits import TRAIN
from imageclf.runtime.errors import DataError
from imageclf.runtime.platform import available_cores
from imageclf.runtime.stage import run_tool

SIZE = (64, 64)
CLASSES = ("pictures", "copies")
ALTERED = "altered-"  # how the names of copies begin
WAYS = (
    "crop",
    "mirrored",
    "resized",
    "re-encoded",
    "crop mirrored",
    "crop resized",
    "mirrored resized brighter",
    "all",
)


def main() -> None:
    asked = _parser().parse_args()
    with TemporaryDirectory() as temporary:
        if asked.timed:
            near = _search(asked.folder, Path(temporary))
            print(f"{len(near.pairs):,} pairs among {len(near.files):,} files")
        else:
            pictures = Path(temporary, "pictures")
            for name in CLASSES:
                (pictures / name).mkdir(parents=True)
            paths = {}
            for number, path in enumerate(_different(asked.folder, asked.seed)[: asked.pictures]):
                name = f"{number:06d}{path.suffix.lower()}"
                shutil.copy(path, pictures / CLASSES[0] / name)
                paths[name] = path
            sources = dict(_add_copies(pictures, list(paths), asked))
            near = _search(pictures, Path(temporary))
            _tell(near, sources, paths)
        if asked.sheet:
            title, pairs = shown_pairs(near, np.full(len(near.files), TRAIN))
            draw_pairs(pairs, title=title).save(asked.sheet)


def _different(folder: Path, seed: int) -> list[Path]:
    """The pictures that can be read, in random order, without equal files."""
    seen, found = set[bytes](), list[Path]()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            read_picture(path, size=SIZE, channels=3)
        except DataError:
            continue
        if path.read_bytes() not in seen:
            seen.add(path.read_bytes())
            found.append(path)
    return [found[place] for place in np.random.default_rng(seed).permutation(len(found))]


def _add_copies(folder: Path, names: list[str], asked: argparse.Namespace) -> Iterator[tuple[str, tuple[str, str]]]:
    """Write altered copies; yields the name of each, with its source and what was done."""
    generator = np.random.default_rng(asked.seed)
    for number, place in enumerate(generator.choice(len(names), asked.copies, replace=False).tolist()):
        way = WAYS[number % len(WAYS)]
        with Image.open(folder / CLASSES[0] / names[place]) as opened:
            whole = ImageOps.exif_transpose(opened).convert("RGBA")
        plain = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
        picture, done = altered(plain, way, generator)
        quality = int(generator.integers(30, 91))
        name = f"{ALTERED}{number:04d}.jpg"
        picture.save(folder / CLASSES[1] / name, quality=quality)
        yield name, (names[place], f"{done} quality {quality}")


def altered(picture: Image.Image, way: str, generator: np.random.Generator) -> tuple[Image.Image, str]:
    """Change an RGB picture in one of the WAYS; also says how much."""
    done = [way]
    if way == "all" or "crop" in way:
        across, down = (
            generator.uniform(0.6, 0.95, 2) if generator.random() < 0.5 else [generator.uniform(0.6, 0.95)] * 2
        )
        width, height = max(8, round(across * picture.width)), max(8, round(down * picture.height))
        left, top = (int(generator.integers(room + 1)) for room in (picture.width - width, picture.height - height))
        picture = picture.crop((left, top, left + width, top + height))
        done.append(f"{across:.2f}x{down:.2f}")
    if way == "all" or "mirrored" in way:
        picture = ImageOps.mirror(picture)
    if way == "all" or "resized" in way:
        scale = float(np.exp(generator.uniform(np.log(0.4), np.log(2.5))))
        size = max(8, round(scale * picture.width)), max(8, round(scale * picture.height))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
        done.append(f"scale {scale:.2f}")
    if way == "all" or "brighter" in way:
        factor = generator.uniform(0.85, 1.15)
        picture = ImageEnhance.Brightness(picture).enhance(factor)
        done.append(f"brightness {factor:.2f}")
    return picture, " ".join(done)


def _search(root: Path, folder: Path) -> NearCopies:
    raw, workers = folder / "raw", available_cores()
    raw.mkdir()
    manifest = make_manifest([str(root.absolute())])
    manifest.write(raw)
    files = Files(raw, [str(root.absolute())], manifest.classes)
    sketches = np.zeros((len(files), SKETCH, SKETCH), np.uint8)
    outcomes, begun = Outcomes(len(files), sketches=sketches), time.perf_counter()
    for index, outcome in decode_files(files, lambda _: None, size=SIZE, workers=workers, sketch=SKETCH):
        outcomes.put(index, outcome)
    decoded = time.perf_counter()
    pictures, sizes = outcomes.number_pictures(), outcomes.facts["size"]
    near = find_near_copies(files, sketches, pictures, sizes, window=None, folder=folder, workers=workers)
    print(f"decoding {decoded - begun:.2f} s, search {time.perf_counter() - decoded:.2f} s", *near.limits, sep="; ")
    return near


def _tell(near: NearCopies, sources: dict[str, tuple[str, str]], paths: dict[str, Path]) -> None:
    names = [tuple(Path(near.files[index].path).name for index in (pair.whole, pair.part)) for pair in near.pairs]
    found = {name for both in names for name in both if name in sources and sources[name][0] in both}
    others = [
        (near.kind(pair), *both)
        for pair, both in zip(near.pairs, names, strict=True)
        if len({sources.get(name, (name, ""))[0] for name in both}) > 1
    ]
    print(f"found {len(found)} of {len(sources)} copies among {len(paths)} pictures, and {len(others)} other pairs")
    for name in sorted(sources.keys() - found):
        print(f"  not found: {sources[name][1]}, of {paths[sources[name][0]]}")
    for kind, whole, part in others:
        first, second = (paths.get(name) or paths[sources[name][0]] for name in (part, whole))
        print(f"  other pair: {first} is a {kind} of {second}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.near_copies", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--copies", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="a file to draw the pairs to")
    parser.add_argument("--timed", action="store_true")
    return parser


if __name__ == "__main__":
    run_tool(main)
