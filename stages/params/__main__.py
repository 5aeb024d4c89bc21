"""`python -m stages.params` checks params.yaml before anything runs. Every stage does so too, when it begins."""

from stages.console.stage import run_tool
from stages.params.read import read_params


def main() -> None:
    read_params()


if __name__ == "__main__":
    run_tool(main)
