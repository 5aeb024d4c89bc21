"""LiteRT, once TensorFlow Lite, for phones: `write` makes the file, `main` runs it.

Both happen in an environment of their own: requirements-litert.txt says why.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from imageclf.export.registry import Material
from imageclf.runtime.errors import MachineError, UserError, printable
from imageclf.runtime.stage import project_root

READER = "imageclf.export.formats.litert"  # this module
FILE, AFTER_ONNX, EXACT = "classifier.tflite", False, True
ENVIRONMENT = Path(".venv-litert")
CONVERT = """
import sys
import litert_torch
import torch

program, file, *shape = sys.argv[1:]
image = torch.zeros(1, *map(int, shape), dtype=torch.uint8)
litert_torch.convert(torch.export.load(program).module(), (image,)).export(file)
"""
ANSWER = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

classifier = Interpreter(sys.argv[1]).get_signature_runner()
every = np.load(sys.argv[2], mmap_mode="r")
np.save(sys.argv[3], np.concatenate([classifier(args_0=np.array(image[None]))["output_0"] for image in every]))
"""


def write(material: Material) -> bytes:
    """The file, which takes one image at a time, byte-identical from any folder.

    Raises:
        MachineError: the environment is missing.
        UserError: the network has an operation that LiteRT has not.
    """
    with tempfile.TemporaryDirectory() as folder:
        program, file = Path(folder, "classifier.pt2"), Path(folder, FILE)
        torch.export.save(material.program, program)
        size, channels = material.card.size, material.card.channels
        done = _run(CONVERT, str(program), str(file), *map(str, (*size, channels)))
        if done.returncode:
            why = printable((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
            raise UserError(
                f"litert-torch cannot make {FILE} ({why}), so nothing was exported; take litert out of export.formats"
            )
        return file.read_bytes()


def _run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    python = project_root() / ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        raise MachineError(
            f"export.formats: litert needs an environment of its own, {ENVIRONMENT}: make litert makes it, or "
            f"python -m venv {ENVIRONMENT}, and there pip install --require-hashes -r requirements-litert.lock"
        )
    others = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run([python, "-c", code, *arguments], env=others, capture_output=True, text=True, check=False)


def main(model: str, images: str, answers: str) -> None:
    done = _run(ANSWER, model, images, answers)
    sys.stderr.write(done.stderr)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main(*sys.argv[1:])
