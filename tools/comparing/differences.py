"""What differs between two revisions, or between the workspace and its last run: params, data and code."""

from typing import Any

from imageclf import CODE_FOLDERS
from imageclf.config.params import read_params
from imageclf.runtime.errors import DataError, printable
from imageclf.runtime.yaml import flat
from tools.comparing.predictions import PREDICTIONS
from tools.comparing.revisions import WORKSPACE, Revision
from tools.repository import Hashes, read_pipeline
from tools.verifying.outputs import changes

CODE = "the code"
# Params that can change the test split.
OF_THE_TEST = (
    "data.name",
    "data.path",
    "data.also",
    "data.group",
    "data.corrections",
    "prepare.fold",
    "prepare.test_fraction",
    "prepare.seed",
    "prepare.window",
)


def differing_params(new: Revision, base: Revision) -> dict[str, list[Any]]:
    """The params in which the two differ: [new, base]."""
    ours, theirs = (_params(side) for side in (new, base))
    return {key: [ours.get(key), theirs.get(key)] for key in sorted(ours | theirs) if ours.get(key) != theirs.get(key)}


def differences(new: Revision, base: Revision) -> list[str]:
    """Files and params that differ, in words."""
    return _changed_files(new, base) + _in_words(differing_params(new, base))


def reasons_for_other_images(new: Revision, base: Revision) -> str:
    """Possible reasons for different test images, in brackets; empty if none is known."""
    params = {key: values for key, values in differing_params(new, base).items() if key in OF_THE_TEST}
    reasons = [words for words in _changed_files(new, base) if words != CODE] + _in_words(params)
    return f" ({', '.join(reasons)})" if reasons else ""


def check_same_data(new: Revision, base: Revision) -> None:
    """Check that both runs are on the same data set, before their predictions are looked for.

    Raises:
        DataError: they are on different data sets.
    """
    ours, theirs = (_params(side).get("data.name") for side in (new, base))
    if ours and theirs and ours != theirs:
        there = base if base.commit else new
        raise DataError(
            f"not comparable: data.name is {printable(ours)} in {new.title} and {printable(theirs)} in {base.title}, "
            "so their test images differ; compare runs on the same data; "
            f"to go back to {printable(there.name)}, {there.way}"
        )


def _params(side: Revision) -> dict[str, Any]:
    return flat({key: value for stage in side.stages for key, value in stage.params.items()})


def _in_words(params: dict[str, list[Any]]) -> list[str]:
    return [f"{key} {printable(ours)} (was {printable(theirs)})" for key, (ours, theirs) in params.items()]


def _changed_files(new: Revision, base: Revision) -> list[str]:
    """Files that differ between the two; all code counts as one."""
    sides = []
    for side in (new, base):
        made = {out.path for stage in side.stages for out in stage.outs}
        sides.append({dep.path: dep.md5 for stage in side.stages for dep in stage.deps if dep.path not in made})
    ours, theirs = sides
    changed = [path for path in sorted(ours) if theirs.get(path, ours[path]) != ours[path]]
    files = [f"the contents of {printable(path)}" for path in changed if path.parts[0] not in CODE_FOLDERS]
    return files + [CODE] * (len(files) < len(changed))


def changed_since(revision: Revision) -> str:
    """The first edit since the run that made the predictions; empty if there is none."""
    if revision.kind != WORKSPACE:
        return ""
    defined, params, hashes = read_pipeline(), read_params().model_dump(), Hashes()
    made = {str(out.path): out for stage in revision.stages for out in stage.outs}
    for stage in revision.stages:  # in the order of dvc.yaml
        reason = next(changes(stage, defined.get(stage.name), params, made, hashes), "")
        if reason or any(out.path == PREDICTIONS for out in stage.outs):
            return reason
    return ""
