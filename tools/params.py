"""Check params.yaml before anything runs: `python -m tools.params`. Every stage also checks it at its start."""

from imageclf.config.params import read_params
from imageclf.runtime.stage import run_tool

DEFAULT = "cifarnet"


def main() -> None:
    model = read_params().train.model
    if model != DEFAULT:  # which exists: torch takes seconds to load
        from imageclf.models.registry import check_known

        check_known(model)


if __name__ == "__main__":
    run_tool(main)
