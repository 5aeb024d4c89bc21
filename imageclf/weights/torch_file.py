"""Tensors from a file that torch.save wrote, without torch.load: none of its code runs.

A pickle names the classes and functions that make its objects. Those that describe tensors are on a list here; anything
else (settings, optimisers, callbacks, whole networks) becomes an empty stand-in, and is neither imported nor called.

Why not torch.load with weights_only: on the tests' files it reads less and refuses less, even with stand-ins allowed
by safe_globals (torch 2.14.1).
    both read          state dicts, averages, argparse.Namespace, NumPy scalars, whole networks in the zip format
    only this reads    whole networks in the older format, subclasses of Tensor, list and dict; calls are skipped
    only torch reads   quantised, sparse and float8 tensors (skipped here), compressed bombs (400 MB from 0.4 MB)
    neither            runs code, or reads programs, cut files and tensors that reach beyond their storage

Both of PyTorch's formats are read: the zip archive (from 1.6 on), and the older row of pickles and raw storages; the
layouts are those of torch/serialization.py.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import torch
from torch import Tensor

from imageclf.runtime.errors import Fault

Bytes = bytearray | memoryview
LARGEST_PICKLE = 64_000_000  # bytes; names and shapes of a million tensors
DEEPEST = 20  # dicts within one another
MOST_DIMENSIONS = 64  # of a tensor, as in torch
NO_WEIGHTS = ("optim", "scheduler", "lr_scheduler", "scaler")  # how keys begin whose tensors are an optimiser's
SAVE = "save its state_dict() instead: torch.save(model.state_dict(), 'weights.pth')"
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
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    # Only the size of these matters: their tensors are skipped.
    "QInt8Storage": torch.int8,
    "QUInt8Storage": torch.uint8,
    "QInt32Storage": torch.int32,
    "QUInt4x2Storage": torch.uint8,
    "QUInt2x4Storage": torch.uint8,
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


@dataclass(eq=False)
class StandIn:
    """Replaces any other object: its name, and the state it would have been given."""

    name: str  # of its class or function
    state: Any = None

    def ignore(self, *_: object) -> None:
        """Take what a list, a set or a dict would: items are passed over."""

    append = extend = add = __setitem__ = ignore


def _view(
    storage: Storage,
    offset: int,
    shape: Any,
    strides: Any,
    _grad: object = None,
    _hooks: object = None,
    flags: Any = (),
) -> View | StandIn:
    if not isinstance(storage, Storage) or max(len(shape), len(strides)) > MOST_DIMENSIONS:
        raise Fault("has an invalid tensor")
    if flags:
        return StandIn("a conjugate or negated view")
    return View(storage, offset, tuple(shape), tuple(strides))


def _parameter(view: Any, *_: object) -> Any:
    return view


def _of_a_subclass(make: Any, _: object, arguments: Any, *__: object) -> View | StandIn:
    if make is not _view:
        raise Fault("has a tensor of an unknown kind")
    return _view(*arguments)


def _dict(items: Any = None) -> dict[Any, Any]:
    made = dict(items or ())
    if made:
        items.clear()  # used up: a small file could ask for a large copy many times
    return made


TENSORS: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_a_subclass,
    ("collections", "OrderedDict"): _dict,
    **{("torch", name): dtype for name, dtype in DTYPES.items()},
    ("torch.storage", "UntypedStorage"): torch.uint8,  # of newer dtypes, whose tensors are skipped too
}
CALLABLE = (_view, _parameter, _of_a_subclass, _dict)
REMOVED = pickle.BYTEARRAY8 + pickle.EXT1 + pickle.EXT2 + pickle.EXT4  # large from little, and names by number


# The one in Python: its memo cannot be blown up, and its opcodes can be replaced.
class _TensorUnpickler(pickle._Unpickler):
    stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        return TENSORS.get((module, name)) or StandIn(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":
            return pid[1]  # a class, with its source text, which the older format kept beside it
        kind, dtype, key, _, length = pid[:5]
        if kind != "storage" or not isinstance(dtype, torch.dtype) or any(pid[5:]):
            raise Fault("has a storage of an unknown kind")
        return Storage(dtype, str(key), int(length))

    def _make(self, function: Any, arguments: Any) -> None:
        """Every opcode that makes an object ends here, so that nothing beyond CALLABLE is ever called."""
        known = any(function is each for each in CALLABLE)
        self.stack.append(function(*arguments) if known else StandIn(getattr(function, "name", "unknown")))

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        self._make(self.stack.pop(), arguments)

    def _reduce_by_keyword(self) -> None:
        self.stack.pop()
        self._reduce()

    def _call_in_row(self) -> None:
        function, *arguments = self.pop_mark()  # type: ignore[attr-defined]
        self._make(function, arguments)

    def _call_by_name(self) -> None:
        module, name = (self.readline()[:-1].decode() for _ in range(2))  # type: ignore[attr-defined]
        self._make(self.find_class(module, name), self.pop_mark())  # type: ignore[attr-defined]

    def _build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], StandIn):
            self.stack[-1].state = state

    dispatch: ClassVar = {  # type: ignore[assignment]
        code: load for code, load in pickle._Unpickler.dispatch.items() if code not in REMOVED
    } | {
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _reduce,
        pickle.NEWOBJ_EX[0]: _reduce_by_keyword,
        pickle.OBJ[0]: _call_in_row,
        pickle.INST[0]: _call_by_name,
        pickle.BUILD[0]: _build,
    }


def read_torch_file(path: Path) -> dict[str, dict[str, Tensor]]:
    """Every dict of tensors by name, under the keys that lead to it (`state_dict`, `nets.student`; empty: the whole).

    A network that was pickled as a whole counts as the dict of its parameters and buffers.

    Raises:
        Fault: it has no tensors by name, or is broken; the message stands after the file's name.
    """
    try:
        with path.open("rb") as file:
            return _read_zip(file) if file.read(2) == b"PK" else _read_row(file)
    except Fault:
        raise
    except Exception as error:  # no closed list says what a broken zip or pickle raises
        raise Fault(f"is broken, or not a file that PyTorch wrote ({type(error).__name__})") from None


def _read_zip(file: BinaryIO) -> dict[str, dict[str, Tensor]]:
    with zipfile.ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        main = next((name for name in members if name.endswith("/data.pkl")), "")
        above = main.removesuffix("data.pkl")
        if not main or f"{above}constants.pkl" in members:
            raise Fault(f"is a program or another archive, not what torch.save wrote; {SAVE}")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
            raise Fault("holds compressed data, which PyTorch does not write")
        if sum(member.file_size for member in members.values()) > file.seek(0, io.SEEK_END):
            raise Fault("says that it holds more than it has bytes")
        if f"{above}byteorder" in members and archive.read(f"{above}byteorder") != b"little":
            raise Fault("has its bytes in another order; save it again on this kind of machine")
        if members[main].file_size > LARGEST_PICKLE:
            raise Fault("describes more tensors than any network has")
        content = _TensorUnpickler(io.BytesIO(archive.read(main))).load()
        # Only now, and only what is wanted: an optimiser can have twice as many numbers as its network.
        return _tensors(content, lambda key: bytearray(archive.read(f"{above}data/{key}")))


def _read_row(file: BinaryIO) -> dict[str, dict[str, Tensor]]:
    """The older format: three pickles about itself, one of the content, one of the storages' keys, then their bytes."""
    known: dict[str, torch.dtype] = {}

    class Unpickler(_TensorUnpickler):
        def persistent_load(self, pid: Any) -> Any:
            found = super().persistent_load(pid)
            if isinstance(found, Storage):
                known[found.key] = found.dtype
            return found

    file.seek(0)
    row = memoryview(bytearray(file.read()))
    stream = io.BytesIO(row)
    magic, _, machine = (Unpickler(stream).load() for _ in range(3))
    if magic != 0x1950A86A20F9469CFC6C or not machine["little_endian"]:
        raise Fault("is not a file that PyTorch wrote on this kind of machine")
    content, keys = Unpickler(stream).load(), Unpickler(stream).load()
    at, storages = stream.tell(), dict[str, Bytes]()
    for key in keys:
        size = int.from_bytes(row[at : at + 8], "little") * known[key].itemsize
        storages[key] = row[at + 8 : at + 8 + size]
        at += 8 + size
    return _tensors(content, storages.__getitem__)


