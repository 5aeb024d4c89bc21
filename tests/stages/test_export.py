"""export: proven before it counts, the same bytes from anywhere, nothing of this machine inside."""

import json
import os
import pkgutil
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.export import ExportedProgram

from imageclf.evaluation.predictions import prediction_table
from imageclf.export import formats
from imageclf.export.registry import chosen_formats
from imageclf.models.card import Card
from imageclf.models.classifier import Classifier, load_classifier
from imageclf.models.tracing import traced
from imageclf.runtime.errors import DataError, UserError
from imageclf.runtime.files import sha256_of_file
from stages import export
from tests.conftest import HANGS
from tests.imports import ROOT
from tests.small_run import make_card, make_run, random_images

FORMATS = ("onnx", "pt2")
EXPORTED = {name: chosen.FILE for name, chosen in chosen_formats(FORMATS).items()}
FILES = (*EXPORTED.values(), "classifier.json", "labels.txt", "README.md")
TEMPERATURE = 0.5
SCORES = {
    "loss": 1.25,
    "top1": 0.25,
    "top1_low": 0.1,
    "top1_high": 0.4,
    "top5": 1.0,
    "images": 24,
    "per_class": {},
    "calibration": {"temperature": TEMPERATURE, "loss_as_trained": 1.0, "ece_as_trained": 0.0},
    "selective": {"threshold": 0.625, "asked": 0.9, "coverage": 0.5, "precision": 0.875},
    "unlike": {"entropy": 0.75, "false_alarms": 0.125},
}
# One process has one core, the other all, and reads its files itself; each has another hash seed, home, user and host.
RUN = (
    "import os, runpy, socket; {unlike}; socket.gethostname = lambda: {host!r}; "
    "runpy.run_module('stages.export', run_name='__main__')"
)
UNLIKE = (
    "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})",
    "from imageclf.export import agreement; from tests.small_run import answers_here; "
    "agreement.fresh_answers = answers_here",
)
USERS, HOSTS = ("user-of-one", "user-of-another"), ("host-of-one", "host-of-another")


@dataclass
class Exported:
    """A folder in which `python -m stages.export` has run, and what it printed."""

    folder: Path
    output: str
    complaints: str

    @property
    def files(self) -> list[Path]:
        return [self.folder / "models/export" / name for name in FILES] + [self.folder / "metrics/export.json"]


def make_ready(folder: Path, card: Card | None = None) -> None:
    """All that export reads: 300 test images, an untrained classifier, its scores and its predictions."""
    card = card or make_card()
    images, labels = random_images(300, card), np.arange(300) % 3
    make_run(folder, card, images=images, labels=labels)
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("formats: [onnx] ", f"formats: [{', '.join(FORMATS)}] "))
    (folder / "metrics/evaluate.json").write_text(json.dumps(SCORES))
    classifier, _ = load_classifier(folder / "models/classifier")
    with torch.no_grad():
        probabilities = (classifier(torch.from_numpy(images)) / TEMPERATURE).softmax(1).numpy()
    samples = pd.read_csv(folder / "data/prepared/samples.csv").query("split == 'test'")
    table = prediction_table(samples, probabilities, card.classes)
    table.to_csv(folder / "metrics/predictions.csv", index=False, float_format="%.6f")


