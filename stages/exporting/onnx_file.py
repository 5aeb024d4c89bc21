"""An exported program as an ONNX file that says what it classifies and nothing about who made it where."""

import json
import logging
import warnings
from typing import Any

import onnx
import torch
from torch.export import ExportedProgram

from stages.exporting.program import INPUT, OUTPUT

FACTS = "classifier"  # the key of the one entry in metadata_props


def onnx_bytes(program: ExportedProgram, *, opset: int, facts: dict[str, Any]) -> bytes:
    """The program as an ONNX file, weights inside, the same bytes from any folder.

    Raises:
        onnx.checker.ValidationError: the result is not valid ONNX.
    """
    model = _translate(program, opset)
    _strip(model)
    del model.graph.value_info[:]  # shapes between the nodes: every runtime infers them
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    model.metadata_props.add(key=FACTS, value=json.dumps(facts, sort_keys=True))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _translate(program: ExportedProgram, opset: int) -> onnx.ModelProto:
    """torch's own translation, without its remarks on the terminal."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            translated = torch.onnx.export(
                program, dynamo=True, opset_version=opset, input_names=[INPUT], output_names=[OUTPUT], verbose=False
            )
    finally:
        logging.disable(logging.NOTSET)
    assert translated is not None  # None is the answer where a file name is given
    return translated.model_proto


def _strip(message: Any) -> None:
    """Clear documentation and metadata everywhere: stack traces with absolute paths hide in them."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:  # one message, or several
                _strip(part)
