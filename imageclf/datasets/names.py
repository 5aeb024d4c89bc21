"""Normalise class names, and recognise the names of splits."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence

# Invisible characters that shape emoji and the letters of some scripts.
JOINERS = "\u200c\u200d"
SHAPING = JOINERS + "\ufe0e\ufe0f"
UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    f"{SHAPING}]"
)
SHOWS = ("<super>", "<sub>", "<circle>", "<fraction>", "<square>")  # compatibility forms that look different


def cleaned(name: str) -> str:
    """A name without surplus white space and invisible characters, its accents in one form."""
    return unicodedata.normalize("NFC", " ".join(UNSEEN.sub(_kept, name).split())).strip(JOINERS)


def look(name: str) -> str:
    """A key that is the same for names that look alike."""
    for same in DIFFERENCES.values():
        name = same(name)
    return name


def difference(one: str, other: str) -> str:
    """In what two names differ that look alike."""
    for kind, same in DIFFERENCES.items():
        if same(one) == same(other):
            return kind
    kinds = []
    for kind, same in DIFFERENCES.items():
        if (same(one), same(other)) != (one, other):
            kinds.append(kind)
        one, other = same(one), same(other)
    return ", and in ".join(kinds)


def _kept(found: re.Match[str]) -> str:
    return found[0] if found[0] in SHAPING else ""


def _one_space(name: str) -> str:
    return " ".join(name.split())


def _shown(name: str) -> str:
    return UNSEEN.sub("", name)


def _one_form(name: str) -> str:
    forms = (
        letter if unicodedata.decomposition(letter).startswith(SHOWS) else unicodedata.normalize("NFKC", letter)
        for letter in unicodedata.normalize("NFC", name)
    )
    return unicodedata.normalize("NFC", "".join(forms))


# How names that look alike may differ, and the function that removes each difference.
DIFFERENCES: dict[str, Callable[[str], str]] = {
    "characters that do not show": _shown,
    "white space": _one_space,
    "Unicode form": _one_form,
    "upper and lower case": str.casefold,
}


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
    """train, val or test if `name` means only that; else empty."""
    split, rest = _parsed(name)
    return "" if rest else split


def splits_of(names: Sequence[str]) -> dict[str, str]:
    """The split in each name, also next to a word that several names have in common (mnist_train, mnist_test)."""
    parsed = {name: _parsed(name) for name in names}
    beside = defaultdict(set)
    for split, rest in parsed.values():
        beside[rest].add(split)
    return {
        name: split for name, (split, rest) in parsed.items() if split and (not rest or len(beside[rest] - {""}) > 1)
    }


def subject_of(name: str) -> str:
    """What a name says besides its split; empty for a plain split or a generic word (images, data)."""
    return _parsed(name)[1]


def _parsed(name: str) -> tuple[str, str]:
    """The split in a name, if any, and the other words."""
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
