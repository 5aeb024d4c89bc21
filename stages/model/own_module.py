"""A network that a user wrote: `package.module:Class`, imported from the folder of dvc.yaml."""

import ast
import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import nn

from stages.console.errors import DataError, ParamsError
from stages.files.hashing import sha256_of_file
from stages.model.told import is_own, told


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
            f"params.yaml: train.model {name} is called with classes= and channels=, and its __init__ "
            f"does not go with that ({error})"
        ) from None
    with told(name, "be built", "mend that"):
        network = network_class(classes=classes, channels=channels)
    if not isinstance(network, nn.Module):
        raise ParamsError(f"params.yaml: train.model {name} makes a {type(network).__name__}, not a torch.nn.Module")
    return network


def source_sha256(name: str) -> str:
    """Hex sha256 of the file that the class stands in, and of those below this folder that it imports."""
    found, waiting = set[Path](), [Path(inspect.getfile(_class(name)))]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file)
    return hashlib.sha256("".join(map(sha256_of_file, sorted(found))).encode()).hexdigest()


def check_source(name: str, made_from: Mapping[str, str]) -> None:
    """Hold a user's own module against the files that the training began with; other models pass.

    Raises:
        DataError: it has changed.
    """
    if is_own_module(name) and made_from["module"] != source_sha256(name):
        raise DataError(f"{name} has changed since its training began; run dvc repro -f train")


def _imported(file: Path) -> Iterator[Path]:
    """The files below this folder that a file imports, but for packages installed there and stages, which has deps."""
    here = Path.cwd()
    for module in _named(file, here):
        for source in (module.with_suffix(".py"), *(each / "__init__.py" for each in (module, *module.parents))):
            if source.is_file() and is_own(source):
                yield source


def _named(file: Path, here: Path) -> Iterator[Path]:
    """Where each module that a file may import would lie, without .py; `from a import b` may mean a or a.b."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (here.joinpath(*each.name.split(".")) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = (file.parents[node.level - 1] if node.level else here).joinpath(*(node.module or "").split("."))
            yield package
            yield from (package / each.name for each in node.names)


def _class(name: str) -> type:
    module_name, _, class_name = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ParamsError(
            f"params.yaml: train.model is {name!r}, and there is no module {error.name}; "
            "write package.module:Class as seen from the folder of dvc.yaml"
        ) from None
    except Exception as error:
        raise ParamsError(f"params.yaml: train.model {name} cannot be imported: {error}; mend that") from None
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise ParamsError(f"params.yaml: train.model is {name!r}, and {module_name} has no class {class_name!r}")
    return found
