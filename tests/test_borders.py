"""An edit re-runs the stages that it can change, and no others: `dvc status` is asked, for one file in every folder."""

import json
from pathlib import Path

import pytest

from imageclf import CODE_FOLDERS
from tests.conftest import Project
from tests.imports import ROOT

ALL = "download prepare train evaluate export"
NETWORKS = "train evaluate export"
STAGES = {
    "imageclf/randomness.py": "download prepare train",
    "imageclf/augment/mixing.py": "train",
    "imageclf/config/train.py": "train",
    "imageclf/config/section.py": ALL,
    "imageclf/datasets/folder.py": "download",
    "imageclf/datasets/builtin/cifar.py": "download",
    "imageclf/evaluation/report.py": "evaluate",
    "imageclf/evaluation/scores.py": NETWORKS,
    "imageclf/export/model_card.py": "export",
    "imageclf/export/formats/onnx.py": "export",
    "imageclf/images/splits.py": "prepare",
    "imageclf/images/dataset.py": "prepare train evaluate export",
    "imageclf/models/classifier.py": NETWORKS,
    "imageclf/models/networks/notes.py": NETWORKS,
    "imageclf/runtime/progress.py": ALL,
    "imageclf/training/optimizers.py": "train",
    "imageclf/weights/matching.py": "train",
    "stages/evaluate.py": "evaluate",
    "tools/predict.py": "",
    "tools/comparing/verdict.py": "",
    "tools/starting/choice.py": "",
    "tools/sweeping/grid.py": "",
    "tools/verifying/health.py": "",
}


def stages_to_run(project: Project) -> set[str]:
    return set(json.loads(project.run("dvc", "status", "--json")))


@pytest.mark.parametrize("path", STAGES)
def test_an_edit_re_runs_what_it_can_change(project: Project, path: str) -> None:
    file = project.folder / path
    before = file.read_bytes()
    try:
        file.write_bytes(before + b"# edited\n")
        assert stages_to_run(project) == set(STAGES[path].split())
    finally:
        file.write_bytes(before)


def test_every_folder_has_a_file_here() -> None:
    folders = {path.parent.relative_to(ROOT) for name in CODE_FOLDERS for path in (ROOT / name).rglob("*.py")}
    empty = {
        folder
        for folder in folders
        if not [file for file in (ROOT / folder).glob("*.py") if "__init__" not in file.name]
    }
    assert folders - empty == {Path(path).parent for path in STAGES}


def test_what_python_keeps_beside_code_counts_for_nothing(project: Project) -> None:
    kept = project.folder / "imageclf/models/__pycache__/something.cpython-311.pyc"
    kept.parent.mkdir(exist_ok=True)
    try:
        kept.write_bytes(b"x")
        assert stages_to_run(project) == set()
    finally:
        kept.unlink()


def test_a_param_re_runs_the_stage_of_its_section(project: Project) -> None:
    before = project.read("params.yaml")
    try:
        project.change("params.yaml", "  weight_decay: ", "  weight_decay: 0.5 #")
        assert stages_to_run(project) == {"train"}
    finally:
        (project.folder / "params.yaml").write_text(before)
