"""Which image goes into which split."""

import numpy as np

from imageclf.randomness import permutation, random_bits

CHOSEN = 1  # the counter that sets the choice of per_class apart from that of the splits
FEW = 1000  # images, of which a tenth would be too few for a test
LEAST = {"test": 8, "val": 25}  # different images of a class from which on it has one there


def choose_validation(labels: np.ndarray, *, fraction: float, seed: int) -> np.ndarray:
    """Pick `fraction` of every class at random; labels int64 (N,) in, bool (N,) out.

    Each class gives its share rounded to the nearest image, so every class is as frequent in both splits.
    """
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = round(fraction * len(members))
        chosen[members[permutation(len(members), seed, int(label))[:count]]] = True
    return chosen


def auto_test_fraction(images: int) -> float:
    """What `prepare.test_fraction: auto` means for so many own images."""
    return 0.2 if images < FEW else 0.1


def split_by_content(
    contents: np.ndarray, given: np.ndarray, labels: np.ndarray, *, val_fraction: float, test_fraction: float, seed: int
) -> np.ndarray:
    """The split of each image, by what it shows: contents uint64 (N,), given splits and labels (N,), splits (N,) out.

    An image's place hangs on nothing but its own content: more images move none, equal ones stay together, and each
    class gets its share up to chance. Where chance leaves a class of 8 images without one in the test, a class of 25
    without one in validation, or any without one in training, the image that is nearest by its place goes there: it is
    the only one that others can move. Given splits stay; what is not given is cut from the rest, which is training.
    """
    place = random_bits(seed, contents) / 2.0**64  # in [0, 1]
    test_until = 0.0 if "test" in given else test_fraction
    val_until = test_until if "val" in given else test_until + val_fraction
    cut = np.where(place < test_until, "test", np.where(place < val_until, "val", "train"))
    held_out = (given == "val") | (given == "test")
    asked = {"test": test_until > 0, "val": val_until > test_until}
    least = {split: number for split, number in LEAST.items() if asked[split]}
    classes, numbers = np.unique(labels, return_inverse=True)
    for number in range(len(classes)):
        members = np.flatnonzero((numbers == number) & ~held_out)
        cut[members] = _completed(cut[members], place[members], least)
    return np.where(held_out, given, cut)


def _completed(cut: np.ndarray, place: np.ndarray, least: dict[str, int]) -> np.ndarray:
    """The splits (n,) of a class by chance, completed: one of `least` from so many different images on, and training.

    Images of the same place (n,) are the same.
    """
    cut, different = cut.copy(), len(np.unique(place))
    for split, number in least.items():  # the test first, which may take the only image from validation
        free = place[cut != "test"]
        if split not in cut and different >= number and len(free):
            cut[place == free.min()] = split
    if different and "train" not in cut:
        cut[place == place.max()] = "train"
    return cut


def few_of_each(labels: np.ndarray, keys: np.ndarray | None, *, count: int | None, seed: int) -> np.ndarray:
    """At most `count` of every class, or all: labels int64 (N,) in, bool (N,) out.

    Which ones is up to `keys` uint64 (N,), what the images show, or without them to their places.
    """
    if count is None:
        return np.ones(len(labels), bool)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if keys is None:
            order = permutation(len(members), seed, int(label), CHOSEN)
        else:
            order = np.argsort(random_bits(seed, keys[members], CHOSEN), kind="stable")
        chosen[members[order[:count]]] = True
    return chosen
