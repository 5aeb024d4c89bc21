"""The exported file answers elsewhere as here: `python -m tests.proof.runtimes`, or with names of runtimes.

In a project whose export has run. Each runtime is installed by pip or npm into a temporary folder, and asked there
about the test images. Node, also with what browsers use, and OpenVINO run the lines of the model card; the server runs
those of docs/export-and-use.md.
Prints a line for each, and exits with 1 if one gives an image another class than the trained model, or another
probability by 0.001.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from imageclf.export.agreement import FAR
from imageclf.models.card import read_card
from tests.imports import ROOT

EXPORT = ROOT / "models/export"
POSTED = 200  # images that the server is asked about
ONNXRUNTIME = """\
import onnxruntime
session = onnxruntime.InferenceSession("classifier.onnx", providers=["CPUExecutionProvider"])
(probabilities,) = session.run(["probabilities"], {"images": images})"""
PYTHON = """\
import numpy as np
{made}
every, answers = np.load("images.npy"), []
for begin in range(0, len(every), 100):
    images = every[begin : begin + 100]
    {asked}
    answers.append(probabilities)
np.save("answers.npy", np.concatenate(answers))
"""
NODE = """\
const fs = require("fs");
(async () => {{
  {made}
  const every = fs.readFileSync("images.bin"), answers = [];
  for (let begin = 0; begin < every.length; begin += {bytes}) {{
    const pixels = new Uint8Array(every.subarray(begin, begin + {bytes}));
    {asked}
    answers.push(Buffer.from(probabilities.data.buffer));
  }}
  fs.writeFileSync("answers.bin", Buffer.concat(answers));
}})();
"""


def main(names: list[str]) -> int:
    every, classes = np.load(ROOT / "data/prepared/test_images.npy"), read_card(ROOT / "models/classifier").classes
    trained = pd.read_csv(ROOT / "metrics/predictions.csv").iloc[:, -len(classes) :].to_numpy()
    faults = 0
    for name in names or RUNTIMES:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "classifier.onnx").symlink_to(EXPORT / "classifier.onnx")
            np.save(folder / "images.npy", every)
            answers = RUNTIMES[name](folder)
        expected = trained[: len(answers)]
        same = int((answers.argmax(axis=1) == expected.argmax(axis=1)).sum())
        furthest = float(np.abs(answers - expected).max())
        faults += same < len(answers) or not furthest < FAR
        print(
            f"{name:24}{same:>7,} of {len(answers):,} the same class, probabilities to {furthest:.1g}, "
            f"{time.monotonic() - begun:.0f} s",
            flush=True,
        )
    return int(faults > 0)


def _by_onnxruntime(*packages: str) -> Callable[[Path], np.ndarray]:
    return lambda folder: _by_python(folder, ONNXRUNTIME, *packages)


def _by_openvino(folder: Path) -> np.ndarray:
    return _by_python(folder, _card_lines("openvino"), "openvino==2026.4.1", "numpy")


def _by_python(folder: Path, lines: str, *packages: str) -> np.ndarray:
    made, _, asked = lines.rpartition("\n")
    (folder / "ask.py").write_text(PYTHON.format(made=made, asked=asked))
    _run(folder, sys.executable, "-m", "venv", "environment")
    python = str(folder / "environment/bin/python")
    _run(folder, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    _run(folder, python, "ask.py")
    return np.load(folder / "answers.npy")


def _by_javascript(package: str) -> Callable[[Path], np.ndarray]:
    def answers(folder: Path) -> np.ndarray:
        images = np.load(folder / "images.npy")
        images.tofile(folder / "images.bin")
        lines = _card_lines("onnxruntime-node").replace("onnxruntime-node", package.partition("@")[0]).splitlines()
        made, asked = "\n".join(lines[:2]), "\n".join(lines[2:])
        (folder / "ask.js").write_text(NODE.format(made=made, asked=asked, bytes=images[0].nbytes))
        # Without the package's own script, which fetches libraries for GPUs.
        _run(folder, "npm", "install", "--silent", "--ignore-scripts", package)
        _run(folder, "node", "ask.js")
        return np.fromfile(folder / "answers.bin", np.float32).reshape(len(images), -1)

    return answers


def _by_server(folder: Path) -> np.ndarray:
    page = (ROOT / "docs/export-and-use.md").read_text(encoding="utf-8")
    server, install = re.findall(r"```python\n(.*?FastAPI.*?)```", page, re.DOTALL), "pip install fastapi==0.165.0"
    assert len(server) == 1 and install in page
    (folder / "server.py").write_text(server[0])
    extra = str(folder / "extra")
    _run(
        folder,
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--target",
        extra,
        "fastapi==0.165.0",
        "uvicorn==0.54.0",
    )
    path = os.pathsep.join([str(folder), extra])
    command = [sys.executable, "-m", "uvicorn", "server:app", "--port", "8765", "--log-level", "error"]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}) as process:
        try:
            return np.array([_posted(image) for image in np.load(folder / "images.npy", mmap_mode="r")[:POSTED]])
        finally:
            process.terminate()


def _posted(image: np.ndarray) -> list[float]:
    png = BytesIO()
    Image.fromarray(image.squeeze()).save(png, "PNG")
    for _ in range(100):  # until the server is up
        try:
            with urllib.request.urlopen("http://127.0.0.1:8765/", png.getvalue()) as answer:
                return list(json.load(answer).values())
        except urllib.error.URLError:
            time.sleep(0.2)
    raise TimeoutError("the server does not answer")


def _card_lines(words: str) -> str:
    """The lines of code in the model card that contain `words`."""
    blocks = re.findall(r"```\w+\n(.*?)\n```", (EXPORT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if words in block]
    return found


def _run(folder: Path, *command: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


RUNTIMES: dict[str, Callable[[Path], np.ndarray]] = {
    "onnxruntime 1.32, alone": _by_onnxruntime("onnxruntime==1.32.0"),
    "onnxruntime 1.16": _by_onnxruntime("onnxruntime==1.16.3", "numpy<2"),
    "onnxruntime-node 1.22": _by_javascript("onnxruntime-node@1.22.0"),
    "onnxruntime-web 1.30": _by_javascript("onnxruntime-web@1.30.0"),  # WebAssembly, as in a browser
    "OpenVINO 2026.4": _by_openvino,
    "FastAPI": _by_server,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
