"""One network of each of torchvision's families on fake GPUs: `python -m tests.gpu.families`, in about ten minutes.

Prints a line for each, and exits with 1 if one does not train, or uses an operation that cannot be repeated.
"""

import sys
import tempfile
from pathlib import Path

from tests.gpu.cases import FAMILIES
from tests.gpu.test_fakes import UNREPEATABLE, results


def main() -> int:
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in FAMILIES:
            found = results(Path(folder), [name])[name]
            fault = found.get("error") or ", ".join(UNREPEATABLE & set(found["by_name"]))
            words = fault or f"{found['kernels']:6,.0f} kernels, {found['waits']:.0f} waits a step"
            faults += bool(fault)
            print(f"{name:20}{words}", flush=True)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
