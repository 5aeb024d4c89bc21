"""The runs of a sweep, and checks that they can be run and ranked."""

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any

from imageclf.config.params import Params, checked, read_params
from imageclf.config.section import NO_FILE
from imageclf.runtime.errors import DataError, ParamsError, nearest, printable
from imageclf.runtime.files import sha256_of_file
from imageclf.runtime.yaml import flat
from tools.comparing.folds import name_of_fold
from tools.repository import git
from tools.sweeping.values import read_values, value_of


def check_can_run(params: Params) -> None:
    """A run in its own workspace (`dvc exp run --temp`) sees only files in git or DVC, and absolute paths.

    Raises:
        DataError: a file would be missing, or there would be no validation images.
        ParamsError: the params leave no validation images.
    """
    check_seen(params)
    if not params.prepare.val_fraction:
        if params.data.name != "folder":
            raise ParamsError("prepare.val_fraction is 0, so there is nothing to rank by; -S prepare.val_fraction=0.1")
        _check_val(tuple(path for path in (params.data.path, params.data.also) if path != NO_FILE))


def check_seen(params: Params) -> None:
    """As `check_can_run`, without a look at validation."""
    paths = {
        "data.path": params.data.path,
        "data.also": params.data.also,
        "data.corrections": params.data.corrections,
        "train.weights": params.train.weights,
    }
    for key, path in paths.items():
        if path != NO_FILE:
            _check_seen(key, path)


def check_model(name: str) -> None:
    """Check the model's name now: a run would check it a minute later.

    Raises:
        ParamsError: the model does not exist.
        MachineError: the model needs timm, which is not installed.
    """
    from imageclf.models.registry import check_known

    try:
        check_known(name)
    except ParamsError as fault:
        raise ParamsError(str(fault).replace("params.yaml:", "-S:", 1)) from None


@cache
def _check_seen(key: str, path: str) -> None:
    place, name = Path(path), printable(path)
    if not place.exists():
        raise DataError(f"{key} is {name}, which does not exist; fix the path")
    if Path(path).is_absolute():
        return
    absolute = f"""-S "{key}='{printable(str(place.resolve()))}'\""""
    if not place.resolve().is_relative_to(Path.cwd()):
        raise DataError(
            f"{key} is {name}, outside this repository, and runs in their own workspace do not see it; "
            f"give the absolute path, {absolute}"
        )
    if not _is_kept(place):
        raise DataError(
            f"{key} is {name}, which is in neither git nor DVC, so runs in their own workspace do not see it; "
            f"dvc add it and git add the .dvc file, or give the absolute path, {absolute}"
        )


def _is_kept(place: Path) -> bool:
    by_dvc = any(Path(f"{above}.dvc").exists() for above in (place, *place.parents) if above.name)
    return by_dvc or bool(git("ls-files", "--", str(place)))


@cache
def _check_val(roots: tuple[str, ...]) -> None:
    from imageclf.datasets.folder import make_manifest

    if "val" not in make_manifest(roots).splits:
        names = " and ".join(map(printable, roots))
        raise DataError(
            f"prepare.val_fraction is 0 and {names} has no val/, so there is nothing to rank by; "
            "-S prepare.val_fraction=0.2"
        )


