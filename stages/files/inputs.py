"""What a stage reads, as dvc.yaml lists it, so that a change while it runs is seen.

DVC hashes deps and params after the command (treeverse/dvc#11058): an edit in between would tie the new value to the
old result and call it up to date.
"""

import json
import re
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from stages.files.hashing import sha256_of_file
from stages.params.yaml12 import Yaml12Loader

PIPELINE = Path("dvc.yaml")
PARAMS = Path("params.yaml")
CODE = {".py", ".html"}  # hashed; a template lies beside the module that fills it


def inputs_of(stage: str) -> dict[str, str]:
    """Every dep and every param of the stage with what it is now; empty where there is no pipeline file."""
    if not PIPELINE.exists():
        return {}
    definition = _load(PIPELINE)["stages"][stage]
    params = _load(PARAMS)
    state = {
        str(path): _state(path) for dep in definition.get("deps", []) for path in files_of(Path(filled_in(dep, params)))
    }
    for section in definition.get("params", []):
        for key, value in _flat(section, params.get(section)):
            state[f"{PARAMS} ({key})"] = json.dumps(value)
    return state


def first_change(before: dict[str, str], after: dict[str, str]) -> str:
    """The name of the first input that differs, empty if none does."""
    return next((name for name in sorted({*before, *after}) if before.get(name) != after.get(name)), "")


def files_of(dep: Path) -> list[Path]:
    """Every file below a folder, sorted; a file itself."""
    return sorted(path for path in dep.rglob("*") if path.is_file()) if dep.is_dir() else [dep]


def filled_in(path: str, params: Any) -> str:
    """A path of dvc.yaml with each `${section.key}` replaced by the value in params.yaml."""

    def value(found: re.Match[str]) -> str:
        return str(reduce(lambda section, key: section[key], found[1].split("."), params))

    return re.sub(r"\$\{([\w.]+)\}", value, path)


def _state(path: Path) -> str:
    if not path.exists():
        return "missing"
    if path.suffix in CODE:
        return sha256_of_file(path)
    # Data was held against its SHA256SUMS when it was read; here its place and time will do.
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _flat(key: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(key, value)]
    return [pair for name, below in value.items() for pair in _flat(f"{key}.{name}", below)]


def _load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Yaml12Loader)  # noqa: S506 - a SafeLoader
