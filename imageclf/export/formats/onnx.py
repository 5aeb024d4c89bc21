"""ONNX: the file carries its classes and preprocessing, and nothing about the machine that made it."""

import json
from typing import Any

import onnx

from imageclf.export.registry import Material
from imageclf.models.tracing import translated

FILE, AFTER_ONNX, EXACT = "classifier.onnx", False, True
READER = "imageclf.export.onnx_answers"
FACTS = "classifier"  # the key of the one entry in metadata_props


def write(material: Material) -> bytes:
    """The program as an ONNX file with its weights, byte-identical from any folder.

    Raises:
        ParamsError: the program cannot be converted.
        onnx.checker.ValidationError: the result is not valid ONNX.
    """
    model = translated(material.program, material.card, opset=material.opset)
    _strip(model)
    del model.graph.value_info[:]  # shapes between the nodes: every runtime infers them
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    model.ir_version = onnx.helper.find_min_ir_version_for(list(model.opset_import))  # so that old runtimes load it
    model.metadata_props.add(key=FACTS, value=json.dumps(material.facts, sort_keys=True))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _strip(message: Any) -> None:
    """Clear documentation and metadata everywhere: they hold stack traces with absolute paths."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:  # one message, or several
                _strip(part)
