"""Tensors from a file that torch.save wrote, without torch.load: nothing that it asks for is called.

Both of PyTorch's formats are read: the zip archive (from 1.6 on), and the older row of pickles and raw storages; the
layouts are those of torch/serialization.py.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import torch
from torch import Tensor

from stages.sources.fault import Fault

Bytes = bytearray | memoryview
LARGEST_PICKLE = 64_000_000  # bytes; names and shapes of a million tensors
WRAPPERS = ("state_dict", "model")  # keys under which training scripts keep the tensors
DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Storage(NamedTuple):
    """A row of `length` numbers that tensors lie in."""

    dtype: torch.dtype
    key: str
    length: int


class View(NamedTuple):
    """A tensor as the pickle describes it; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _view(storage: Storage, offset: int, shape: Any, strides: Any, *_: object) -> View:
    return View(storage, offset, tuple(shape), tuple(strides))


def _parameter(view: View, *_: object) -> View:
    return view


ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): dict,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch", name): dtype for name, dtype in DTYPES.items()},
}


# The one in Python: its memo cannot be blown up, and its opcodes can be taken out.
class _TensorUnpickler(pickle._Unpickler):
    dispatch: ClassVar = {
        code: load for code, load in pickle._Unpickler.dispatch.items() if code not in pickle.BUILD + pickle.BYTEARRAY8
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise Fault(f"asks for {module}.{name}, which is forbidden: only tensors are read") from None

    def persistent_load(self, pid: Any) -> Storage:
        kind, dtype, key, _, length = pid[:5]
        if kind != "storage" or not isinstance(dtype, torch.dtype) or any(pid[5:]):
            raise Fault("has a storage of an unknown kind")
        return Storage(dtype, str(key), int(length))

    def _without_state(self) -> None:
        # BUILD sets attributes; a dict of tensors has none that matter.
        self.stack.pop()  # type: ignore[attr-defined]

    dispatch[pickle.BUILD[0]] = _without_state  # type: ignore[assignment]


def read_torch_file(path: Path) -> dict[str, Tensor]:
    """The tensors by name; a dict around theirs, under `state_dict` or `model`, is taken off.

    Raises:
        Fault: it holds or asks for anything else, or is broken; the message stands after the file's name.
    """
    try:
        with path.open("rb") as file:
            content, storages = _read_zip(file) if file.read(2) == b"PK" else _read_row(file)
        return {name: _tensor(view, storages) for name, view in _views(content).items()}
    except Fault:
        raise
    except Exception as error:  # no closed list says what a broken zip or pickle raises
        raise Fault(f"is broken, or no file that PyTorch wrote ({type(error).__name__})") from None


def _read_zip(file: BinaryIO) -> tuple[Any, Mapping[str, Bytes]]:
    with zipfile.ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
            raise Fault("holds compressed data, which PyTorch does not write")
        if sum(member.file_size for member in members.values()) > file.seek(0, io.SEEK_END):
            raise Fault("says that it holds more than it has bytes")
        (main,) = (name for name in members if name.endswith("/data.pkl"))
        above = main.removesuffix("data.pkl")
        if f"{above}byteorder" in members and archive.read(f"{above}byteorder") != b"little":
            raise Fault("has its bytes in another order; save it anew on this kind of machine")
        if members[main].file_size > LARGEST_PICKLE:
            raise Fault("describes more tensors than any network has")
        unpickler = _TensorUnpickler(io.BytesIO(archive.read(main)))
        data = f"{above}data/"
        storages = {name.removeprefix(data): bytearray(archive.read(name)) for name in members if name.startswith(data)}
        return unpickler.load(), storages


def _read_row(file: BinaryIO) -> tuple[Any, Mapping[str, Bytes]]:
    """The older format: three pickles about itself, one of the content, one of the storages' keys, then their bytes."""
    known: dict[str, torch.dtype] = {}

    class Unpickler(_TensorUnpickler):
        def persistent_load(self, pid: Any) -> Storage:
            storage = super().persistent_load(pid)
            known[storage.key] = storage.dtype
            return storage

    file.seek(0)
    row = memoryview(bytearray(file.read()))
    stream = io.BytesIO(row)
    magic, _, machine = (Unpickler(stream).load() for _ in range(3))
    if magic != 0x1950A86A20F9469CFC6C or not machine["little_endian"]:
        raise Fault("is no file that PyTorch wrote on this kind of machine")
    content, keys = Unpickler(stream).load(), Unpickler(stream).load()
    at, storages = stream.tell(), {}
    for key in keys:
        size = int.from_bytes(row[at : at + 8], "little") * known[key].itemsize
        storages[key] = row[at + 8 : at + 8 + size]
        at += 8 + size
    return content, storages


def _views(content: Any) -> dict[str, View]:
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise Fault("holds no tensors by name")
    other = next((name for name, value in content.items() if not isinstance(value, View)), None)
    if other is not None:
        raise Fault(f"holds something else than a tensor under {str(other)[:50]!r}")
    return {str(name): view for name, view in content.items()}


def _tensor(view: View, storages: Mapping[str, Bytes]) -> Tensor:
    """A view into its storage: no copy, so that a small file cannot become large."""
    storage, offset, shape, strides = view
    bytes_there = memoryview(storages[storage.key]).nbytes
    if bytes_there != storage.length * storage.dtype.itemsize:
        raise Fault(f"has {bytes_there:,} bytes where {storage.length:,} numbers should be; it is cut or changed")
    reach = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True)) + 1
    count = math.prod(shape)
    if min(offset, *shape, *strides, 0) < 0 or count > storage.length or (count and reach > storage.length):
        raise Fault("has a tensor that reaches beyond its storage")
    if not count:
        return torch.empty(shape, dtype=storage.dtype)
    return torch.frombuffer(storages[storage.key], dtype=storage.dtype).as_strided(shape, strides, offset)
