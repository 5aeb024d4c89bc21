"""Near-copies: crops, mirrored, resized, re-encoded and slightly brighter copies, and what becomes of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imageclf.images.checks import ALL, LEFT_OUT, RANK, USED, Finding
from imageclf.images.dataset import SPLITS
from imageclf.images.likeness import MOST, crops_for, find_alike
from imageclf.images.manifest import Files
from imageclf.images.pairs import Pair
from imageclf.images.splits import NONE
from imageclf.images.verification import NearCopy, is_whole, verify

VERIFIED = 2_000  # pairs, at most: the most alike
SHAPE = 1.03  # ratio of shapes from which a copy is called distorted
SHOWN = 40  # pairs on the sheet
NOT_USED = (*SPLITS, "not used")  # by the place of a split


@dataclass(frozen=True)
class NearCopies:
    """The pairs, surest first; sizes int (N, 2) are the width and height of each file's picture."""

    files: Files
    pictures: np.ndarray  # int32 (N,), equal for copies
    sizes: np.ndarray
    pairs: list[NearCopy]
    views: dict[int, np.ndarray]  # uint8 (H, W, 3), stretched, of the files in pairs
    limits: list[str]  # what was not searched, a sentence each

    def sets(self) -> list[list[int]]:
        """The files that are near-copies of each other, directly or through others, by index."""
        joined = _Joined()
        for pair in self.pairs:
            joined.join([pair.whole, pair.part])
        return joined.sets()

    def kind(self, pair: NearCopy) -> str:
        """What the part is of the whole."""
        high, wide = pair.box[1] - pair.box[0], pair.box[3] - pair.box[2]
        (width, height), (across, down) = self.sizes[[pair.whole, pair.part]].tolist()
        shape = (across * height * high) / (down * width * wide)
        if not is_whole(pair.box):
            kind = "crop"
        elif max(shape, 1 / shape) > SHAPE:
            kind = "distorted copy"
        else:
            kind = "resized copy" if (width, height) != (across, down) else "re-encoded copy"
        return f"mirrored {kind}" if pair.mirrored else kind

    def two_labels(self, index: int, other: int) -> str:
        """Words on the labels of a file and of another, if they differ; else empty."""
        own, of_other = self.files[index].label, self.files[other].label
        return f"; it is labelled {own}, and the other {of_other}" if own != of_other else ""

    def worth(self, index: int) -> tuple[int, int, int, int]:
        """Which of a set is kept, the highest: one of a held-out split, of most pixels, of most bytes, of the lowest
        sha256.
        """
        files = self.files
        pixels, content = int(self.sizes[index].prod()), files[index].size
        return int(RANK[files.given[index]]), pixels, content, -int(files.sha256[index])


class _Joined:
    """Numbers in sets that grow together."""

    def __init__(self) -> None:
        self._first = dict[int, int]()

    def first_of(self, number: int) -> int:
        """The number that stands for the set."""
        while self._first.setdefault(number, number) != number:
            number = self._first[number]
        return number

    def join(self, numbers: Iterable[int]) -> None:
        """Make one set of those of the numbers."""
        lowest, *others = sorted({self.first_of(number) for number in numbers})
        self._first |= dict.fromkeys(others, lowest)

    def sets(self) -> list[list[int]]:
        """All sets, each ascending."""
        sets = defaultdict[int, list[int]](list)
        for number in sorted(self._first):
            sets[self.first_of(number)].append(number)
        return list(sets.values())


def find_near_copies(
    files: Files,
    sketches: np.ndarray | None,
    pictures: np.ndarray,
    sizes: np.ndarray,
    *,
    window: Sequence[int] | None,
    folder: Path,
    workers: int,
) -> NearCopies:
    """Search the files for near-copies, and verify them in `folder`.

    In: sketches uint8 (N, SKETCH, SKETCH), or None for more than MOST files, which are not searched; `pictures`
    int32 (N,) with an equal number for copies, -1 for a file that is not used; and sizes int (N, 2). Of copies only
    the first file is compared.

    Raises:
        DataError: a file has changed since download.
    """
    near = NearCopies(files, pictures, sizes, [], {}, [])
    if sketches is None:
        near.limits.append(f"not looked for among {len(files):,} files; {MOST:,} are the most")
        return near
    numbers, first = np.unique(pictures, return_index=True)
    first = np.sort(first[numbers >= 0])
    crops = crops_for(len(first))
    if len(crops) < len(crops_for(0)):
        missed = "some small crops are missed" if len(crops) > 1 else "only crops that cut off little are found"
        near.limits.append(f"among {len(first):,} pictures, {missed}")
    found = find_alike(sketches, first, crops, threads=workers)
    if len(found.part) > VERIFIED:
        near.limits.append(f"of {len(found.part):,} pairs that look alike, {VERIFIED:,} were verified")
        found = found.at(slice(VERIFIED))
    pairs, views = verify(files, found, sizes, window=window, folder=folder, workers=workers)
    pairs.sort(key=lambda pair: (-pair.correlation, pair.whole, pair.part))
    near.pairs.extend(_turned(pair, near) for pair in pairs)
    near.views.update((index, views[index]) for pair in near.pairs for index in (pair.whole, pair.part))
    return near


def _turned(pair: NearCopy, near: NearCopies) -> NearCopy:
    """The pair with the lesser picture as the part, if each shows the whole of the other."""
    if near.kind(pair).endswith("crop") or near.worth(pair.whole) > near.worth(pair.part):
        return pair
    return replace(pair, whole=pair.part, part=pair.whole)


