"""Which files of the project a module imports, directly and through others, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

from imageclf import CODE_FOLDERS

ROOT = Path(__file__).parent.parent


def import_closure(module: str) -> set[str]:
    """Paths below the project's root, `stages/train.py` say, of a module and of all that it imports.

    Packages' own files are left out: they hold a docstring and no code that can change a byte.
    """
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        path = _path(waiting.pop())
        if path is None or str(path) in seen:
            continue
        seen.add(str(path))
        if (ROOT / path).with_suffix(".html").exists():  # the template that it fills
            seen.add(str(path.with_suffix(".html")))
        waiting.extend(imported_modules(path))
    return {path for path in seen if not path.endswith("__init__.py")}


def imported_modules(path: Path) -> Iterator[str]:
    """Names of our modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if _is_ours(name.name))
        elif isinstance(node, ast.ImportFrom) and _is_ours(node.module or ""):
            yield str(node.module)
            for name in (f"{node.module}.{name.name}" for name in node.names):
                package = ROOT.joinpath(*name.split("."))  # one that is imported by its own name is a registry
                yield from (
                    (f"{name}.{file.stem}" for file in sorted(package.glob("*.py"))) if package.is_dir() else [name]
                )


def _is_ours(module: str) -> bool:
    return module.split(".")[0] in CODE_FOLDERS


def _path(module: str) -> Path | None:
    base = Path(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if (ROOT / path).is_file():
            return path
    return None
