"""Choose the images to use and their splits, for own images."""

import math
import shutil
from collections.abc import Collection, Mapping
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
    contradictions,
    damages,
    name_remarks,
    near_name,
    no_validation,
    one_picture_classes,
    refusal,
    remarks,
    set_remarks,
    write_report,
)
from imageclf.images.counts import group_remarks
from imageclf.images.dataset import SPLITS
from imageclf.images.decode_all import CHANNELS, SIDE, check_room, decode_files
from imageclf.images.likeness import MOST, SKETCH
from imageclf.images.manifest import GIVEN, Files, read_left_out
from imageclf.images.near_copies import NearCopies, find_near_copies, near_findings, shown_pairs, superfluous, tied
from imageclf.images.outcomes import Journal, Outcomes, Slot
from imageclf.images.packing import ImageFile, Part, image_files
from imageclf.images.splits import NONE, TEST, TRAIN, few_of_each, find_units, split_units
from imageclf.runtime.errors import DataError

ADVICE = {  # on near-copies across splits, by prepare.near_copies
    "report": "set prepare.near_copies to together or drop",
    "together": "set prepare.near_copies to drop, or give both to one split",
    "drop": "",  # none is left
}
SPARE = ("not needed", "beyond prepare.per_class")  # kind and words
ASIDE = ("set aside", "a given test image, which prepare.fold leaves out")


@dataclass(frozen=True)
class _Plan:
    """What becomes of N files."""

    spare: np.ndarray  # indices of training images beyond prepare.per_class
    aside: np.ndarray  # indices of given test images, if a fold is the test
    split: np.ndarray  # int8 (N,), the place in SPLITS; NONE: not used
    position: np.ndarray  # int32 (N,), in the array of the split
    fold: np.ndarray  # int8 (N,), the number of the fold that tests it, or -1
    units: np.ndarray  # of each class

    @property
    def used(self) -> np.ndarray:
        """The indices of the images that are used, ascending."""
        return np.flatnonzero(self.split != NONE)

    def of(self, split: str) -> np.ndarray:
        """The indices of the images of a split, in the order of its array."""
        return np.flatnonzero(self.split == SPLITS.index(split))

    def slot(self, arrays: dict[str, ImageFile], index: int) -> Slot | None:
        """Where a file's image is written, if it is used."""
        if self.split[index] == NONE:
            return None
        array = arrays[SPLITS[self.split[index]]]
        return array.path, array.place(int(self.position[index]))


