"""ONNX and .pt2 from every kind of network: any number of images, the classifier's own answers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imageclf.evaluation.inference import predict_logits
from imageclf.export.formats import onnx, pt2
from imageclf.export.onnx_answers import load_onnx_classifier
from imageclf.export.registry import Material
from imageclf.models.card import Card
from imageclf.models.classifier import build_classifier
from imageclf.models.tracing import traced
from tests.small_run import make_card, random_images

CPU = torch.device("cpu")
THOUSAND = tuple(f"class {number}" for number in range(1000))


@pytest.mark.parametrize(
    ("card", "opset"),
    [
        (make_card("cifarnet", size=(16, 24), channels=1, classes=("no", "yes")), 18),
        pytest.param(replace(make_card("cifarnet"), tta_flip=True), 23, marks=pytest.mark.slow),
        (make_card("notes_cnn", size=(28, 28), channels=1, classes=THOUSAND), 20),
        (replace(make_card("cifarnet", size=(32, 24)), network_size=(48, 48)), 18),
        pytest.param(
            replace(make_card("squeezenet1_1", size=(64, 64), channels=1), network_size=(40, 40), head="append"),
            18,
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda value: value.model if isinstance(value, Card) else f"opset {value}",
)
def test_both_files_answer_as_the_classifier_does(tmp_path: Path, card: Card, opset: int) -> None:
    torch.manual_seed(0)
    classifier, images = build_classifier(card).eval(), random_images(5, card)
    expected = torch.softmax(predict_logits(classifier, images, device=CPU, threads=1), dim=1).numpy()

    facts = {"classes": card.classes, "channels": card.channels, "size": card.size, "network_size": card.network_size}
    material = Material(traced(classifier, card), card, facts, opset, scores={}, images=images)
    (tmp_path / "classifier.pt2").write_bytes(pt2.write(material))
    (tmp_path / "classifier.onnx").write_bytes(onnx.write(material))

    loaded, session = pt2.Program(tmp_path / "classifier.pt2"), load_onnx_classifier(tmp_path / "classifier.onnx")
    assert (session.classes, session.size, session.channels) == (card.classes, card.size, card.channels)
    for count in (1, 2, 5):
        by_program = predict_logits(loaded, images[:count], device=CPU, threads=1).numpy()
        by_onnx = session.probabilities(images[:count], threads=1)
        assert by_onnx.dtype == by_program.dtype == np.float32
        assert by_program == pytest.approx(expected[:count], abs=1e-5)
        assert by_onnx == pytest.approx(expected[:count], abs=1e-5)
        assert by_onnx.sum(axis=1) == pytest.approx(np.ones(count), abs=1e-5)