def tied(
    contents: np.ndarray, near: NearCopies, sound: np.ndarray, *, unit: np.ndarray, given: np.ndarray
) -> np.ndarray:
    """The hashes of contents uint64 (n,), one for all of a set of near-copies, so that they come to one split.

    In: `sound` bool (N,), which n of the files are used; their units and given splits (n,). Sets whose units are given
    to several splits stay apart.
    """
    place = np.cumsum(sound) - 1  # among the sound files
    held = defaultdict[int, set[int]](set)
    for number, split in zip(unit[given != NONE].tolist(), given[given != NONE].tolist(), strict=True):
        held[number].add(split)
    units, (different, copies) = _Joined(), np.unique(contents, return_inverse=True)
    lowest = different.copy()
    for indices in near.sets():
        places = place[[index for index in indices if sound[index]]]
        numbers = {units.first_of(number) for number in unit[places].tolist()}
        splits = set[int]().union(*(held[number] for number in numbers))
        if len(splits) < 2:
            units.join(numbers)
            held[min(numbers)] = splits
            lowest[copies[places]] = different[copies[places]].min()
    return lowest[copies]


def superfluous(near: NearCopies) -> dict[int, Finding]:
    """All but the best of each set of near-copies, and their copies, by the index of the file."""
    files, found = near.files, dict[int, Finding]()
    for indices in near.sets():
        kept = max(indices, key=near.worth)
        words = {index: f"through other near-copies, of {files[kept].path}" for index in indices if index != kept}
        for pair in near.pairs:
            if pair.whole == kept:
                words[pair.part] = f"{near.kind(pair)} of {files[kept].path}"
            elif pair.part == kept:
                words[pair.whole] = f"{files[kept].path} is a {near.kind(pair)} of it"
        for index in words:
            words[index] += near.two_labels(index, kept)
        for index, what in words.items():
            for copy in np.flatnonzero(near.pictures == near.pictures[index]).tolist():
                found[copy] = Finding(files[copy].path, "near-copy", what, LEFT_OUT)
    return found


def _across(pair: NearCopy, split: np.ndarray) -> bool:
    """Whether both pictures are used, in different splits."""
    one, other = int(split[pair.whole]), int(split[pair.part])
    return one != other and NONE not in (one, other)


def near_findings(near: NearCopies, split: np.ndarray, *, advice: str) -> list[Finding]:
    """A line on all pairs, and one on each whose pictures are both used; `split` int8 (N,) is the place in SPLITS.

    `advice` says what to do about pairs across splits.
    """
    files, findings = near.files, [Finding(ALL, "near-copies", words, USED) for words in near.limits]
    used = [pair for pair in near.pairs if max(split[pair.whole], split[pair.part]) != NONE]
    torn = [pair for pair in near.pairs if near.two_labels(pair.part, pair.whole)]
    apart = [pair for pair in used if _across(pair, split)]
    for pair in used:
        part, whole, across = files[pair.part], files[pair.whole], _across(pair, split)
        words = f"{near.kind(pair)} of {whole.path}"
        if across:
            words += f", which is in {SPLITS[split[pair.whole]]}, and this in {SPLITS[split[pair.part]]}"
        words += near.two_labels(pair.part, pair.whole)
        findings.append(Finding(part.path, "near-copy", words, USED, leads=across))
    if apart:
        words = (
            f"{len(apart):,} of {_pairs(len(near.pairs))} across splits, such as {files[apart[0].part].path} and "
            f"{files[apart[0].whole].path}, may make the score too high; look at metrics/near_copies.png, and {advice}"
        )
        findings.insert(0, Finding(ALL, "near-copies", words, USED, leads=True))
    elif near.pairs:
        left = len(near.pairs) - len(used)
        words = f"{left:,} of them with a picture that is not used" if left else "none lies across splits"
        words = f"{_pairs(len(near.pairs))}, {words}; metrics/near_copies.png shows them"
        findings.insert(0, Finding(ALL, "near-copies", words, USED, leads=True))
    if torn:
        part, whole = files[torn[0].part], files[torn[0].whole]
        words = (
            f"{_pairs(len(torn))} with two labels, such as {part.path} ({part.label}) and {whole.path} "
            f"({whole.label}); one of the two is wrong, or both classes are on the picture"
        )
        findings.insert(1, Finding(ALL, "near-copies", words, USED, leads=True))
    return findings


def _pairs(number: int) -> str:
    return f"{number:,} pair{'s' * (number != 1)}"


def shown_pairs(near: NearCopies, split: np.ndarray) -> tuple[str, list[Pair]]:
    """The title of the sheet of near-copies, and its pairs: those across splits first. `split` as for near_findings."""
    pairs = sorted(near.pairs, key=lambda pair: (not _across(pair, split), not near.two_labels(pair.part, pair.whole)))
    sheet = [
        Pair(
            (np.array(near.views[pair.whole]), np.array(near.views[pair.part])),
            (near.sizes[pair.whole].tolist(), near.sizes[pair.part].tolist()),
            near.kind(pair) + (", two labels" if near.two_labels(pair.part, pair.whole) else ""),
            (near.files[pair.whole].path, near.files[pair.part].path),
            (NOT_USED[split[pair.whole]], NOT_USED[split[pair.part]]),
            _across(pair, split) or bool(near.two_labels(pair.part, pair.whole)),
        )
        for pair in pairs[:SHOWN]
    ]
    if not pairs:
        return "No near-copies; metrics/data_report.csv lists exact ones, if there are any", []
    number = sum(_across(pair, split) for pair in pairs)
    of = f"The first {SHOWN} of {len(pairs):,} pairs of near-copies" if len(pairs) > SHOWN else _pairs(len(pairs))
    return f"{of}; {number:,} across splits" + (", which come first" if number else ""), sheet