SEED, MODEL, FOLD = "train.seed", "train.model", "prepare.fold"
UNTRACKED = "runtime."  # cannot change a result
UNRANKED = (UNTRACKED, "evaluate.", "export.")  # cannot change the result of training
MOVES_VALIDATION = ("data.", "prepare.seed", "prepare.val_fraction", "prepare.test_fraction")
LONGEST = 60  # characters of a run's name, before its hash


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a sweep: its settings, as typed, and the name of its experiment."""

    settings: dict[str, str]
    name: str
    epochs: int = 0  # of its schedule; 0: it has none

    @property
    def recipe(self) -> tuple[str, ...]:
        """The settings without the seed: runs of one recipe are repetitions."""
        return tuple(value for key, value in self.settings.items() if key != SEED)

    def __str__(self) -> str:
        return ", ".join(f"{short(key)} {printable(value)}" for key, value in self.settings.items())


def planned_runs(changes: Sequence[str], code: bytes) -> list[Run]:
    """The runs of the grid that changes such as `train.lr=0.1,0.2` span; the last change varies fastest.

    `code` is the repository's uncommitted diff without params.yaml. A run's name includes a hash of it, of all params
    and of the files that they name, so an experiment of that name need not run again.

    Raises:
        ParamsError: a change cannot be read, or is invalid.
        DataError: a run could not see its images or weights, or would have no validation images.
    """
    grid = dict(_parse(change) for change in changes)
    if len(grid) < len(changes):
        raise ParamsError("a param is given by two -S; write its values with commas, train.lr=0.1,0.2")
    # Check every value before any path.
    found = []
    for words in itertools.product(*grid.values()):
        settings = dict(zip(grid, words, strict=True))
        found.append((settings, _with({key: grid[key][word] for key, word in settings.items()})))
    for model in grid.get(MODEL, {}).values():
        check_model(model)
    for _, params in found:
        check_can_run(params)
    return [Run(settings, _name(settings, params, code), _epochs(params)) for settings, params in found]


def planned_folds(folds: int, changes: Sequence[str], code: bytes, name: str) -> list[Run]:
    """The runs of a cross-validation with the changes such as `train.lr=0.1`; see `planned_runs` for `code` and errors.

    Run 2 of 5 is called NAME-HASH-2-of-5.
    """
    settings = dict[str, str]()
    for change in changes:
        key, values = _parse(change)
        if len(values) > 1 or key in (*settings, FOLD):
            raise ParamsError(
                f"-S {printable(change)}: give one value once, and not to {FOLD}; tools.sweep tries several"
            )
        settings |= dict.fromkeys([key], *values)
    params = _with({key: value_of(key, word) for key, word in settings.items()} | {FOLD: "none"})
    check_model(params.train.model)
    check_seen(params)
    whole = f"{name}-{_digest(params, code)}"
    return [
        Run(settings | {FOLD: f"{number}/{folds}"}, name_of_fold(whole, number, folds))
        for number in range(1, folds + 1)
    ]


def remarks(grid: Sequence[Run]) -> list[str]:
    """Warnings about the ranking, before the first run."""
    varied = [key for key in grid[0].settings if len({run.settings[key] for run in grid}) > 1]
    found = []
    if len({run.recipe for run in grid}) == 1:
        found.append("sweep: there is only one recipe, so there is nothing to rank; give a param several values")
    if moving := [key for key in varied if key.startswith(MOVES_VALIDATION)]:
        found.append(
            f"sweep: with {', '.join(moving)} the validation images change too, so the scores are not comparable"
        )
    return found


def short(key: str) -> str:
    """A key as a column's title."""
    return key.removeprefix("train.")


def _parse(change: str) -> tuple[str, dict[str, Any]]:
    """The key of a change, and its values by their text."""
    key, equals, text = change.partition("=")
    keys = list(flat(read_params().model_dump()))
    if not equals or key not in keys:
        hint = nearest(key, keys) if equals else ""
        raise ParamsError(f"-S {printable(change)}: give a param and its values, such as train.lr=0.1,0.2{hint}")
    values = read_values(key, text)
    if len(values) > 1 and key.startswith(UNRANKED):
        raise ParamsError(
            f"-S {printable(change)}: this cannot change the validation top-1, so there is nothing to rank"
        )
    return key, values


def _with(values: dict[str, Any]) -> Params:
    """params.yaml with the values of one run, checked as a stage checks it."""
    changed = read_params().model_dump()
    for key, value in values.items():
        *above, last = key.split(".")
        section = reduce(lambda section, part: section[part], above, changed)
        section[last] = value
    return checked(changed, "-S")


def is_valid(key: str, value: float) -> bool:
    """Whether a param may have this value, all others being as in params.yaml."""
    try:
        _with({key: value})
    except ParamsError:
        return False
    return True


def _epochs(params: Params) -> int:
    return 0 if params.train.optimizer == "lbfgs" else params.train.epochs


@cache
def _contents(path: str) -> list[tuple[str, str]]:
    """The relative path and sha256 of every file at a path of the user's."""
    top = Path(path)
    return [(each.relative_to(top).as_posix(), sha256_of_file(each)) for each in _files_of(top) if each.exists()]


def _files_of(dep: Path) -> list[Path]:
    """The files at a path, sorted: a folder's files without `__pycache__`, or the file itself."""
    if not dep.is_dir():
        return [dep]
    return sorted(path for path in dep.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _name(settings: dict[str, str], params: Params, code: bytes) -> str:
    words = "-".join(f"{short(key)}-{value}" for key, value in settings.items())
    # Only characters that need no quotes in a shell and may be in a git ref.
    plain = re.sub(r"[^A-Za-z0-9_.-]+|\.\.+", "-", words)
    return f"{plain[:LONGEST]}-{_digest(params, code)}"


def _digest(params: Params, code: bytes) -> str:
    tracked = {key: value for key, value in flat(params.model_dump()).items() if not key.startswith(UNTRACKED)}
    data = params.data
    read = [_contents(path) for path in (data.path, data.also, data.corrections, params.train.weights)]
    return hashlib.sha256(repr((sorted(tracked.items()), read)).encode() + code).hexdigest()[:6]
