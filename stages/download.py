"""Fetch a built-in data set and store its images as arrays, byte-identical from every source.

Reads data.archive if params.yaml names one. Writes data/raw: train_images.npy and test_images.npy, uint8 (N, H, W, C);
train_labels.npy and test_labels.npy, int64 (N,); dataset.json. For own images below data.path it writes lists instead:
files.csv, with the labels of data.corrections, and left_out.csv. Run by `dvc repro download`. CIFAR-10 takes 6 seconds
and the transfer of 139 to 170 MB.
"""

import os
from pathlib import Path

import numpy as np

from imageclf.config.data import DataParams
from imageclf.config.section import read_section
from imageclf.datasets.catalogue import CATALOGUE
from imageclf.datasets.corrections import Corrections, read_corrections
from imageclf.datasets.fetch import from_archive, from_sources, held_folder
from imageclf.datasets.folder import NONE, make_manifest, missed
from imageclf.datasets.source import Arrays, Entry, fault_of
from imageclf.runtime.errors import DataError, ParamsError, printable
from imageclf.runtime.files import replaced_folder, sha256_of_array, write_json
from imageclf.runtime.stage import project_root, run_stage

RAW = Path("data/raw")
DOWNLOADS = Path(".downloads")  # in the main checkout, so that any run can resume a download or hashing


def main() -> str:
    # 1. Read and check the params.
    params = read_section(DataParams)
    roots = [path for path in (params.path, params.also) if path != NONE]
    if params.name == "folder":
        corrections = None if params.corrections == NONE else read_corrections(Path(params.corrections))
        return _keep_folder(roots, by_folder=params.group == "folder", corrections=corrections)
    if params.group != "none":
        raise ParamsError(f"params.yaml: data.group is for own images, not for {params.name}; set it to none")
    if params.corrections != NONE:
        raise ParamsError(f"params.yaml: data.corrections is for own images, not for {params.name}; set it to {NONE}")
    if roots:
        raise ParamsError(
            f"params.yaml: data.path or data.also is {printable(roots[0])}, but data.name is {params.name}; set "
            f"data.name to folder, or the path to {NONE}"
        )
    entry = CATALOGUE[params.name]
    if entry.draw and params.archive is not None:
        raise ParamsError(f"params.yaml: data.archive is set, but {entry.name} are drawn on the spot; set it to null")
    origin = _origin(entry, params.archive)
    print(f"download: {entry.name}, {len(entry.classes)} classes, {origin}", flush=True)

    # 2. Draw, read or download the images, and store them.
    if entry.draw:
        return keep(entry, entry.draw())
    if params.archive is not None:
        return keep(entry, from_archive(entry, _located(params.archive)))
    with held_folder(project_root() / DOWNLOADS / entry.name) as folder:
        return keep(entry, from_sources(entry, folder))


def keep(entry: Entry, arrays: Arrays) -> str:
    """Write data/raw and return a summary line.

    Raises:
        DataError: an array is no such array, or its hash is not the data set's known one.
    """
    if fault := fault_of(arrays, entry.classes):
        raise DataError(f"{entry.name}: {fault}; fix its module in imageclf/datasets/builtin")
    sha256 = {name: sha256_of_array(array) for name, array in arrays.items()}
    for name, known in entry.sha256.items():
        if sha256[name] != known:
            raise DataError(
                f"{entry.name}: {name} decoded to sha256 {sha256[name][:8]}…, not {known[:8]}…; install the versions "
                "of requirements.txt and run again"
            )
    with replaced_folder(RAW) as folder:
        for name, array in arrays.items():
            _write_array(folder / f"{name}.npy", array)
        write_json(folder / "dataset.json", {"name": entry.name, "classes": entry.classes, "sha256": sha256})
    height, width, channels = arrays["train_images"].shape[1:]
    counts = f"{len(arrays['train_labels']):,} train, {len(arrays['test_labels']):,} test"
    return f"{counts} images of {height}x{width}x{channels} in {RAW}"


def _keep_folder(roots: list[str], *, by_folder: bool, corrections: Corrections | None) -> str:
    """Write the manifest of a user's own images to data/raw."""
    if not roots:
        raise ParamsError("params.yaml: data.name is folder and data.path is not set; set it to a folder of images")
    print(f"download: own images in {' and '.join(map(printable, roots))}: listing and hashing them", flush=True)
    manifest = make_manifest(roots, by_folder=by_folder, corrections=corrections)
    with held_folder(project_root() / DOWNLOADS / "folder") as kept, replaced_folder(RAW) as folder:
        manifest.write(folder, kept)
        name = Path(roots[0]).resolve().name
        facts = {"name": name, "kind": "files", "classes": manifest.classes, "roots": roots}
        write_json(folder / "dataset.json", facts)
    for line in [*manifest.said, *missed(manifest.left_out)]:
        print(f"download: {line}", flush=True)
    found = f"{manifest.number:,} files in {len(manifest.classes)} classes"
    return f"{found}, {len(manifest.left_out):,} left out by rule, listed in {RAW}/left_out.csv"


def _origin(entry: Entry, archive: str | None) -> str:
    if entry.draw:
        return "drawn on the spot"
    if archive is not None:
        return f"from data.archive {printable(archive)}"
    return f"from {', else '.join(str(source.origin) for source in entry.sources)}"


def _located(archive: str) -> Path:
    """The path relative to the main checkout, also in a temporary workspace of DVC."""
    return project_root() / os.path.expanduser(archive)  # noqa: PTH111 - Path's raises on an unknown user


def _write_array(path: Path, array: np.ndarray) -> None:
    """Write as np.save does; np.save itself hides that a disk is full."""
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)


if __name__ == "__main__":
    run_stage("download", main)
