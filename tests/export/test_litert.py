"""LiteRT is made in an environment of its own; without a whole one, export says so."""

import os
from pathlib import Path
from typing import Any

import pytest

from imageclf.export.formats import litert
from imageclf.export.registry import Material
from imageclf.models.classifier import build_classifier
from imageclf.models.tracing import traced
from imageclf.runtime.errors import MachineError, UserError
from tests.small_run import make_card


@pytest.fixture
def material() -> Any:
    card = make_card()
    return Material(traced(build_classifier(card), card, None), card, {}, 18, {}, images=None)  # type: ignore[arg-type]


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the environment's Python is to be, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    path = tmp_path / litert.ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    path.parent.mkdir(parents=True)
    return path


def test_without_the_environment_a_sentence_says_how_to_make_it(material: Material, python: Path) -> None:
    with pytest.raises(MachineError, match=r"an environment of its own, \.venv-litert: make litert makes it"):
        litert.write(material)


@pytest.mark.skipif(os.name == "nt", reason="a script stands for Python")
def test_what_litert_cannot_convert_is_one_sentence(material: Material, python: Path) -> None:
    python.write_text("#!/bin/sh\necho 'Traceback' >&2\necho 'RuntimeError: no lowering of aten.eye' >&2\nexit 1\n")
    python.chmod(0o755)
    sentence = r"cannot make classifier.tflite \(RuntimeError: no lowering of aten.eye\), so nothing was exported"
    with pytest.raises(UserError, match=sentence):
        litert.write(material)
