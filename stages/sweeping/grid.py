"""The runs of a sweep: every combination of the values that each param is to have."""

import difflib
import hashlib
import itertools
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from stages.console.errors import ParamsError
from stages.console.text import printable
from stages.files.hashing import sha256_of_file
from stages.files.inputs import files_of
from stages.params.flat import flat
from stages.params.read import PARAMS, keys_of, read_params
from stages.params.schema import Params
from stages.params.yaml12 import Yaml12Loader

SEED = "train.seed"
UNTRACKED = "runtime."  # what cannot change a result
LONGEST = 60  # letters of a run's name, before its hash


@dataclass(frozen=True)
class Member:
    """One run: the values that it sets, as they were typed, and the name of its experiment."""

    settings: dict[str, str]
    name: str

    @property
    def recipe(self) -> tuple[str, ...]:
        """What it sets but for the seed: members of one recipe are each other's repetitions."""
        return tuple(value for key, value in self.settings.items() if key != SEED)

    def __str__(self) -> str:
        return ", ".join(f"{short(key)} {printable(value)}" for key, value in self.settings.items())


def members(changes: Sequence[str], code: bytes) -> list[Member]:
    """Members of the grid that changes such as `train.lr=0.1,0.2` span, the last one turning fastest.

    `code` is what has changed in the repository besides params.yaml: with it, all params and what lies under the paths
    that they name, a name is that of one result, and a member that is there already need not run again.

    Raises:
        ParamsError: a change cannot be read, or makes params.yaml one that would be refused.
    """
    grid = dict(_parse(change) for change in changes)
    if len(grid) < len(changes):
        raise ParamsError("a param is given by two -S; write its values with commas, train.lr=0.1,0.2")
    found = []
    for values in itertools.product(*grid.values()):
        settings = dict(zip(grid, values, strict=True))
        params = _with(settings)
        if not params.prepare.val_fraction and params.data.name != "folder":
            raise ParamsError("prepare.val_fraction is 0, so there is nothing to rank by; -S prepare.val_fraction=0.1")
        found.append(Member(settings, _name(settings, params, code)))
    return found


def short(key: str) -> str:
    """A key as a table's head has it."""
    return key.removeprefix("train.")


def _parse(change: str) -> tuple[str, list[str]]:
    key, equals, values = change.partition("=")
    keys = list(keys_of(Params))
    if not equals or key not in keys:
        close = difflib.get_close_matches(key, keys, n=1)
        hint = f" (did you mean {close[0]}?)" if close and equals else ""
        raise ParamsError(f"-S {printable(change)}: a param and its values are wanted, train.lr=0.1,0.2 say{hint}")
    listed = [value.strip() for value in _split(values)]
    if not all(listed) or len(set(listed)) < len(listed):
        raise ParamsError(f"-S {printable(change)}: a value is empty or given twice; take it out")
    return key, listed


def _split(text: str) -> Iterator[str]:
    """Cut at commas, but for those of a list: `[0.5,1],[1]` is two values."""
    yield from re.split(r",(?![^\[]*\])", text)


def _with(settings: dict[str, str]) -> Params:
    """params.yaml with the values of one member, checked as a stage will check it."""
    changed = read_params().model_dump()
    for key, value in settings.items():
        *above, last = key.split(".")
        section = changed
        for part in above:
            section = section[part]
        try:
            section[last] = yaml.load(value, Yaml12Loader)  # noqa: S506 - a SafeLoader
        except yaml.YAMLError:
            raise ParamsError(f"-S {key}={printable(value)}: that is no value of YAML") from None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, PARAMS.name)
        path.write_text(yaml.safe_dump(changed), encoding="utf-8")
        try:
            return read_params(path)
        except ParamsError as error:
            raise ParamsError(f"-S: {str(error).removeprefix(f'{PARAMS}: ')}") from None


@cache
def _contents(path: str) -> list[tuple[str, str]]:
    """What a file or folder of the user's holds: every file's place in it and sha256."""
    top = Path(path).expanduser()
    return [(each.relative_to(top).as_posix(), sha256_of_file(each)) for each in files_of(top) if each.exists()]


def _name(settings: dict[str, str], params: Params, code: bytes) -> str:
    tracked = {key: value for key, value in flat(params.model_dump()).items() if not key.startswith(UNTRACKED)}
    read = [_contents(path) for path in (params.data.path, params.data.also, params.train.weights)]
    digest = hashlib.sha256(repr((sorted(tracked.items()), read)).encode() + code).hexdigest()[:6]
    words = "-".join(f"{short(key)}-{value}" for key, value in settings.items())
    # What git takes in the name of a ref, and a shell without quotes.
    plain = re.sub(r"[^A-Za-z0-9_.-]+|\.\.+", "-", words)
    return f"{plain[:LONGEST]}-{digest}"
