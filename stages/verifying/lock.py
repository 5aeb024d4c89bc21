"""dvc.lock and dvc.yaml as far as verifying needs them: which bytes each stage used and made."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages.console.errors import DataError
from stages.params.yaml12 import Yaml12Loader
from stages.verifying.git import committed

LOCK = Path("dvc.lock")
PIPELINE = Path("dvc.yaml")
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


class Damaged(Exception):
    """A dvc.lock that cannot be read; says where."""


@dataclass(frozen=True)
class Entry:
    """A file or folder as dvc.lock records it."""

    path: Path
    md5: str  # ends in .dir for a folder
    size: int  # bytes, of all files

    @property
    def is_folder(self) -> bool:
        return self.md5.endswith(".dir")


@dataclass(frozen=True)
class Stage:
    """One stage: what it ran on, and what came out."""

    name: str
    cmd: str
    deps: list[Entry]
    params: dict[str, Any]  # sections or keys of params.yaml, as they were
    outs: list[Entry]


@dataclass(frozen=True)
class Defined:
    """One stage as dvc.yaml has it."""

    cmd: str
    deps: set[str]
    outs: set[str]
    uncached: set[str]  # outs that git keeps, not DVC


def read_lock() -> list[Stage]:
    """The stages of dvc.lock, in the order of dvc.yaml.

    Raises:
        DataError: dvc.lock is missing or damaged; says what brings it back.
    """
    try:
        stages = parse_lock(LOCK.read_bytes().decode(errors="replace"))
    except FileNotFoundError:
        raise DataError(f"{LOCK} is missing; {_repair('dvc repro')}") from None
    except Damaged as fault:
        raise DataError(f"{LOCK} is damaged ({fault}); {_repair(f'rm {LOCK} && dvc repro')}") from None
    order = list(read_pipeline())
    return sorted(stages, key=lambda stage: order.index(stage.name) if stage.name in order else len(order))


def _repair(otherwise: str) -> str:
    try:
        parse_lock(committed(LOCK) or "")
    except Damaged:
        return otherwise
    return f"git checkout HEAD {LOCK}"  # with HEAD it also ends a merge conflict


def parse_lock(text: str) -> list[Stage]:
    """Read the text of a dvc.lock.

    Raises:
        Damaged: it is empty, not YAML, or not what DVC writes.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(("<<<<<<<", ">>>>>>>")):
            raise Damaged(f"line {number} is a mark of a merge conflict")
    try:
        content = yaml.load(text, Yaml12Loader)  # noqa: S506 - a SafeLoader
        return [_stage(name, facts) for name, facts in content["stages"].items()]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Damaged(f"line {mark.line + 1} is not YAML" if mark else "it is not YAML") from None
    except (TypeError, KeyError, AttributeError, ValueError):
        raise Damaged("it is empty" if not text.strip() else "a part of it is missing") from None


def _stage(name: str, facts: dict[str, Any]) -> Stage:
    params: dict[str, Any] = {}
    for section in facts.get("params", {}).values():
        params |= section
    deps, outs = ([_entry(facts) for facts in facts.get(kind, [])] for kind in ("deps", "outs"))
    return Stage(name, facts["cmd"], deps, params, outs)


def _entry(facts: dict[str, Any]) -> Entry:
    if not MD5.fullmatch(facts["md5"]):
        raise ValueError(facts["md5"])
    return Entry(Path(facts["path"]), facts["md5"], int(facts["size"]))


def read_pipeline() -> dict[str, Defined]:
    """The stages of dvc.yaml.

    Raises:
        DataError: dvc.yaml is missing or damaged.
    """
    try:
        content = yaml.safe_load(PIPELINE.read_text(encoding="utf-8"))
        return {name: _defined(facts) for name, facts in content["stages"].items()}
    except FileNotFoundError:
        raise DataError(f"{PIPELINE} is missing; run in its folder, or git checkout HEAD {PIPELINE}") from None
    except (yaml.YAMLError, TypeError, KeyError, AttributeError, ValueError):
        raise DataError(f"{PIPELINE} is damaged; git checkout HEAD {PIPELINE}") from None


def _defined(facts: dict[str, Any]) -> Defined:
    outs: dict[str, dict[str, Any]] = {}
    for out in [out for kind in ("outs", "metrics", "plots") for out in facts.get(kind, [])]:
        outs |= out if isinstance(out, dict) else {out: {}}
    uncached = {path for path, options in outs.items() if options.get("cache") is False}
    return Defined(facts["cmd"], set(facts.get("deps", [])), set(outs), uncached)
