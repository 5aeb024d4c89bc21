"""The user's own network, package.module:Class: import it, check it, and report its errors."""

import ast
import hashlib
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from imageclf import CODE_FOLDERS
from imageclf.runtime.errors import DataError, ParamsError, UserError, closest, nearest, printable
from imageclf.runtime.files import sha256_of_file

LONGEST = 200  # characters


@contextmanager
def told(model: str, what: str, remedy: str | Callable[[], str]) -> Iterator[None]:
    """Turn an exception in the block into "train.model MODEL cannot `what`"; a slow remedy may be a function.

    Raises:
        ParamsError: any exception except out of memory.
    """
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        words = remedy if isinstance(remedy, str) else remedy()
        raise ParamsError(f"params.yaml: train.model {model} cannot {what} ({cause(error)}); {words}") from None


def cause(error: Exception) -> str:
    """The first sentence of the original exception, and the line of the user's code that raised it."""
    first: BaseException = error
    while first.__cause__:
        first = first.__cause__
    words = next((line.strip() for line in str(first).splitlines() if line.strip()), "")
    words = printable(words).split(". ")[0][:LONGEST].rstrip(".")
    if type(first) not in (AssertionError, RuntimeError, ValueError) or not words:
        words = f"{type(first).__name__}: {words}".removesuffix(": ")
    places = [
        f"{Path(frame.filename).relative_to(Path.cwd())}, line {frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if is_own(Path(frame.filename))
    ]
    return f"{words}; {places[-1]}" if places else words


def is_own(file: Path) -> bool:
    """Whether a file is below the current folder, and neither in an installed package nor in ours."""
    here = Path.cwd()
    ours = any(here / folder in file.parents for folder in CODE_FOLDERS)
    return here in file.parents and not ours and "site-packages" not in file.parts


SHOWN = 5  # names of networks in a message


def is_own_module(name: str) -> bool:
    """Whether a model's name is of the form `package.module:Class`."""
    return ":" in name


def own_network(name: str, *, classes: int, channels: int) -> nn.Module:
    """The class, called with `classes` and `channels`.

    Raises:
        ParamsError: there is no such module or class, or it cannot be called so, or it makes no network.
    """
    network_class = _class(name)
    try:
        inspect.signature(network_class).bind(classes=classes, channels=channels)
    except (TypeError, ValueError) as error:
        raise ParamsError(
            f"params.yaml: train.model {name} is called with classes= and channels=, which its "
            f"__init__ does not accept ({error})"
        ) from None
    with told(name, "be built", "fix it"):
        network = network_class(classes=classes, channels=channels)
    if not isinstance(network, nn.Module):
        raise ParamsError(f"params.yaml: train.model {name} makes a {type(network).__name__}, not a torch.nn.Module")
    return network


def source_sha256(name: str) -> str:
    """Hex sha256 of the class's file and of the files below the current folder that it imports."""
    found, waiting = set[Path](), [Path(inspect.getfile(_class(name)))]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file)
    return hashlib.sha256("".join(map(sha256_of_file, sorted(found))).encode()).hexdigest()


def check_source(name: str, made_from: Mapping[str, str]) -> None:
    """Check that a user's own module has not changed since training began; other models pass.

    Raises:
        DataError: it has changed.
    """
    if is_own_module(name) and made_from["module"] != source_sha256(name):
        raise DataError(f"{name} has changed since its training began; run dvc repro -f train")


def _imported(file: Path) -> Iterator[Path]:
    """The user's files that a file imports, without installed packages and our own code, which is a dep."""
    here = Path.cwd()
    for module in _named(file, here):
        for source in (module.with_suffix(".py"), *(each / "__init__.py" for each in (module, *module.parents))):
            if source.is_file() and is_own(source):
                yield source


def _named(file: Path, here: Path) -> Iterator[Path]:
    """The path, without .py, of each module that a file may import; `from a import b` may mean a or a.b."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (here.joinpath(*each.name.split(".")) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = (file.parents[node.level - 1] if node.level else here).joinpath(*(node.module or "").split("."))
            yield package
            yield from (package / each.name for each in node.names)


def own_name(name: str) -> str:
    """The correct form, `own.nets:Net`, of a name such as `own.nets.Net` or `own/nets.py:Net`.

    Empty if the module does not exist below the current folder, or has no network.
    """
    words = name.removeprefix("./").replace("/", ".").replace(".py:", ":").removesuffix(".py")
    module, _, wanted = words.partition(":") if ":" in words or _is_here(words) else words.rpartition(".")
    networks = _networks(module) if _is_here(module) else []
    if not networks:
        return ""
    return f"{module}:{closest(wanted, networks) or networks[0]}"


def _is_here(module: str) -> bool:
    parts = module.split(".")
    # os.path also accepts invalid names.
    return all(map(str.isidentifier, parts)) and any(
        os.path.isfile(os.path.join(*parts) + end)  # noqa: PTH113, PTH118
        for end in (".py", "/__init__.py")
    )


def _networks(module: str) -> list[str]:
    """The names of the networks in a module, without torch's own; none if it cannot be imported."""
    try:
        found = vars(_import(module))
    except Exception:
        return []
    return [
        name
        for name, value in found.items()
        if isinstance(value, type) and issubclass(value, nn.Module) and not value.__module__.startswith("torch.")
    ]


def _import(module: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(module)


def _class(name: str) -> type:
    module_name, _, class_name = name.partition(":")
    try:
        module = _import(module_name)
    except ModuleNotFoundError as error:
        meant = own_name(name)
        hint = f" (did you mean {meant}?)" if meant else _near_module(error.name or module_name)
        raise ParamsError(
            f"params.yaml: train.model is {name!r}, and there is no module {error.name}{hint}; "
            "write package.module:Class, relative to the folder of dvc.yaml"
        ) from None
    except Exception as error:
        meant = own_name(name)
        remedy = f"did you mean {meant}?" if meant else "fix it"
        raise ParamsError(f"params.yaml: train.model {name} cannot be imported: {error}; {remedy}") from None
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        networks = _networks(module_name)
        hint = nearest(class_name, networks) or (f"; it has {', '.join(networks[:SHOWN])}" if networks else "")
        raise ParamsError(f"params.yaml: train.model is {name!r}, and {module_name} has no class {class_name!r}{hint}")
    return found


def _near_module(module: str) -> str:
    """A hint with the most similar module in the same package; empty if there is none."""
    package, _, _ = module.rpartition(".")
    folder = Path.cwd().joinpath(*package.split("."))
    return nearest(module, [f"{package}.{file.stem}".strip(".") for file in sorted(folder.glob("*.py"))])
