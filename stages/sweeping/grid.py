"""The runs of a sweep: every combination of the values that each param is to have."""

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any

from stages.console.errors import ParamsError
from stages.console.text import printable
from stages.files.hashing import sha256_of_file
from stages.files.inputs import files_of
from stages.params.flat import flat
from stages.params.read import checked, nearest, read_params
from stages.params.schema import Params
from stages.sweeping.conditions import check_can_run
from stages.sweeping.values import read_values

SEED = "train.seed"
UNTRACKED = "runtime."  # what cannot change a result
UNRANKED = (UNTRACKED, "evaluate.", "export.")  # what cannot change the result of training
MOVES_VALIDATION = ("data.", "prepare.seed", "prepare.val_fraction", "prepare.test_fraction")
LONGEST = 60  # letters of a run's name, before its hash


@dataclass(frozen=True, eq=False)
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
        DataError: a run could not see its images or weights, or would have no validation images.
    """
    grid = dict(_parse(change) for change in changes)
    if len(grid) < len(changes):
        raise ParamsError("a param is given by two -S; write its values with commas, train.lr=0.1,0.2")
    found = []
    for words in itertools.product(*grid.values()):
        settings = dict(zip(grid, words, strict=True))
        params = _with({key: grid[key][word] for key, word in settings.items()})
        check_can_run(params)
        found.append(Member(settings, _name(settings, params, code)))
    return found


def remarks(grid: Sequence[Member]) -> list[str]:
    """What is to be known of a ranking before its first run."""
    varied = [key for key in grid[0].settings if len({member.settings[key] for member in grid}) > 1]
    found = []
    if len({member.recipe for member in grid}) == 1:
        found.append("sweep: that is one recipe, so there is nothing to rank it against; give a param several values")
    if moving := [key for key in varied if key.startswith(MOVES_VALIDATION)]:
        found.append(
            f"sweep: with {', '.join(moving)} the validation images change too, so the ranks compare unlike things"
        )
    return found


def short(key: str) -> str:
    """A key as a table's head has it."""
    return key.removeprefix("train.")


def _parse(change: str) -> tuple[str, dict[str, Any]]:
    """The key of a change, and its values by what was typed for each."""
    key, equals, text = change.partition("=")
    keys = list(flat(read_params().model_dump()))
    if not equals or key not in keys:
        hint = nearest(key, keys) if equals else ""
        raise ParamsError(f"-S {printable(change)}: a param and its values are wanted, train.lr=0.1,0.2 say{hint}")
    values = read_values(key, text)
    if len(values) > 1 and key.startswith(UNRANKED):
        raise ParamsError(f"-S {printable(change)}: that changes no validation top-1, so there is nothing to rank")
    return key, values


def _with(values: dict[str, Any]) -> Params:
    """params.yaml with the values of one member, checked as a stage will check it."""
    changed = read_params().model_dump()
    for key, value in values.items():
        *above, last = key.split(".")
        section = reduce(lambda section, part: section[part], above, changed)
        section[last] = value
    return checked(changed, "-S")


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
