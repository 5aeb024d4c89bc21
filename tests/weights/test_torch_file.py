"""Files of torch.save are read without torch.load: every tensor right, nothing else made, faults in one sentence."""

import argparse
import io
import pickle
import random
import tracemalloc
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from imageclf.runtime.errors import DataError
from imageclf.weights.matching import is_in_order, read_weights


def written(path: Path, content: Any, *, zipped: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def of_many_kinds() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    plain = torch.randn(4, 3, 2, 5, generator=generator)
    return {
        "plain": plain,
        "channels_last": plain.to(memory_format=torch.channels_last),
        "part": plain[1:3, :, 1],
        "turned": plain[0, 0].t(),
        "scalar": torch.tensor(7),
        "none": torch.empty(0, 3),
        "half": plain.half(),
        "bfloat16": plain.bfloat16(),
        "double": plain.double(),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "bools": torch.tensor([True, False]),
        "complex": torch.tensor([1 + 2j]),
        "parameter": nn.Parameter(plain[0].clone()),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_come_as_they_were_saved(tmp_path: Path, zipped: bool) -> None:
    saved = of_many_kinds()
    found = read_weights(written(tmp_path / "x.pth", saved, zipped=zipped))[""]
    assert list(found) == list(saved)
    assert is_in_order(tmp_path / "x.pth")
    for name, tensor in saved.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor.detach()), name


class Settings:
    """Any class of a training script's, with what pickles of classes can have."""

    def __init__(self) -> None:
        self.weights = torch.zeros(3)
        self.when = datetime(2020, 1, 1, tzinfo=UTC)

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("made")


class Words(list[str]):
    """Pickled with its items beside it."""


def everything_else() -> dict[str, Any]:
    return {
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, device=torch.device("cpu"), dtype=torch.float32, size=torch.Size([3])),
        "best": np.float64(0.9),
        "confusion": np.eye(3),
        "hyper_parameters": {"folder": Path("/x"), "when": datetime(2020, 1, 1, tzinfo=UTC)},
        "callbacks": {Settings: Settings(), Words(["a"]).__class__: Words(["a"])},
        "names": {"cat", "dog"},
        "counts": Counter("abc"),
        "by_name": defaultdict(list, a=[1]),
        "rng": torch.get_rng_state(),
        "nothing": None,
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_what_lies_beside_the_tensors_is_not_made(tmp_path: Path, zipped: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    state = network.state_dict()
    content = everything_else() | {
        "optimizer": optimizer.state_dict(),
        "lr_schedulers": [{"last": torch.ones(1)}],
        "nested": {"nets": {"student": state}},
        "ema": OrderedDict((name, tensor + 1) for name, tensor in state.items()),
    }
    found = read_weights(written(tmp_path / "x.pth", content, zipped=zipped))
    assert list(found) == ["", "nested.nets.student", "ema"]
    assert list(found[""]) == ["rng"]
    for name, tensor in state.items():
        assert torch.equal(found["nested.nets.student"][name], tensor)
        assert torch.equal(found["ema"][name], tensor + 1)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_pickled_network_is_the_dict_of_its_tensors(tmp_path: Path, zipped: bool) -> None:
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Linear(2, 2))
    for content, where in ((network, ""), ({"epoch": 1, "ema": network}, "ema")):
        found = read_weights(written(tmp_path / "x.pth", content, zipped=zipped))
        assert list(found) == [where]
        assert list(found[where]) == list(network.state_dict())
        assert all(torch.equal(found[where][name], tensor) for name, tensor in network.state_dict().items())


NO_WEIGHTS = {
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "float8": lambda: torch.ones(2).to(torch.float8_e4m3fn),
    "uint16": lambda: torch.ones(2, dtype=torch.uint16),
    "conjugate": lambda: torch.ones(2, dtype=torch.complex64).conj(),
    "negated": lambda: torch.ones(2, dtype=torch.complex64).conj().imag,
}


@pytest.mark.filterwarnings("ignore:torch.quantize")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("make", NO_WEIGHTS.values(), ids=NO_WEIGHTS)
def test_tensors_of_other_kinds_are_skipped(tmp_path: Path, make: Callable[[], Tensor], zipped: bool) -> None:
    path = written(tmp_path / "x.pth", {"other": make(), "a": torch.arange(3.0)}, zipped=zipped)
    (found,) = read_weights(path).values()
    assert list(found) == ["a"]
    assert torch.equal(found["a"], torch.arange(3.0))


class Typed(Tensor):
    """As fastai's, whose buffers come out of training as such."""


def test_tensors_of_a_subclass_and_parameters_with_state_are_tensors(tmp_path: Path) -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter.note = "kept beside it"  # type: ignore[attr-defined]
    saved = {"typed": torch.ones(2).as_subclass(Typed), "noted": parameter}
    found = read_weights(written(tmp_path / "x.pth", saved, zipped=True))[""]
    assert {name: type(tensor) for name, tensor in found.items()} == {"typed": Tensor, "noted": Tensor}


def test_safetensors_are_told_by_their_content(tmp_path: Path) -> None:
    save_file({"model.a": torch.ones(2)}, tmp_path / "x.pth")
    assert torch.equal(read_weights(tmp_path / "x.pth")[""]["model.a"], torch.ones(2))
    assert not is_in_order(tmp_path / "x.pth")


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("canary"),)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_a_pickle_asks_for_is_not_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "x.pth", {"a": torch.ones(2), "b": Evil()}, zipped=zipped)
    assert list(read_weights(path)[""]) == ["a"]
    assert not Path("canary").exists()


