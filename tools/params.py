"""Check params.yaml before anything runs: `python -m tools.params`. Every stage also checks it at its start."""

from imageclf.config.params import read_params
from imageclf.runtime.stage import run_tool


def main() -> None:
    read_params()


if __name__ == "__main__":
    run_tool(main)
