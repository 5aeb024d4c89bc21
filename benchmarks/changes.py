"""What a recipe changes in params.yaml: keys such as train.lr with their values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from imageclf.config.params import read_params
from imageclf.runtime.errors import ParamsError
from imageclf.runtime.yaml import load_yaml

Changes = dict[str, Any]


def changes_of(given: Sequence[str]) -> Changes:
    """The values by their keys, each given as key=value.

    Raises:
        ParamsError: one is not.
    """
    wanted = {}
    for change in given:
        key, equals, value = change.partition("=")
        if not equals:
            raise ParamsError(f"-S {change} is no key=value; write -S train.lr=0.01")
        wanted[key] = _load(value)
    return wanted


def change_params(path: Path, changes: Changes) -> None:
    """Set keys in a params file, and check the whole of it.

    Raises:
        ParamsError: a section is unknown, or the params that come out cannot be.
    """
    params = _load(path.read_text())
    for key, value in changes.items():
        *above, name = key.split(".")
        section = params
        for part in above:
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            raise ParamsError(f"{path.name}: there is no section for {key}; write section.key, as train.lr")
        section[name] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    read_params(path)


def words(changes: Changes) -> str:
    return " ".join(f"{key}={value}" for key, value in changes.items()) or "params.yaml as it is"


def _load(text: str) -> Any:
    return load_yaml(text)
