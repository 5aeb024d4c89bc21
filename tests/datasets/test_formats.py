import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from imageclf.datasets.builtin import cifar, mnist, stl10, svhn
from imageclf.datasets.source import Arrays
from imageclf.runtime.errors import Fault
from tests.datasets import made


def assert_equal(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype and np.array_equal(found[name], values), name


def test_cifar_is_the_same_from_pickles_and_from_sheets(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(made.pickles())
    (tmp_path / "b").write_bytes(made.sheets())
    assert_equal(cifar.from_pickles([tmp_path / "a"], train=made.TRAIN, test=made.TEST, labels="labels"), made.arrays())
    assert_equal(
        cifar.from_sheets([tmp_path / "b"], train=made.SHEETS[0], test=made.SHEETS[1], labels="p/{}_labels.json"),
        made.arrays(),
    )


def test_cifar_without_its_labels_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(made.pickles())
    with pytest.raises(Fault, match="not as expected"):
        cifar.from_pickles([tmp_path / "a"], train=made.TRAIN, test=made.TEST, labels="fine_labels")


def test_idx_gives_grey_images_and_labels(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(4)]
    for path, content in zip(paths, made.idx_files(), strict=True):
        path.write_bytes(content)
    assert_equal(mnist.decode(paths), made.arrays(28, 1))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no gzip", "not a complete IDX file"),
        (gzip.compress(b"\x00"), "not a complete IDX file"),
        (gzip.compress(bytes(100))[:-9], "not"),
        (gzip.compress(struct.pack(">HBBI", 0, 0x0D, 1, 1) + bytes(4)), "not an IDX file of bytes"),
        (gzip.compress(struct.pack(">HBBI", 0, 8, 1, 5) + bytes(4)), "holds 4 values, its header says 5"),
        (gzip.compress(struct.pack(">HBBI", 0, 8, 1, 5) + bytes(9)), "holds 6 values, its header says 5"),
        (gzip.compress(struct.pack(">HBB4I", 0, 8, 4, *[2**32 - 1] * 4)), "holds 0 values"),
    ],
    ids=["no gzip", "short", "cut", "floats", "few", "many", "huge"],  # not the bytes: gzip writes the time into them
)
def test_a_broken_idx_file_is_a_fault(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(Fault, match=words):
        mnist.read_idx(tmp_path / "x.gz")


def test_stl10_is_turned_upright_and_its_labels_count_from_0(tmp_path: Path) -> None:
    images = made.arrays(96)
    members = []
    for split in ("train", "test"):
        values = images[f"{split}_images"].transpose(0, 3, 2, 1)  # as the file has them: (N, C, W, H)
        members += [(f"stl10_binary/{split}_X.bin", np.ascontiguousarray(values).tobytes())]
        members += [(f"stl10_binary/{split}_y.bin", (images[f"{split}_labels"] + 1).astype(np.uint8).tobytes())]
    (tmp_path / "a").write_bytes(made.tar(*members, ("stl10_binary/unlabeled_X.bin", bytes(1000))))
    assert_equal(stl10.decode([tmp_path / "a"]), images)


def test_svhn_has_its_images_first_and_its_tens_as_noughts(tmp_path: Path) -> None:
    images = made.arrays()
    paths = []
    for split in ("train", "test"):
        labels = images[f"{split}_labels"].astype(np.uint8)
        labels[labels == 0] = 10
        paths.append(tmp_path / f"{split}.mat")
        values = {"X": images[f"{split}_images"].transpose(1, 2, 3, 0), "y": labels[:, None]}
        savemat(paths[-1], values, do_compression=True)
    assert_equal(svhn.decode(paths), images)
