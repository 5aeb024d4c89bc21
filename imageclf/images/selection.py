"""Choose the images to use and their splits, for built-in sets and for own images."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from imageclf.config.prepare import PrepareParams
from imageclf.images.checks import (
    LEFT_OUT,
    STOPS,
    USED,
    Finding,
    Found,
    class_remarks,
    faults,
    name_remarks,
    near_name,
    no_validation,
    refusal,
    remarks,
    set_remarks,
    write_report,
)
from imageclf.images.counts import group_remarks
from imageclf.images.dataset import SPLITS, Part
from imageclf.images.decode_all import CHANNELS, SIDE, Outcome, decode_files, read_images
from imageclf.images.manifest import File, read_manifest
from imageclf.images.splits import choose_validation, few_of_each, find_units, split_units
from imageclf.runtime.errors import DataError, ParamsError


def look_at_arrays(raw: Path, name: str, params: PrepareParams) -> Found:
    """Split a built-in set's training images into training and validation.

    Raises:
        ParamsError: prepare.size or prepare.window does not fit, or no image is left to train on.
    """
    images = {split: np.load(raw / f"{split}_images.npy", mmap_mode="r") for split in ("train", "test")}
    labels = {split: np.load(raw / f"{split}_labels.npy") for split in ("train", "test")}
    height, width, channels = images["train"].shape[1:]
    if params.size not in ("auto", height) or params.size not in ("auto", width):
        raise ParamsError(
            f"params.yaml: prepare.size is {params.size}, and the images of {name} have {width}x{height} pixels; "
            "set it to auto"
        )
    if params.window:
        raise ParamsError(f"params.yaml: prepare.window is for own 16-bit images, not for {name}; set it to null")
    in_val = choose_validation(labels["train"], fraction=params.val_fraction, seed=params.seed)
    if in_val.all():
        raise ParamsError(
            f"params.yaml: prepare.val_fraction is {params.val_fraction}, which leaves no image to train on"
        )
    free = np.flatnonzero(~in_val)
    training = free[few_of_each(labels["train"][free], None, count=params.per_class, seed=params.seed)]
    origin = {
        "train": ("train", training),
        "val": ("train", np.flatnonzero(in_val)),
        "test": ("test", np.arange(len(labels["test"]))),
    }
    parts = {
        split: Part(
            take=images[raw_split].__getitem__,
            indices=indices,
            labels=labels[raw_split][indices],
            ids=[f"{raw_split}-{index:05d}" for index in indices],
            paths=[f"{name}/{raw_split}/{index:05d}" for index in indices],
        )
        for split, (raw_split, indices) in origin.items()
    }
    seen = sum(map(len, labels.values()))
    used = sum(len(part.labels) for part in parts.values())
    findings = [no_validation(len(in_val))] if params.val_fraction and not in_val.any() else []
    write_report(findings, [])
    return Found(
        parts,
        (height, width, channels),
        seen=seen,
        findings=findings,
        sizes=[(width, height)],
        modes=Counter({"RGB" if channels == 3 else "L": used}),
    )


SPARE = ("not needed", "beyond prepare.per_class")  # kind and words


def look_at_folder(
    raw: Path, roots: list[str], classes: list[str], params: PrepareParams, *, scratch: Path, workers: int
) -> Found:
    """Decode every file of the manifest into `scratch`, check and split them, and write the report.

    Raises:
        DataError: a file changed since download, a file is unusable and prepare.on_bad is fail, or a class has no
            training image.
    """
    # 1. Decode every file.
    files, left_out = read_manifest(raw, roots)
    seen = len(files) + len(left_out)
    side = SIDE if params.size == "auto" else params.size
    outcomes = decode_files(files, size=(side, side), window=params.window, target=scratch, workers=workers)

    # 2. Drop or refuse unusable files.
    faulty = faults(files, outcomes)
    sound = [index for index in range(len(files)) if index not in faulty]
    if faulty and params.on_bad == "fail":
        write_report([replace(finding, action=STOPS) for finding in faulty.values()], left_out)
        raise refusal(list(faulty.values()), seen)

    # 3. Split the others.
    splits, spare, units = _place(files, outcomes, sound, params)
    used = [index for index in sound if index not in spare]
    pairs = Counter((files[index].label, splits[index]) for index in used)
    counts = {name: {split: pairs[name, split] for split in SPLITS} for name in classes}
    findings = [*faulty.values(), *(Finding(files[index].path, *SPARE, LEFT_OUT) for index in sorted(spare))]
    shortage = _shortage(counts, files)
    if shortage:
        write_report(findings, left_out)
        raise shortage
    given = frozenset(file.split for file in files)
    findings += remarks(files, outcomes, used)
    findings += set_remarks(files, outcomes, used, has_window=params.window is not None)
    findings += class_remarks(counts, given=given, units=units) + name_remarks(counts, given=given)
    if any(file.group for file in files):
        asked = {"test": params.test_fraction, "val": params.val_fraction}
        findings += group_remarks(counts, {split: asked[split] for split in asked if split not in given})
    if (params.val_fraction or "val" in given) and not any(of["val"] for of in counts.values()):
        findings.append(no_validation(len(used)))
    write_report(findings, left_out)
    assert seen == len(used) + len(left_out) + sum(finding.action != USED for finding in findings)

    # 4. Return the splits.
    shape = (side, side, CHANNELS)
    parts = {
        split: _part([index for index in used if splits[index] == split], files, classes, scratch, shape)
        for split in SPLITS
    }
    return Found(
        parts,
        shape,
        seen=seen,
        findings=findings,
        sizes=[(outcomes[index].width, outcomes[index].height) for index in used],
        modes=Counter(outcomes[index].mode for index in used),
    )


def _shortage(counts: dict[str, dict[str, int]], files: list[File]) -> DataError | None:
    """The error if a class has no training image, or no class has a test image; `counts` by class and split."""
    for name, of in counts.items():
        if not of["train"]:
            its = [file for file in files if file.label == name]
            given = all(file.split for file in its)
            near = near_name(name, counts, "train") if given else ""
            return DataError(
                f"class {name!r} has no image to train on: {of['val']} are for validation, {of['test']} for test, of "
                f"{len(its)} files; add some{' to train' if given else ''}"
                f"{f' (did you mean the class {near!r}, which has some?)' if near else ''}"
            )
    if not any(of["test"] for of in counts.values()):
        whole = ", as groups stay whole; make smaller groups" if any(file.group for file in files) else "; add images"
        return DataError(
            f"none of {sum(sum(of.values()) for of in counts.values()):,} images is in the test split{whole}, "
            "assign some to it by a test/ folder or in labels.csv, or raise prepare.test_fraction"
        )
    return None


def _place(
    files: list[File], outcomes: list[Outcome], sound: list[int], params: PrepareParams
) -> tuple[dict[int, str], set[int], dict[str, int]]:
    """The split of each usable image by its index, the training images beyond prepare.per_class, the units by class.

    Raises:
        DataError: images that must stay together are given to several splits.
    """
    contents = np.array([int.from_bytes(outcomes[index].digest[:8]) for index in sound], np.uint64)
    groups, given, labels = (
        np.array([getattr(files[index], name) for index in sound], dtype=np.str_)
        for name in ("group", "split", "label")
    )
    unit, key = find_units(contents, groups)
    _check_given(unit, given, [files[index] for index in sound])
    words = split_units(
        unit,
        key,
        given,
        labels,
        val_fraction=params.val_fraction,
        test_fraction=params.test_fraction,
        seed=params.seed,
    )
    training = np.flatnonzero(words == "train")
    few = few_of_each(labels[training], contents[training], count=params.per_class, seed=params.seed)
    units = Counter(label for label, _ in set(zip(labels.tolist(), unit.tolist(), strict=True)))
    return dict(zip(sound, words.tolist(), strict=True)), {sound[at] for at in training[~few]}, units


def _check_given(unit: np.ndarray, given: np.ndarray, files: list[File]) -> None:
    first: dict[int, int] = {}
    for at in np.flatnonzero(given != "").tolist():
        other = first.setdefault(int(unit[at]), at)
        if given[other] != given[at]:
            raise DataError(
                f"{files[other].path} is given to {given[other]} and {files[at].path} to {given[at]}, and copies of a "
                f"picture join their groups {files[other].group!r} and {files[at].group!r}; give both to one split"
            )


def _part(
    indices: list[int], files: list[File], classes: list[str], scratch: Path, shape: tuple[int, int, int]
) -> Part:
    number = {name: label for label, name in enumerate(classes)}
    paths = [files[index].path for index in indices]
    return Part(
        take=read_images(scratch, shape),
        indices=np.array(indices, np.int64),
        labels=np.array([number[files[index].label] for index in indices], np.int64),
        ids=paths,  # unlike numbers, paths stay the same if images are added
        paths=paths,
        groups=[files[index].group for index in indices],
    )