def look_at_folder(
    raw: Path, roots: list[str], classes: list[str], params: PrepareParams, *, folder: Path, begun: Path, workers: int
) -> Found:
    """Decode every file of the manifest, check and split them, write the images into `folder`, and write the report.

    They are decoded in the folder `begun`; if the run is interrupted, the next one goes on with what is there.

    Raises:
        DataError: a file changed since download, a file is unusable and prepare.on_bad is fail, or a class has no
            training image.
        MachineError: the disk is too small, or the system killed a worker.
    """
    # 1. Decode every file into the place that is its own if no picture is faulty, and none a copy.
    files, left_out = Files(raw, roots, classes), read_left_out(raw)
    seen = len(files) + len(left_out)
    side = SIDE if params.size == "auto" else params.size
    shape = (side, side, CHANNELS)
    sketch = SKETCH if len(files) <= MOST else None  # its side, if near-copies are looked for
    check_room(begun, len(files) * (side * side * CHANNELS + (sketch or 0) ** 2))
    arrays = image_files(begun, shape)
    alike = np.unique(files.sha256, return_inverse=True)[1].astype(np.int32)
    guess = _plan(files, alike, contradictions(files, alike), params)
    for split, array in arrays.items():
        array.resize(len(guess.of(split)))
    read = partial(decode_files, size=shape[:2], fit=params.fit, window=params.window, workers=workers)
    sketches = np.memmap(begun / "sketches", np.uint8, "w+", shape=(len(files), SKETCH, SKETCH)) if sketch else None
    outcomes = Outcomes(len(files), sketches=sketches)
    journal = Journal(begun / "journal", image=math.prod(shape))
    for index, outcome in read(files, partial(guess.slot, arrays), journal=journal, sketch=sketch):
        outcomes.put(index, outcome)

    # 2. Drop or refuse unusable files.
    pictures = outcomes.number_pictures()
    faulty = damages(files, outcomes)
    faulty |= contradictions(files, pictures)
    if faulty and params.on_bad == "fail":
        write_report([replace(finding, action=STOPS) for finding in faulty.values()], left_out)
        raise refusal(list(faulty.values()), seen)

    # 3. Find near-copies among the others, and split them.
    sound = pictures.copy()
    sound[list(faulty)] = -1
    sizes = outcomes.facts["size"]
    near = find_near_copies(files, sketches, sound, sizes, window=params.window, folder=begun, workers=workers)
    extra = superfluous(near) if params.near_copies == "drop" else {}
    plan = _plan(files, pictures, faulty | extra, params, near if params.near_copies == "together" else None)
    used = plan.used
    counts = _counts(files, plan, classes)
    findings = [*near_findings(near, plan.split, advice=ADVICE[params.near_copies]), *faulty.values(), *extra.values()]
    findings += [Finding(files[index].path, *SPARE, LEFT_OUT) for index in plan.spare]
    findings += [Finding(files[index].path, *ASIDE, LEFT_OUT) for index in plan.aside]
    shortage = _shortage(counts, files, faulty)
    if shortage:
        write_report(findings, left_out)
        raise shortage
    given = frozenset(GIVEN[split] for split in np.setdiff1d(files.given, [TEST] if params.part else []))
    findings += remarks(files, outcomes, pictures, used)
    shown = outcomes.facts[used]
    findings += set_remarks(shown, has_window=params.window is not None, fit=params.fit, side=side)
    findings += one_picture_classes(files.labels[used], pictures[used], classes)
    units = dict(zip(classes, plan.units.tolist(), strict=True))
    findings += class_remarks(counts, given=given, units=units) + name_remarks(counts, given=given)
    if files.groups:
        asked = {"test": params.test_fraction, "val": params.val_fraction}
        findings += group_remarks(counts, {split: asked[split] for split in asked if split not in given})
    if (params.val_fraction or "val" in given) and not any(of["val"] for of in counts.values()):
        findings.append(no_validation(len(used)))
    write_report(findings, left_out)
    assert seen == len(used) + len(left_out) + sum(finding.action != USED for finding in findings)

    # 4. Move the images whose place is another than guessed, and decode again those that are new to their split.
    journal.close()
    for array in arrays.values():
        shutil.move(array.path, folder)
    arrays = image_files(folder, shape)
    _move(guess, plan, arrays)
    news = np.flatnonzero((plan.split != guess.split) & (plan.split != NONE)).tolist()
    if news:
        again = Outcomes(len(news), modes=outcomes.modes)
        for at, outcome in read([files[index] for index in news], lambda at: plan.slot(arrays, news[at])):
            again.put(at, outcome)
        assert (again.facts == outcomes.facts[news]).all()

    # 5. Return the splits.
    return Found(
        {split: _part(files, plan.of(split), plan.fold if params.part else None) for split in SPLITS},
        shape,
        seen=seen,
        findings=findings,
        sizes=shown["size"],
        modes=outcomes.modes_of(used),
        near_copies=shown_pairs(near, plan.split),
    )


