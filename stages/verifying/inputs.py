"""What a stage ran on, as dvc.lock has it, against what is here now."""

from collections.abc import Iterator
from typing import Any

from stages.params.flat import flat
from stages.verifying.hashes import Hashes
from stages.verifying.lock import Defined, Entry, Stage


def changes(
    stage: Stage, defined: Defined | None, params: dict[str, Any], made: dict[str, Entry], hashes: Hashes
) -> Iterator[str]:
    """Why a stage would run again, one reason at a time.

    `params` is params.yaml as it is now, `made` every output in dvc.lock by its path.
    """
    yield from _params_changes(stage, params)
    if defined is None:
        yield "dvc.yaml has no such stage"
    elif defined.cmd != stage.cmd:
        yield f"dvc.yaml runs {defined.cmd!r}, dvc.lock has {stage.cmd!r}"
    else:
        yield from _listed_otherwise(defined.deps, stage.deps)
        yield from _listed_otherwise(defined.outs, stage.outs)
    for dep in stage.deps:
        if str(dep.path) in made:
            if made[str(dep.path)].md5 != dep.md5:
                yield f"{dep.path} was made anew since"
        elif not dep.path.exists():
            yield f"{dep.path} is missing"
        elif hashes.entry(dep.path) != dep.md5:
            yield f"{dep.path} has changed"


def _params_changes(stage: Stage, params: dict[str, Any]) -> Iterator[str]:
    now = flat(params)
    recorded = flat(stage.params)
    for key in sorted(recorded | _tracked(stage, now)):
        if key not in now:
            yield f"{key} is no longer in params.yaml"
        elif key not in recorded:
            yield f"{key} is not in dvc.lock"
        elif now[key] != recorded[key]:
            yield f"{key}: {recorded[key]} in dvc.lock, {now[key]} in params.yaml"


def _tracked(stage: Stage, now: dict[str, Any]) -> dict[str, Any]:
    """The keys of now that belong to a section the stage tracks."""
    return {key: value for key, value in now.items() if any(f"{key}.".startswith(f"{name}.") for name in stage.params)}


def _listed_otherwise(listed: set[str], recorded: list[Entry]) -> Iterator[str]:
    known = {str(entry.path) for entry in recorded}
    # What dvc.yaml takes from params.yaml, `${data.path}`, stands in dvc.lock by its value.
    plain = {path for path in listed if "${" not in path}
    for path in sorted(plain - known):
        yield f"{path} is new in dvc.yaml"
    if plain == listed:
        for path in sorted(known - listed):
            yield f"{path} is no longer in dvc.yaml"
