"""What a run needs beside its params, looked at before the first one: files that it can see, and validation images."""

from functools import cache
from pathlib import Path

from stages.console.errors import DataError, ParamsError
from stages.console.text import printable
from stages.params.schema import NO_FILE, Params
from stages.verifying.git import git


def check_can_run(params: Params) -> None:
    """A run in a workspace of its own (`dvc exp run --temp`) sees what git and DVC keep, and absolute paths.

    Raises:
        DataError: it would miss a file, or have no validation images.
        ParamsError: it is to have no validation images.
    """
    paths = {
        "data.path": params.data.path,
        "data.also": params.data.also,
        "train.weights": params.train.weights,
    }
    for key, path in paths.items():
        if path != NO_FILE:
            _check_seen(key, path)
    if not params.prepare.val_fraction:
        if params.data.name != "folder":
            raise ParamsError("prepare.val_fraction is 0, so there is nothing to rank by; -S prepare.val_fraction=0.1")
        _check_val(tuple(path for path in (params.data.path, params.data.also) if path != NO_FILE))


@cache
def _check_seen(key: str, path: str) -> None:
    place, name = Path(path).expanduser(), printable(path)
    if not place.exists():
        raise DataError(f"{key} is {name}, and there is nothing of that name; mend the path")
    if Path(path).is_absolute():
        return
    absolute = f"""-S "{key}='{printable(str(place.resolve()))}'\""""
    if not place.resolve().is_relative_to(Path.cwd()):
        raise DataError(
            f"{key} is {name}, outside of this repository, where runs in a workspace of their own do not see it; "
            f"give the absolute path, {absolute}"
        )
    if not _is_kept(place):
        raise DataError(
            f"{key} is {name}, which neither git nor DVC keeps, so that runs in a workspace of their own do not see "
            f"it; dvc add it and git add what that writes, or give the absolute path, {absolute}"
        )


def _is_kept(place: Path) -> bool:
    by_dvc = any(Path(f"{above}.dvc").exists() for above in (place, *place.parents) if above.name)
    return by_dvc or bool(git("ls-files", "--", str(place)))


@cache
def _check_val(roots: tuple[str, ...]) -> None:
    from stages.sources.folder import make_manifest

    if "val" not in set(make_manifest(roots).files["split"]):
        names = " and ".join(map(printable, roots))
        raise DataError(
            f"prepare.val_fraction is 0 and {names} has no val/, so there is nothing to rank by; "
            "-S prepare.val_fraction=0.2"
        )
