"""Print what HEAD changes in the results, as Markdown for a pull request: `python -m tools.pull_request BASE`.

It prints the verdict of tools.compare and the table of `dvc metrics diff`, and takes about 3 seconds. BASE is a branch,
tag, commit or experiment. Changes that are not committed do not count. .github/workflows/check.yml posts the text.
"""

import argparse
import subprocess
import sys
from textwrap import indent

from imageclf.runtime.errors import DataError
from imageclf.runtime.stage import run_tool


def main() -> None:
    base = _base()
    found, verdict = _said_by(sys.executable, "-m", "tools.compare", "HEAD", base)
    compared, metrics = _said_by("dvc", "metrics", "diff", "--md", base, "HEAD")
    if not found and not compared:
        raise DataError(verdict)
    print(f"## Results against {base}\n")
    print(indent(verdict, "    "))  # a block that no name in it can end
    print(f"\n<details>\n<summary>Metrics that changed</summary>\n\n{metrics}\n\n</details>")


def _base() -> str:
    parser = argparse.ArgumentParser(
        prog="python -m tools.pull_request", description="What HEAD changes in the results, as Markdown."
    )
    parser.add_argument("base", metavar="BASE", help="a branch, tag, commit or experiment")
    return parser.parse_args().base


def _said_by(*command: str) -> tuple[bool, str]:
    """Whether the command succeeds; what it prints, or its error."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0, (done.stderr if done.returncode else done.stdout).strip()


if __name__ == "__main__":
    run_tool(main)
