"""The words by which people call the splits of a data set, as folders and in tables."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

SPLITS = {
    word: split
    for split, words in {
        "train": "train training trn tr trainval trainvalid trainvalidation",
        "val": "val valid validation validate vld dev development eval evaluation",
        "test": "test testing tst ts te holdout heldout",
    }.items()
    for word in words.split()
}
AROUND = {
    *("set", "data", "dataset", "split", "subset", "partition", "folder", "dir", "seg", "x", "y", "final", "raw"),
    *("image", "images", "img", "imgs", "picture", "pictures", "pic", "pics", "photo", "photos", "sample", "samples"),
}
JOINED = re.compile(r"(?:x|seg|img|images?)?(.+?)(?:set|data|images?|imgs|folder|split)?")  # xtrain, trainset
TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_A-Za-z]+")  # of TrainImages, imagesTr, TRAIN_512


def split_of(name: str) -> str:
    """train, val or test, where `name` says that and no more; else empty."""
    split, rest = _told(name)
    return "" if rest else split


def splits_of(names: Sequence[str]) -> dict[str, str]:
    """The split of each name that says one, be it beside a word that several share (mnist_train, mnist_test)."""
    told = {name: _told(name) for name in names}
    beside = defaultdict(set)
    for split, rest in told.values():
        beside[rest].add(split)
    return {name: split for name, (split, rest) in told.items() if split and (not rest or len(beside[rest] - {""}) > 1)}


def subject_of(name: str) -> str:
    """What a name says beside its split: the empty string for a mere split, or for a mere wrapping (images, data)."""
    return _told(name)[1]


def _told(name: str) -> tuple[str, str]:
    """The split that a name says, if it says one, and what it says besides."""
    words = [word.lower() for word in TOKEN.findall(unicodedata.normalize("NFKC", name))]
    words = [word for word in words if word not in AROUND]
    whole = _split("".join(words))
    if whole:
        return whole, ""
    said = [word for word in words if _split(word)]
    if len(said) != 1:
        return "", " ".join(words)
    return _split(said[0]), " ".join(word for word in words if word != said[0])


def _split(word: str) -> str:
    joined = JOINED.fullmatch(word)
    return SPLITS.get(word) or (SPLITS.get(joined[1], "") if joined else "")
