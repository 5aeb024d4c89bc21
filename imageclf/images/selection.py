"""Choose the images to use and their splits, for built-in sets and for own images."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
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
from imageclf.images.dataset import SPLITS
from imageclf.images.decode_all import CHANNELS, SIDE, Outcome, Slot, check_room, decode_files
from imageclf.images.manifest import File, read_manifest
from imageclf.images.packing import ImageFile, Part, image_files, write_images
from imageclf.images.splits import choose_validation, few_of_each, find_units, split_units
from imageclf.runtime.errors import DataError, ParamsError


def look_at_arrays(raw: Path, name: str, params: PrepareParams, *, folder: Path) -> Found:
    """Split a built-in set's training images into training and validation, and write the images into `folder`.

    Raises:
        ParamsError: prepare.size, fit or window does not suit the set, or no image is left to train on.
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
    if params.fit != "crop":
        raise ParamsError(
            f"params.yaml: prepare.fit is for own images, and those of {name} keep their shape; set it to crop"
        )
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
    for split, file in image_files(folder, (height, width, channels)).items():
        raw_split, indices = origin[split]
        write_images(file, images[raw_split], indices)
    parts = {
        split: Part(
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


@dataclass(frozen=True)
class _Plan:
    """What becomes of each file, by its index."""

    faulty: dict[int, Finding]
    spare: set[int]  # training images beyond prepare.per_class
    splits: dict[str, list[int]]  # the images of each split, in the order of its array
    units: dict[str, int]  # of each class

    @property
    def used(self) -> list[int]:
        return sorted(index for indices in self.splits.values() for index in indices)

    def slots(self, arrays: dict[str, ImageFile]) -> dict[int, Slot]:
        """Where each used image is written."""
        return {
            index: (arrays[split].path, arrays[split].place(position))
            for split, indices in self.splits.items()
            for position, index in enumerate(indices)
        }


def look_at_folder(
    raw: Path, roots: list[str], classes: list[str], params: PrepareParams, *, folder: Path, workers: int
) -> Found:
    """Decode every file of the manifest, check and split them, write the images into `folder`, and write the report.

    Raises:
        DataError: a file changed since download, a file is unusable and prepare.on_bad is fail, or a class has no
            training image.
        MachineError: the disk is too small, or the system killed a worker.
    """
    # 1. Decode every file into the place that is its own if no picture is faulty, and none a copy.
    files, left_out = read_manifest(raw, roots)
    seen = len(files) + len(left_out)
    side = SIDE if params.size == "auto" else params.size
    shape = (side, side, CHANNELS)
    check_room(folder, len(files) * side * side * CHANNELS)
    arrays = image_files(folder, shape)
    guess = _plan(files, [Outcome(bytes.fromhex(file.sha256)) for file in files], params)
    for split, array in arrays.items():
        array.resize(len(guess.splits[split]))
    read = partial(decode_files, size=shape[:2], fit=params.fit, window=params.window, workers=workers)
    outcomes = read(files, guess.slots(arrays))

    # 2. Drop or refuse unusable files.
    plan = _plan(files, outcomes, params)
    faulty, spare, used = plan.faulty, plan.spare, plan.used
    if faulty and params.on_bad == "fail":
        write_report([replace(finding, action=STOPS) for finding in faulty.values()], left_out)
        raise refusal(list(faulty.values()), seen)

    # 3. Split the others.
    counts = _counts(files, plan, classes)
    findings = [*faulty.values(), *(Finding(files[index].path, *SPARE, LEFT_OUT) for index in sorted(spare))]
    shortage = _shortage(counts, files)
    if shortage:
        write_report(findings, left_out)
        raise shortage
    given = frozenset(file.split for file in files)
    findings += remarks(files, outcomes, used)
    findings += set_remarks(files, outcomes, used, has_window=params.window is not None, fit=params.fit, side=side)
    findings += class_remarks(counts, given=given, units=plan.units) + name_remarks(counts, given=given)
    if any(file.group for file in files):
        asked = {"test": params.test_fraction, "val": params.val_fraction}
        findings += group_remarks(counts, {split: asked[split] for split in asked if split not in given})
    if (params.val_fraction or "val" in given) and not any(of["val"] for of in counts.values()):
        findings.append(no_validation(len(used)))
    write_report(findings, left_out)
    assert seen == len(used) + len(left_out) + sum(finding.action != USED for finding in findings)

    # 4. Move the images whose place is another than guessed, and decode again those that are new to their split.
    slots = plan.slots(arrays)
    if news := sorted(_move(guess, plan, arrays)):
        again = read([files[index] for index in news], {at: slots[index] for at, index in enumerate(news)})
        assert again == [outcomes[index] for index in news]

    # 5. Return the splits.
    return Found(
        {split: _part(indices, files, classes) for split, indices in plan.splits.items()},
        shape,
        seen=seen,
        findings=findings,
        sizes=[(outcomes[index].width, outcomes[index].height) for index in used],
        modes=Counter(outcomes[index].mode for index in used),
    )


def _plan(files: list[File], outcomes: list[Outcome], params: PrepareParams) -> _Plan:
    faulty = faults(files, outcomes)
    sound = [index for index in range(len(files)) if index not in faulty]
    splits, spare, units = _place(files, outcomes, sound, params)
    used = [index for index in sound if index not in spare]
    each = {split: [index for index in used if splits[index] == split] for split in SPLITS}
    return _Plan(faulty, spare, each, units)


def _move(guess: _Plan, plan: _Plan, arrays: dict[str, ImageFile]) -> set[int]:
    """Move the images that stay in their split to their places; returns those whose places wait for them."""
    news: set[int] = set()
    for split, array in arrays.items():
        old = {index: position for position, index in enumerate(guess.splits[split])}
        indices = plan.splits[split]
        array.resize(max(len(old), len(indices)))
        array.move([(old[index], position) for position, index in enumerate(indices) if index in old])
        array.resize(len(indices))
        news.update(index for index in indices if index not in old)
    return news


def _counts(files: list[File], plan: _Plan, classes: list[str]) -> dict[str, dict[str, int]]:
    """The number of images by class and split."""
    pairs = Counter((files[index].label, split) for split, indices in plan.splits.items() for index in indices)
    return {name: {split: pairs[name, split] for split in SPLITS} for name in classes}


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
    contents = _contents(files, outcomes, sound)
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


def _contents(files: list[File], outcomes: list[Outcome], sound: list[int]) -> np.ndarray:
    """uint64 for each usable image: the beginning of the lowest sha256 of the files that show the same."""
    lowest: dict[bytes, str] = {}
    for index in sound:
        digest, sha256 = outcomes[index].digest, files[index].sha256
        lowest[digest] = min(lowest.get(digest, sha256), sha256)
    return np.array([int(lowest[outcomes[index].digest][:16], 16) for index in sound], np.uint64)


def _part(indices: list[int], files: list[File], classes: list[str]) -> Part:
    number = {name: label for label, name in enumerate(classes)}
    paths = [files[index].path for index in indices]
    labels = np.array([number[files[index].label] for index in indices], np.int64)
    groups = [files[index].group for index in indices]
    return Part(
        labels, ids=paths, paths=paths, groups=groups
    )  # unlike numbers, paths stay the same if images are added
