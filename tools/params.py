"""Check params.yaml before anything runs: `python -m tools.params`. Every stage also checks it at its start."""

from pathlib import Path

from imageclf.config.params import read_params
from imageclf.config.section import NO_FILE
from imageclf.runtime.errors import ParamsError, printable
from imageclf.runtime.stage import run_tool

DEFAULT = "cifarnet"


def main() -> None:
    params = read_params()
    for section, name in (("data", "path"), ("data", "also"), ("data", "corrections"), ("train", "weights")):
        _check_place(f"{section}.{name}", getattr(getattr(params, section), name))
    if params.train.model != DEFAULT:  # which exists: torch takes seconds to load
        from imageclf.models.registry import check_known

        check_known(params.train.model)


def _check_place(key: str, place: str) -> None:
    """Refuse what is not there: DVC would delete a stage's outputs before it looks."""
    path = Path(place)
    tracked = any(Path(f"{each}.dvc").exists() for each in (path, *path.parents))  # dvc pull brings it
    if place != NO_FILE and not path.exists() and not tracked:
        raise ParamsError(f"params.yaml: {key} is {printable(place)!r}, which is not there; check the path")


if __name__ == "__main__":
    run_tool(main)
