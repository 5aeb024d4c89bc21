"""ONNX with weights and activations of eight bits: a quarter of the size, about twice as fast, and not exact.

The ranges of the activations come from training images (static quantisation by onnxruntime).
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static

from imageclf.export.registry import Material

FILE, AFTER_ONNX, EXACT = "classifier_int8.onnx", True, False
READER = "imageclf.export.onnx_answers"
TOGETHER = 10  # images whose activations are in memory at once


def write(material: Material) -> bytes:
    """The ONNX file of the material, quantised, byte-identical from any folder."""
    with tempfile.TemporaryDirectory() as folder, _silent():
        exact, quantised = Path(folder, "exact.onnx"), Path(folder, "int8.onnx")
        exact.write_bytes(material.made["onnx"])
        quantize_static(
            exact,
            quantised,
            _Images(material.images),
            extra_options={"CalibStridedMinMax": min(TOGETHER, len(material.images))},
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],  # the normalisation stays in fp32
            per_channel=True,
            calibrate_method=CalibrationMethod.Percentile,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,  # seven bits: older processors add eight with saturation, and answer differently
        )
        model = onnx.load(quantised)
    kept = [entry for entry in model.metadata_props if entry.key != "onnx.infer"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    return model.SerializeToString(deterministic=True)


class _Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Images uint8 (N, H, W, C), one by one; with more than TOGETHER, as many as are a multiple of it."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = images[: len(images) - len(images) % min(TOGETHER, len(images))]

    def __len__(self) -> int:
        return len(self._images)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._some = iter(self._images[start_index:end_index, None])

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._some, None)
        return None if image is None else {"images": image}


@contextmanager
def _silent() -> Iterator[None]:
    """Without the quantiser's progress and its advice to change the graph before, which goes to logging's root."""
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