CALL = b"cos\nmkdir\n"  # GLOBAL: pushes the function
ATTACKS = {
    "reduce": CALL + b"(X\6\0\0\0canarytR",
    "newobj": CALL + b"(X\6\0\0\0canaryt\x81",
    "newobj_ex": CALL + b"(X\6\0\0\0canaryt}\x92",
    "obj": b"(" + CALL + b"X\6\0\0\0canaryo",
    "inst": b"(X\6\0\0\0canaryios\nmkdir\n",
    "stack_global": b"X\2\0\0\0osX\5\0\0\0mkdir\x93(X\6\0\0\0canarytR",
    "build": CALL + b"}X\x0c\0\0\0__setstate__" + CALL + b"sb(X\6\0\0\0canarytR",
    "items": CALL + b"(X\6\0\0\0canaryX\1\0\0\0ae",
    "a method": b"c__builtin__\ngetattr\n(cos\npath\nX\4\0\0\0jointR(X\6\0\0\0canarytR",
    "dotted": b"\x80\4cposixpath\nos.mkdir\n(X\6\0\0\0canarytR",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_opcode_calls_imports_or_changes_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "x.pth", {"a": torch.zeros(2, 3)}, zipped=True)
    tensor = described((3, 2), (1, 3)).removeprefix(b"\x80\2").removesuffix(b".")
    content = b"\x80\2(" + attack + tensor + b"l"  # a list of the two; a list is not looked through
    with pytest.raises(DataError, match="holds no tensors by name"):
        read_weights(changed_archive(path, {"data_pkl": content + b"."}))
    beside = b"\x80\2}X\1\0\0\0b" + attack + b"sX\1\0\0\0c" + tensor + b"s."
    assert list(read_weights(changed_archive(path, {"data_pkl": beside}))) == ["c"]
    assert not Path("canary").exists()


