"""`python -m tools.params` checks params.yaml before anything runs. Every stage does so too, when it begins."""

from imageclf.config.params import read_params
from imageclf.runtime.stage import run_tool


def main() -> None:
    read_params()


if __name__ == "__main__":
    run_tool(main)
