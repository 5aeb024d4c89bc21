import os
import pickle
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imageclf import CODE_FOLDERS
from imageclf.datasets.archives import read_members, unpickle
from imageclf.runtime.errors import Fault
from tests.datasets import made
from tests.imports import ROOT


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_wanted_members_are_read_and_others_left(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(made.tar(("a/x", b"1"), ("../../y", b"2"), ("/etc/z", b"3"), ("a/w", b"4")))
    assert read_members(archive, {"a/x": 1, "a/w": 1}) == {"a/x": b"1", "a/w": b"4"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


@pytest.mark.parametrize(
    ("hostile", "words"),
    [
        ((member("a/x", tarfile.SYMTYPE, "/etc/passwd"), b""), "not a regular file"),
        ((member("a/x", tarfile.LNKTYPE, "/etc/passwd"), b""), "not a regular file"),
        ((member("a/x", tarfile.CHRTYPE), b""), "not a regular file"),
        ((member("a/x", tarfile.FIFOTYPE), b""), "not a regular file"),
        ((member("a/x", tarfile.DIRTYPE), b""), "not a regular file"),
        (("a/x", bytes(1001)), "1,001 bytes, more than 1,000"),
        (("./a/x", b"1"), "a/x is not in it"),
        (("../a/x", b"1"), "a/x is not in it"),
        (("/a/x", b"1"), "a/x is not in it"),
    ],
)
def test_a_hostile_member_is_refused(tmp_path: Path, hostile: Any, words: str) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(made.tar(hostile))
    with pytest.raises(Fault, match=words):
        read_members(archive, {"a/x": 1000})


@pytest.mark.parametrize("content", [b"", b"no gzip at all", made.pickles()[:2000], b"\x1f\x8b" + bytes(100)])
def test_a_broken_archive_is_a_fault(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(Fault):
        read_members(tmp_path / "a.tar.gz", {"a/test": 10**6})


class Evil:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("call", ["system", "popen", "eval", "getattr"])
def test_an_evil_pickle_runs_nothing(tmp_path: Path, call: str, protocol: int) -> None:
    canary = tmp_path / "canary"
    calls = {
        "system": (os.system, f"touch {canary}"),
        "popen": (subprocess.Popen, ["touch", f"{canary}"]),
        "eval": (eval, f"open({str(canary)!r}, 'w')"),
        "getattr": (getattr, "text", "format"),
    }
    with pytest.raises(Fault, match="which is forbidden"):
        unpickle(pickle.dumps({"data": Evil(*calls[call])}, protocol))
    assert not canary.exists()


def test_no_codec_but_latin1_is_looked_up() -> None:
    with pytest.raises(Fault, match="codec zip"):
        unpickle(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.")


@pytest.mark.parametrize("content", [b"", b"\x80\x02", b"text", b"\x80\x02cnumpy\n", b"(lp0\nI1\n", b"\x80\x09."])
def test_a_broken_pickle_is_a_fault(content: bytes) -> None:
    with pytest.raises(Fault, match="is broken"):
        unpickle(content)


def test_arrays_of_python_3_are_read() -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for protocol in range(2, 5):
        found = unpickle(pickle.dumps({"data": values, "labels": [1, 2, 3]}, protocol))
        assert np.array_equal(found["data"], values) and found["labels"] == [1, 2, 3]


def test_arrays_of_python_2_are_read() -> None:
    # As cPickle wrote them in 2009: byte strings, and numpy's old module names.
    data = bytes(range(250, 256))
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x06" + data + b"tb"
    )
    found = unpickle(b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x06K\x09eu.")
    assert found["data"].tolist() == [[250, 251, 252], [253, 254, 255]]
    assert found["labels"] == [6, 9]


def sources() -> list[Path]:
    return [path for folder in CODE_FOLDERS for path in (ROOT / folder).rglob("*.py")]


def test_only_the_two_restricted_readers_know_pickle() -> None:
    knowing = {path.name for path in sources() if "import pickle" in path.read_text()}
    assert knowing == {"torch_file.py", "archives.py"}


def test_nothing_is_extracted() -> None:
    extracting = re.compile(r"\.extract(all)?\(|unpack_archive\(")
    assert not [path.name for path in sources() if extracting.search(path.read_text())]
