"""Files of torch.save are read without torch.load: every tensor right, everything else refused in one sentence."""

import io
import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stages.console.errors import DataError
from stages.model.weights_file import is_in_order, read_weights


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
        "parameter": nn.Parameter(plain[0].clone()),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_come_as_they_were_saved(tmp_path: Path, zipped: bool) -> None:
    saved = of_many_kinds()
    found = read_weights(written(tmp_path / "x.pth", saved, zipped=zipped))
    assert list(found) == list(saved)
    assert is_in_order(tmp_path / "x.pth")
    for name, tensor in saved.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor.detach()), name


@pytest.mark.parametrize("zipped", [True, False])
def test_a_networks_state_and_its_wrappers_are_taken_off(tmp_path: Path, zipped: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    state = OrderedDict((f"module.{name}", tensor) for name, tensor in network.state_dict().items())
    path = written(tmp_path / "x.pth", {"epoch": 3, "loss": 0.5, "state_dict": state}, zipped=zipped)
    assert list(read_weights(path)) == list(network.state_dict())


def test_safetensors_are_told_by_their_content(tmp_path: Path) -> None:
    save_file({"model.a": torch.ones(2)}, tmp_path / "x.pth")
    assert torch.equal(read_weights(tmp_path / "x.pth")["a"], torch.ones(2))
    assert not is_in_order(tmp_path / "x.pth")


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("canary"),)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_a_pickle_asks_for_is_not_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "x.pth", {"a": torch.ones(2), "b": Evil()}, zipped=zipped)
    with pytest.raises(DataError, match=r"x\.pth asks for [\w.]+, which is forbidden: only tensors are read; give"):
        read_weights(path)
    assert not Path("canary").exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"asks for torch\.nn\.modules\.linear\.Linear, which is forbidden"):
        read_weights(written(tmp_path / "x.pth", nn.Linear(2, 2), zipped=True))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"a": torch.ones(2), "lr": 0.1}, "holds something else than a tensor under 'lr'"),
        ([torch.ones(2)], "holds no tensors by name"),
        ({}, "holds no tensors by name"),
    ],
)
def test_other_content_is_named(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_weights(written(tmp_path / "x.pth", content, zipped=True))


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
        read_weights(changed_archive(path, {"data_pkl": described((3, 2), (1, 3))}))["a"], torch.zeros(3, 2)
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
    with pytest.raises(DataError, match="something else than a tensor"):
        read_weights(written(tmp_path / "x.pth", bomb, zipped=True))


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04 and no more", b"\x80\x02", b"<html>", b"\x00" * 100])
def test_files_that_are_something_else_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.pth is (neither|broken)"):
        read_weights(tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"nowhere\.pth is no file"):
        read_weights(tmp_path / "nowhere.pth")


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
            assert all(isinstance(tensor, Tensor) for tensor in read_weights(path).values())
        except DataError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50