def _tensors(content: Any, read: Callable[[str], Bytes]) -> dict[str, dict[str, Tensor]]:
    """`read` gives the bytes of a storage by its key."""
    read_once = cache(read)
    found = {
        ".".join(where): {name: _tensor(view, read_once(view.storage.key)) for name, view in views.items()}
        for where, views in _dicts(content, (), set())
    }
    if not found:
        kind = f" (it is {content.name})" if isinstance(content, StandIn) else ""
        raise Fault(f"holds no tensors by name{kind}; {SAVE}")
    return found


def _dicts(content: Any, where: tuple[str, ...], seen: set[int]) -> Iterator[tuple[tuple[str, ...], dict[str, View]]]:
    """Every dict that has tensors, and every module, from the outside in; each once, whichever keys lead there."""
    if id(content) in seen or len(where) > DEEPEST:
        return
    seen.add(id(content))
    views = _views_of(content)
    if views:
        yield where, views
    if isinstance(content, dict):
        for key, value in content.items():
            if isinstance(key, str) and not key.lower().startswith(NO_WEIGHTS):
                yield from _dicts(value, (*where, key), seen)


def _views_of(content: Any) -> dict[str, View]:
    if isinstance(content, dict):
        return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, View)}
    return dict(_views_in_module(content, "", set()))


def _views_in_module(module: Any, above: str, seen: set[int]) -> Iterator[tuple[str, View]]:
    """As its state_dict() would have them; a stand-in that is no nn.Module has none."""
    if not isinstance(module, StandIn) or not isinstance(module.state, dict) or id(module) in seen:
        return
    seen.add(id(module))
    for kind in ("_parameters", "_buffers"):
        for name, view in _items(module.state.get(kind)):
            if isinstance(view, View):
                yield f"{above}{name}", view
    for name, child in _items(module.state.get("_modules")):
        yield from _views_in_module(child, f"{above}{name}.", seen)


def _items(content: Any) -> list[tuple[Any, Any]]:
    return list(content.items()) if isinstance(content, dict) else []


def _tensor(view: View, content: Bytes) -> Tensor:
    """A view into its storage: no copy, so that a small file cannot become large."""
    storage, offset, shape, strides = view
    bytes_there = memoryview(content).nbytes
    if bytes_there != storage.length * storage.dtype.itemsize:
        raise Fault(f"has {bytes_there:,} bytes where {storage.length:,} numbers should be; it is cut or changed")
    reach = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True)) + 1
    count = math.prod(shape)
    if min(offset, *shape, *strides, 0) < 0 or count > storage.length or (count and reach > storage.length):
        raise Fault("has a tensor that reaches beyond its storage")
    if not count:
        return torch.empty(shape, dtype=storage.dtype)
    return torch.frombuffer(content, dtype=storage.dtype).as_strided(shape, strides, offset)