def run_in(folder: Path, number: int) -> Exported:
    make_ready(folder)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": str(number),
        "HOME": str(folder / "home"),
        "LOGNAME": USERS[number],
    }
    command = [sys.executable, "-c", RUN.format(unlike=UNLIKE[number], host=HOSTS[number])]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=HANGS, check=False
    )
    assert done.returncode == 0, done.stderr
    return Exported(folder, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return run_in(tmp_path_factory.mktemp("first"), 0)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_ready(tmp_path)
    return tmp_path


def test_every_format_has_a_file_of_its_own() -> None:
    every = chosen_formats([found.name for found in pkgutil.iter_modules(formats.__path__)])
    names = [*(chosen.FILE for chosen in every.values()), "classifier.json", "labels.txt", "README.md", "SHA256SUMS"]
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_two_processes_in_two_folders_write_the_same_bytes(run: Exported, tmp_path: Path) -> None:
    other = run_in(tmp_path / "another place", 1)
    assert [sha256_of_file(file) for file in other.files] == [sha256_of_file(file) for file in run.files]


def test_no_artefact_names_a_folder_a_user_or_a_host(run: Exported) -> None:
    words = [str(run.folder), str(ROOT), sys.prefix, "site-packages", USERS[0], HOSTS[0]]
    for file in run.files:
        content = file.read_bytes()
        assert not [word for word in words if word.encode() in content], file
        assert b"stack_trace" not in content


def test_the_archive_of_the_pt2_is_uncompressed_and_undated(run: Exported) -> None:
    # So that the search above sees all of it.
    for member in zipfile.ZipFile(run.folder / "models/export/classifier.pt2").infolist():
        assert member.compress_type == zipfile.ZIP_STORED
        assert member.date_time == (1980, 0, 0, 0, 0, 0)


def test_the_terminal_shows_an_opening_and_a_closing_line(run: Exported) -> None:
    opening, *progress, closing = run.output.splitlines()
    assert all(
        re.match(r"export: \d+ img, ", line) for line in progress
    )  # after every 15 seconds, if there are as many
    files = ", ".join(EXPORTED.values())
    assert opening == f"export: cifarnet as {files} (ONNX opset 18); 300 test images must agree"
    assert re.fullmatch(
        r"export: models/export, same answers as the trained model on 300 of 300 test images, [\d.]+ s", closing
    )
    assert run.complaints == ""


def test_the_onnx_file_is_valid_whole_and_says_what_it_classifies(run: Exported) -> None:
    model = onnx.load(run.folder / "models/export/classifier.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert model.ir_version == 8  # onnxruntime 1.15, of opset 18's year, takes no higher one
    assert [entry.key for entry in model.metadata_props] == ["classifier"]
    facts = json.loads(model.metadata_props[0].value)
    assert facts.pop("pictures")
    found = {"threshold": 0.625, "temperature": 0.5, "unlike_entropy": 0.75}
    assert {name: facts.pop(name) for name in found} == found
    origin = {"model": "cifarnet", "data": "tiny", "data_sha256": {}}
    assert facts == {"classes": ["ant", "bee", "cat"], "size": [16, 16], "channels": 3} | origin
    beside = json.loads((run.folder / "models/export/classifier.json").read_text())
    assert beside == json.loads(model.metadata_props[0].value)
    parts = [model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer]
    assert not any(part.doc_string or part.metadata_props for part in parts)


def test_the_onnx_file_keeps_the_contract_of_its_input_and_output(run: Exported) -> None:
    session = onnxruntime.InferenceSession(run.folder / "models/export/classifier.onnx")
    (images,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(uint8)", ["batch", 16, 16, 3])
    assert (probabilities.name, probabilities.type) == ("probabilities", "tensor(float)")
    assert probabilities.shape == ["batch", 3]


def test_the_pt2_file_says_what_it_classifies(run: Exported) -> None:
    inside = {"classifier.json": ""}
    program = torch.export.load(run.folder / "models/export/classifier.pt2", extra_files=inside)
    assert json.loads(inside["classifier.json"])["classes"] == ["ant", "bee", "cat"]
    assert program.module()(torch.zeros(7, 16, 16, 3, dtype=torch.uint8)).shape == (7, 3)


def test_metrics_give_each_files_scores_agreement_and_size(run: Exported) -> None:
    metrics = json.loads((run.folder / "metrics/export.json").read_text())
    for kind, name in EXPORTED.items():
        report = metrics[kind]
        assert report["same"] == report["images"] == 300
        assert report["largest_difference"] < 1e-5
        assert report["bytes"] == (run.folder / "models/export" / name).stat().st_size
        assert report["top1"] == metrics["onnx"]["top1"]


def test_labels_are_a_class_a_line(run: Exported) -> None:
    assert (run.folder / "models/export/labels.txt").read_text() == "ant\nbee\ncat\n"


def test_the_model_cards_snippet_runs(run: Exported, tmp_path: Path) -> None:
    source = run.folder / "models/export"
    snippet, *_ = re.findall(r"```python\n(.*?)```", (source / "README.md").read_text(), re.DOTALL)
    for name in ("classifier.onnx", "labels.txt"):
        (tmp_path / name).symlink_to(source / name)
    Image.new("RGBA", (40, 30), "red").save(tmp_path / "picture.png")
    done = subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert re.fullmatch(r"(ant|bee|cat) 0\.\d+\n", done.stdout), done.stderr


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the seconds that torch takes, where the answers are a test's own."""
    formats = {
        name: SimpleNamespace(
            FILE=f"classifier.{name}", AFTER_ONNX=False, EXACT=True, READER="none", write=lambda material: b"exported"
        )
        for name in ("onnx", "pt2")
    }
    monkeypatch.setattr(export, "traced", lambda *_: None)
    monkeypatch.setattr(export, "chosen_formats", lambda names: formats)


@pytest.mark.usefixtures("exported")
def test_an_answer_that_differs_leaves_nothing(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reversed_answers(reader: str, model: Path, images: Path) -> np.ndarray:
        assert model.read_bytes() == b"exported"
        return np.tile([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], (100, 1))

    monkeypatch.setattr(export, "fresh_answers", reversed_answers)
    with pytest.raises(UserError, match=r"disagrees with the trained model on .* so nothing was exported"):
        export.main()
    assert [path.name for path in Path("models").iterdir()] == ["classifier"]
    assert not Path("metrics/export.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["channels", "normalisation", "temperature"])
def test_a_fault_in_the_program_stops_export_and_names_an_image(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def wrong(classifier: Classifier, card: Card, temperature: float | None) -> ExportedProgram:
        if fault == "channels":
            pixels = classifier.pixels
            monkeypatch.setattr(classifier, "pixels", lambda images, scale=1.0: pixels(images.flip(3), scale))
        elif fault == "normalisation":
            classifier.std.fill_(1.0)
        return traced(classifier, card, 2.0 if fault == "temperature" else temperature)

    monkeypatch.setattr(export, "traced", wrong)
    with pytest.raises(UserError, match=r"classifier\.(onnx|pt2) .* number \d+\), so nothing was exported"):
        export.main()
    assert not Path("models/export").exists()


@pytest.mark.parametrize("name", ["evaluate.json", "predictions.csv"])
def test_without_what_evaluate_leaves_the_sentence_says_so(workspace: Path, name: str) -> None:
    Path("metrics", name).unlink()
    with pytest.raises(DataError, match=rf"metrics/{name} is missing; run dvc repro evaluate"):
        export.main()


def test_predictions_of_other_images_are_refused(workspace: Path) -> None:
    predictions = Path("metrics/predictions.csv")
    predictions.write_text(predictions.read_text()[:-200])
    with pytest.raises(DataError, match="not of these test images and classes"):
        export.main()


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize("sound", [True, False])
def test_of_many_classes_every_probability_is_still_held_to_the_trained_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sound: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    make_ready(tmp_path, make_card(classes=tuple(f"c{number}" for number in range(101))))
    assert "p_c0" not in Path("metrics/predictions.csv").read_text().splitlines()[0]
    classifier, _ = load_classifier()
    with torch.no_grad():
        logits = classifier(torch.from_numpy(np.load("data/prepared/test_images.npy")))
        answers = (logits / TEMPERATURE).softmax(1).numpy()
    least = answers[0].argmin()
    answers[0, least] -= 0 if sound else 0.002
    monkeypatch.setattr(export, "fresh_answers", lambda *_: answers)
    if sound:
        assert "300 of 300" in export.main()
    else:
        with pytest.raises(UserError, match=r"gives probabilities up to 0\.002 from the trained model's"):
            export.main()
