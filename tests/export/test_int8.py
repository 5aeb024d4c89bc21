"""int8: smaller, the same bytes every time, and read like the exact file."""

from pathlib import Path

import numpy as np
import torch

from imageclf.export.formats import int8, onnx
from imageclf.export.onnx_answers import load_onnx_classifier
from imageclf.export.registry import Material
from imageclf.models.classifier import build_classifier
from imageclf.models.tracing import traced
from tests.small_run import make_card, random_images


def test_it_is_smaller_and_says_what_it_classifies(tmp_path: Path) -> None:
    torch.manual_seed(0)
    card = make_card("cifarnet", size=(32, 32))
    images = random_images(40, card)
    facts = {"classes": card.classes, "size": card.size, "channels": card.channels, "threshold": 0.5}
    program = traced(build_classifier(card).eval(), card)
    material = Material(program, card, facts, 18, scores={}, images=images)
    material.made["onnx"] = onnx.write(material)
    content = int8.write(material)
    assert content == int8.write(material)
    assert len(content) < 0.35 * len(material.made["onnx"])

    exact, small = tmp_path / onnx.FILE, tmp_path / int8.FILE
    exact.write_bytes(material.made["onnx"])
    small.write_bytes(content)
    loaded = load_onnx_classifier(small)
    assert (loaded.classes, loaded.size, loaded.threshold) == (card.classes, card.size, 0.5)
    answers = [load_onnx_classifier(file).probabilities(images, threads=1) for file in (exact, small)]
    difference = np.abs(answers[0] - answers[1]).max()
    assert 0 < difference < 0.05
