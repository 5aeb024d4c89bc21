"""Tiny files in the formats of the built-in data sets, all with the same images."""

import gzip
import io
import json
import pickle
import struct
import tarfile
from functools import partial

import numpy as np
from PIL import Image

from imageclf.datasets.builtin import cifar, mnist
from imageclf.datasets.source import Arrays, Entry, Source
from imageclf.datasets.web import Npm, Web
from tests.datasets.loopback import pinned

TRAIN, TEST = ("a/batch_1", "a/batch_2"), ("a/test",)
SHEETS = ("p/batch_1.png", "p/batch_2.png"), ("p/test.png",)


def arrays(side: int = 32, channels: int = 3) -> Arrays:
    """10 images to train on and 4 to test on."""
    values = np.random.default_rng(0).integers(0, 256, (14, side, side, channels), np.uint8)
    labels = np.arange(14, dtype=np.int64) * 3 % 8
    return {
        "train_images": values[:10],
        "train_labels": labels[:10],
        "test_images": values[10:],
        "test_labels": labels[10:],
    }


def tar(*members: tuple[str | tarfile.TarInfo, bytes]) -> bytes:
    """A .tar.gz, the same bytes each time."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            if member.isreg():
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def pickles() -> bytes:
    """The official archive's form: pickles of planes (N, 3 * 32 * 32) and lists of labels, training in two."""
    made = arrays()
    planes = {split: made[f"{split}_images"].transpose(0, 3, 1, 2).reshape(-1, 3072) for split in ("train", "test")}
    parts = [
        (TRAIN[0], planes["train"][:5], made["train_labels"][:5]),
        (TRAIN[1], planes["train"][5:], made["train_labels"][5:]),
        (TEST[0], planes["test"], made["test_labels"]),
    ]
    return tar(
        ("a/readme.html", b"<html>"),
        *((name, pickle.dumps({"data": data, "labels": labels.tolist()}, 2)) for name, data, labels in parts),
    )


def sheets() -> bytes:
    """The npm package's form: PNG sheets, an image a row, and JSON lists of labels."""
    made = arrays()
    images = [made["train_images"][:5], made["train_images"][5:], made["test_images"]]
    members = []
    for name, part in zip((*SHEETS[0], *SHEETS[1]), images, strict=True):
        png = io.BytesIO()
        Image.fromarray(part.reshape(len(part), 1024, 3)).save(png, "PNG")
        members.append((name, png.getvalue()))
    labels = [
        (f"p/{split}_labels.json", json.dumps(made[f"{split}_labels"].tolist()).encode()) for split in ("train", "test")
    ]
    return tar(*members, *labels)


def idx_files() -> list[bytes]:
    """MNIST's four files, of 28 x 28 grey images."""
    made = arrays(28, 1)
    parts = [made["train_images"][..., 0], made["train_labels"], made["test_images"][..., 0], made["test_labels"]]
    return [gzip.compress(idx_bytes(part.astype(np.uint8)), mtime=0) for part in parts]


def idx_bytes(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def cifar_entry(official: Web, npm: Npm) -> Entry:
    """CIFAR-10's entry in small: the archive of pickles, else the package of sheets."""
    return Entry(
        "cifar10",
        tuple("abcdefghij"),
        (
            Source(
                official,
                (pinned("official.tar.gz", pickles()),),
                partial(cifar.from_pickles, train=TRAIN, test=TEST, labels="labels"),
            ),
            Source(
                npm,
                (pinned("package.tgz", sheets()),),
                partial(cifar.from_sheets, train=SHEETS[0], test=SHEETS[1], labels="p/{}_labels.json"),
            ),
        ),
    )


def mnist_entry(*folders: Web) -> Entry:
    names = ("train-images.gz", "train-labels.gz", "test-images.gz", "test-labels.gz")
    files = tuple(map(pinned, names, idx_files()))
    return Entry("mnist", tuple("0123456789"), tuple(Source(folder, files, mnist.decode) for folder in folders))
