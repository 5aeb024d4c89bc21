"""A page for people without Python: `write` makes it, `main` runs the classifier that is inside.

It is one file that opens from a folder and fetches nothing. onnxruntime's WebAssembly is inside: it comes from the npm
package onnxruntime-web, of which .downloads must have the file.
"""

import base64
import gzip
import hashlib
import io
import json
import re
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from PIL import Image

from imageclf.export import onnx_answers
from imageclf.export.registry import Material
from imageclf.images.decode import GREY
from imageclf.runtime.errors import DataError
from imageclf.runtime.stage import project_root

READER = "imageclf.export.formats.demo"  # this module
FILE, AFTER_ONNX, EXACT = "demo.html", True, True
TEMPLATE = Path(__file__).with_suffix(".html")
PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
RUNTIME = Path(f".downloads/{PACKAGE}-{VERSION}.tgz")
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
PARTS = {"runtime": "ort.wasm.min.js", "glue": "ort-wasm-simd-threaded.mjs", "wasm": "ort-wasm-simd-threaded.wasm"}
NAMED = 12  # classes
EXAMPLES = 6  # training images to try


def write(material: Material) -> bytes:
    """The page, byte-identical from any folder.

    Raises:
        DataError: the file of onnxruntime-web is missing or another one.
    """
    parts, facts = _parts(), material.facts
    classes = ", ".join(facts["classes"][:NAMED])
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(TEMPLATE.read_text(encoding="utf-8"))
    return page.render(
        title=f"{facts['model']} on {facts['data']}",
        classes=classes + (" and more" if len(facts["classes"]) > NAMED else ""),
        facts=facts,
        facts_json=_Safe(json.dumps(facts, sort_keys=True).replace("<", "\\u003c")),
        about=_about(material),
        examples=_examples(material.images),
        grey=GREY,
        model=_packed(material.made["onnx"]),
        wasm=_packed(parts["wasm"]),
        glue=base64.b64encode(parts["glue"]).decode(),
        runtime=_Safe(parts["runtime"].decode().replace("</script", "<\\/script")),
    ).encode()


class _Safe(str):
    """Text that stands in the page as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def _about(material: Material) -> dict[str, str]:
    scores = material.scores
    about = {
        "test top-1": f"{100 * scores['top1']:.1f} % of {scores['images']:,} images" if "images" in scores else "",
        "unsure": f"below {100 * material.facts['threshold']:.1f} %" if "threshold" in material.facts else "",
        "pictures": material.facts["pictures"],
        "made with": ", ".join(f"{name} {value}" for name, value in material.card.made_with.items()),
    }
    return {name: value for name, value in about.items() if value}


def _examples(images: np.ndarray) -> list[str]:
    """Some of the images (N, H, W, C), from the first to the last, as PNG in base64."""
    chosen = np.linspace(0, len(images) - 1, min(EXAMPLES, len(images)), dtype=int)
    files = [io.BytesIO() for _ in chosen]
    for number, file in zip(chosen, files, strict=True):
        Image.fromarray(images[number].squeeze()).save(file, "PNG")
    return [base64.b64encode(file.getvalue()).decode() for file in files]


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _parts() -> dict[str, bytes]:
    path = project_root() / RUNTIME
    remedy = f"mkdir -p {RUNTIME.parent} && npm pack {PACKAGE}@{VERSION} --pack-destination {RUNTIME.parent}"
    if not path.exists():
        raise DataError(f"export.formats has demo, and {RUNTIME} is missing; run {remedy}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DataError(f"{RUNTIME} is damaged or another version; remove it and run {remedy}")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = {part: archive.extractfile(f"package/dist/{name}") for part, name in PARTS.items()}
        return {part: file.read() for part, file in files.items() if file}


def main(page: Path, images: Path, answers: Path) -> None:
    found = re.search(r'id="model">([^<]+)<', page.read_text(encoding="utf-8"))
    assert found
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "classifier.onnx"
        model.write_bytes(gzip.decompress(base64.b64decode(found[1])))
        onnx_answers.main(model, images, answers)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