def _plan(
    files: Files,
    pictures: np.ndarray,
    without: Collection[int],
    params: PrepareParams,
    near: NearCopies | None = None,
) -> _Plan:
    """Where the image of each file goes, except those `without`; `near` are near-copies that stay together.

    `pictures` int32 (N,) is equal for copies, -1 for a damaged file.

    Raises:
        DataError: images that must stay together are given to several splits.
    """
    sound = np.ones(len(files), bool)
    sound[list(without)] = False
    aside = sound & (files.given == TEST) & (params.part is not None)
    sound &= ~aside
    labels, given = files.labels[sound], files.given[sound]
    contents = _contents(files, pictures, sound)
    unit, key = find_units(contents, files.group[sound], files.groups)
    if near and near.pairs:
        contents = tied(contents, near, sound, unit=unit, given=given)
        unit, key = find_units(contents, files.group[sound], files.groups)
    _check_given(unit, given, files, sound)
    places, fold_of = split_units(
        unit,
        key,
        given,
        labels,
        val_fraction=params.val_fraction,
        test_fraction=params.test_fraction,
        seed=params.seed,
        fold=params.part,
    )
    pairs = np.unique(labels * np.int64(len(key)) + unit)
    units = np.bincount(pairs // max(len(key), 1), minlength=len(files.classes))
    spare = np.zeros(len(places), bool)
    if params.per_class is not None:
        training = places == TRAIN
        spare[training] = ~few_of_each(labels[training], contents[training], count=params.per_class, seed=params.seed)
        places[spare] = NONE
    split, fold = np.full(len(files), NONE, np.int8), np.full(len(files), -1, np.int8)
    split[sound], fold[sound] = places, fold_of
    position = np.zeros(len(files), np.int32)
    for place in range(len(SPLITS)):
        its = split == place
        position[its] = np.arange(its.sum(), dtype=np.int32)
    return _Plan(np.flatnonzero(sound)[spare], np.flatnonzero(aside), split, position, fold, units)


def _move(guess: _Plan, plan: _Plan, arrays: dict[str, ImageFile]) -> None:
    """Move the images that stay in their split to their places."""
    for place, split in enumerate(SPLITS):
        stay = (guess.split == place) & (plan.split == place)
        before, after = len(guess.of(split)), len(plan.of(split))
        arrays[split].resize(max(before, after))
        arrays[split].move(guess.position[stay], plan.position[stay])
        arrays[split].resize(after)


def _counts(files: Files, plan: _Plan, classes: list[str]) -> dict[str, dict[str, int]]:
    """The number of images by class and split."""
    counts = {split: np.bincount(files.labels[plan.of(split)], minlength=len(classes)).tolist() for split in SPLITS}
    return {name: {split: counts[split][label] for split in SPLITS} for label, name in enumerate(classes)}


def _shortage(counts: dict[str, dict[str, int]], files: Files, faulty: Mapping[int, Finding]) -> DataError | None:
    """The error if a class has no training image, or no class has a test image; `counts` by class and split."""
    for label, (name, of) in enumerate(counts.items()):
        if not of["train"]:
            its = np.flatnonzero(files.labels == label).tolist()
            unusable = [faulty[index] for index in its if index in faulty]
            given = bool((files.given[its] != NONE).all())
            near = near_name(name, counts, "train") if given else ""
            such = f", and {len(unusable)} cannot be used ({unusable[0].path}: {unusable[0].kind})" if unusable else ""
            return DataError(
                f"class {name!r} has no image to train on: {of['val']} are for validation, {of['test']} for test, of "
                f"{len(its)} files{such}; add some{' to train' if given else ''}"
                f"{f' (did you mean the class {near!r}, which has some?)' if near else ''}"
            )
    if not any(of["test"] for of in counts.values()):
        whole = ", as groups stay whole; make smaller groups" if files.groups else "; add images"
        return DataError(
            f"none of {sum(sum(of.values()) for of in counts.values()):,} images is in the test split{whole}, "
            "assign some to it by a test/ folder or in labels.csv, or raise prepare.test_fraction"
        )
    return None


def _check_given(unit: np.ndarray, given: np.ndarray, files: Files, sound: np.ndarray) -> None:
    which = np.flatnonzero(given != NONE)
    first = which[np.unique(unit[which], return_index=True)[1]]  # of each unit
    of_unit = np.zeros(len(unit), np.int64)
    of_unit[unit[first]] = first
    torn = which[given[of_unit[unit[which]]] != given[which]]
    if len(torn):
        indices = np.flatnonzero(sound)
        file, other = files[indices[torn[0]]], files[indices[of_unit[unit[torn[0]]]]]
        raise DataError(
            f"{other.path} is given to {other.split} and {file.path} to {file.split}, and copies of a picture join "
            f"their groups {other.group!r} and {file.group!r}; give both to one split"
        )


def _contents(files: Files, pictures: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """uint64 for each usable image: the beginning of the lowest sha256 of the files that show the same."""
    lowest = np.full(pictures.max(initial=0) + 1, np.iinfo(np.uint64).max)
    np.minimum.at(lowest, pictures[sound], files.sha256[sound])
    return lowest[pictures[sound]]


def _part(files: Files, indices: np.ndarray, fold: np.ndarray | None) -> Part:
    # Unlike numbers, paths stay the same if images are added.
    samples = ((file.path, file.path, file.group) for file in map(files.__getitem__, indices))
    grouped = bool((files.group[indices] >= 0).any())
    return Part(files.labels[indices].astype(np.int64), samples, grouped, None if fold is None else fold[indices])
