"""MNIST and data sets in its format (IDX: a magic number, the sizes, the bytes): Fashion-MNIST and KMNIST."""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imageclf.datasets.source import Arrays, Entry, PinnedFile, Source
from imageclf.datasets.web import Web
from imageclf.runtime.errors import Fault

BYTES = 0x08  # the format's code for unsigned bytes
LARGEST = 1_000_000_000  # bytes


def decode(paths: Sequence[Path]) -> Arrays:
    """Decode the four files: images and labels of train, then of test."""
    train_images, train_labels, test_images, test_labels = (read_idx(path) for path in paths)
    return {
        "train_images": train_images[..., None],  # (N, H, W) to (N, H, W, 1)
        "train_labels": train_labels.astype(np.int64),
        "test_images": test_images[..., None],
        "test_labels": test_labels.astype(np.int64),
    }


def read_idx(path: Path) -> np.ndarray:
    """Read one IDX file of unsigned bytes with any number of dimensions.

    Raises:
        Fault: the file has another type, or its length does not match its dimensions.
    """
    try:
        with gzip.open(path) as file:
            zeros, kind, dimensions = struct.unpack(">HBB", file.read(4))
            if zeros or kind != BYTES:
                raise Fault(f"{path.name} is not an IDX file of bytes")
            shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
            count = math.prod(shape)
            content = file.read(min(count, LARGEST) + 1)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise Fault(f"{path.name} is not a complete IDX file in gzip ({error})") from None
    if len(content) != count:
        raise Fault(f"{path.name} holds {len(content):,} values, its header says {count:,}")
    return np.frombuffer(content, np.uint8).reshape(shape)


DIGITS = tuple("0123456789")


def _entry(name: str, classes: tuple[str, ...], folders: list[str], *pins: tuple[int, str]) -> Entry:
    """A data set in MNIST's four files, from any of `folders`; `pins` are the files' sizes and hashes, in order."""
    names = [f"{split}-{part}-ubyte.gz" for split in ("train", "t10k") for part in ("images-idx3", "labels-idx1")]
    files = tuple(PinnedFile(name, size, f"sha256:{sha256}") for name, (size, sha256) in zip(names, pins, strict=True))
    return Entry(name, classes, tuple(Source(Web(folder), files, decode) for folder in folders))


MNIST = _entry(
    "mnist",
    DIGITS,
    ["https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"],
    (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)

FASHION_MNIST = _entry(
    "fashion_mnist",
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    [
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ],
    (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)

KMNIST = _entry(
    "kmnist",
    ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ["https://codh.rois.ac.jp/kmnist/dataset/kmnist/"],
    (18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
    (29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
    (3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
    (5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
)

ENTRIES = (MNIST, FASHION_MNIST, KMNIST)
