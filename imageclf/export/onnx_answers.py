"""Run an exported ONNX file with onnxruntime on the CPU, without torch.

python -m imageclf.export.onnx_answers classifier.onnx images.npy probabilities.npy
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime

from imageclf.runtime.errors import DataError
from imageclf.runtime.files import brings
from imageclf.runtime.platform import available_cores

CHUNK_PIXELS = 200 * 32 * 32  # pixels per forward pass


@dataclass(frozen=True)
class OnnxClassifier:
    """A loaded file: the session and its metadata."""

    session: onnxruntime.InferenceSession
    classes: list[str]
    size: tuple[int, int]  # height, width of the images, in pixels
    network_size: tuple[int, int]  # height, width that the network sees
    channels: int
    threshold: float | None = None  # an answer with a lower probability is unsure; None: none is
    window: list[int] | None = None  # values of 16-bit grey pictures that become black and white; None: 0 and 65535
    fit: str = "crop"  # how a picture becomes of this size: crop, pad or stretch
    thresholds: dict[str, float] = field(default_factory=dict)  # by the percentage of answers that are right at them
    unlike_entropy: float | None = None  # a picture whose answer exceeds it is unlike the training images

    def probabilities(self, images: np.ndarray, *, threads: int) -> np.ndarray:
        """Class probabilities float32 (N, classes) of uint8 (N, H, W, C), N at least 1, independent of `threads`."""
        count = max(1, CHUNK_PIXELS // (self.network_size[0] * self.network_size[1]))
        chunks = (np.ascontiguousarray(images[begin : begin + count]) for begin in range(0, len(images), count))
        with ThreadPoolExecutor(threads) as pool:
            answers = pool.map(lambda chunk: self.session.run(["probabilities"], {"images": chunk})[0], chunks)
            return np.concatenate(list(answers))


def load_onnx_classifier(path: Path) -> OnnxClassifier:
    """Open an exported file.

    Raises:
        DataError: the file is missing, or export did not write it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: every error is raised too
    # A file may point to external files with weights: look for them where there can be none.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        facts = json.loads(session.get_modelmeta().custom_metadata_map["classifier"])
        size = tuple(facts["size"])
        network_size = tuple(facts.get("network_size", size))
        threshold = float(facts["threshold"]) if "threshold" in facts else None
        return OnnxClassifier(
            session,
            facts["classes"],
            size,
            network_size,
            facts["channels"],
            threshold,
            facts.get("window"),
            facts.get("fit", "crop"),
            facts.get("thresholds", {}),
            facts.get("unlike_entropy"),
        )
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run {brings('export')}") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; give the file, such as {path / 'classifier.onnx'}") from None
    except Exception:  # onnxruntime's errors have no other common base
        raise DataError(f"{path} is damaged or was not written by export; run dvc repro -f export") from None


def main(model: Path, images: Path, answers: Path) -> None:
    classifier = load_onnx_classifier(model)
    pixels = np.load(images, mmap_mode="r")
    np.save(answers, classifier.probabilities(pixels, threads=available_cores()))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