DICTS = b"ccollections\nOrderedDict\n"
BOMBS = {
    "extension": b"\x82\1.",
    "bytearray": b"\x96" + (2**40).to_bytes(8, "little") + b".",
    "huge memo": b"}r\xff\xff\xff\x7f0}q\xff0j\xff\xff\xff\x7f.",
    "nested lists": b"]" + b"(" * 10_000 + b"l" * 10_000 + b".",
    "doubled tuples": b"N" + b"2\x86" * 60 + b".",
    "copied dicts": b"(]q\0(" + b"]K\1aK\2a" * 1000 + b"e" + (DICTS + b"(h\0tR") * 20_000 + b"l.",
    "long": b"\x8b\xff\xff\xff\x7f.",
    "string": b"\x8d" + (2**40).to_bytes(8, "little") + b".",
    "module": b"(X\7\0\0\0unknownNNNNtQ.",
    "dict of storages": b"}(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0aNK\6tQK\1s.",
    "no storage": b"ctorch._utils\n_rebuild_tensor_v2\n(NK\0))ttR.",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_ends_in_one_sentence_and_little_memory(tmp_path: Path, bomb: bytes) -> None:
    path = written(tmp_path / "x.pth", {"a": torch.zeros(2, 3)}, zipped=True)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"is broken|holds no|has a"):
        read_weights(changed_archive(path, {"data_pkl": b"\x80\2" + bomb}))
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.ones(2)], r"holds no tensors by name; save its state_dict\(\) instead"),
        ({}, "holds no tensors by name"),
        ({"lr": 0.1, 3: torch.ones(2)}, "holds no tensors by name"),
        (argparse.Namespace(lr=0.1), r"holds no tensors by name \(it is argparse\.Namespace\); save its"),
    ],
)
def test_other_content_is_named(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_weights(written(tmp_path / "x.pth", content, zipped=True))


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_program_is_named(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"x\.pt is a program or another archive, not what torch\.save wrote; save its"):
        read_weights(tmp_path / "x.pt")


def changed_archive(path: Path, members: dict[str, bytes], *, compress: bool = False) -> Path:
    """The archive at `path` with some members (named by their last part) replaced."""
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(path.with_name("changed.pth"), "w", kind) as new:
        for name in old.namelist():
            new.writestr(name, members.get(name.rpartition("/")[2].replace(".", "_"), old.read(name)))
    return path.with_name("changed.pth")


def described(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    """A pickle of {"a": tensor}, the tensor of this shape over the six floats of storage 0."""

    class Storage:
        pass

    class Rebuilt:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, shape, strides, False, OrderedDict())

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", 6) if isinstance(thing, Storage) else None

    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump({"a": Rebuilt()})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((7,), (1,), 0),
        ((2, 3), (4, 1), 0),
        ((2,), (1,), 5),
        ((2,), (-1,), 3),
        ((-2,), (1,), 0),
        ((1000, 1000), (0, 0), 0),
    ],
)
def test_a_tensor_stays_in_its_storage(
    tmp_path: Path, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> None:
    path = written(tmp_path / "x.pth", {"a": torch.zeros(2, 3)}, zipped=True)
    assert torch.equal(
        read_weights(changed_archive(path, {"data_pkl": described((3, 2), (1, 3))}))[""]["a"], torch.zeros(3, 2)
    )
    with pytest.raises(DataError, match="reaches beyond its storage"):
        read_weights(changed_archive(path, {"data_pkl": described(shape, strides, offset)}))


def test_storages_of_another_size_compression_and_byte_order_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.pth", {"a": torch.zeros(2, 3)}, zipped=True)
    with pytest.raises(DataError, match="has 20 bytes where 6 numbers should be"):
        read_weights(changed_archive(path, {"0": bytes(20)}))
    with pytest.raises(DataError, match="compressed data"):
        read_weights(changed_archive(path, {}, compress=True))
    with pytest.raises(DataError, match="bytes in another order"):
        read_weights(changed_archive(path, {"byteorder": b"big"}))


def test_a_wrapper_that_doubles_itself_ends(tmp_path: Path) -> None:
    bomb: dict[str, Any] = {"a": torch.ones(1)}
    for _ in range(60):
        bomb = {"a": bomb, "b": bomb}
    with pytest.raises(DataError, match="holds no tensors by name"):
        read_weights(written(tmp_path / "x.pth", bomb, zipped=True))


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04 and no more", b"\x80\x02", b"<html>", b"\x00" * 100])
def test_files_that_are_something_else_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.pth is (neither|broken)"):
        read_weights(tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"nowhere\.pth is not a file"):
        read_weights(tmp_path / "nowhere.pth")


def test_a_pointer_of_git_lfs_and_a_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(DataError, match="is a Git LFS pointer; run git lfs pull"):
        read_weights(tmp_path / "x.pth")
    with pytest.raises(DataError, match="is a folder, not a file in it"):
        read_weights(tmp_path)


@pytest.mark.parametrize("kind", ["zip", "row", "safetensors"])
def test_200_mutated_files_never_crash(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.pth"
    tensors = {f"layer.{number}.weight": torch.randn(number + 1, 3) for number in range(5)}
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        written(path, OrderedDict(tensors), zipped=kind == "zip")
    whole, chance, refused = path.read_bytes(), random.Random(0), 0
    for number in range(200):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        if number % 4 == 0:
            content = content[: chance.randrange(len(content))]
        path.write_bytes(content)
        try:
            found = read_weights(path)
            assert all(isinstance(tensor, Tensor) for tensors in found.values() for tensor in tensors.values())
        except DataError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50
