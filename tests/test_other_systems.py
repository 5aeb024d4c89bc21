"""The pipeline where POSIX is missing, as on Windows: no fork, fcntl, resource, prctl, preadv or setitimer."""

import sys
from pathlib import Path

import pytest

from tests.conftest import Project, make_project
from tests.imports import ROOT

pytestmark = pytest.mark.slow

STAGES = ("download", "prepare", "train", "evaluate", "export")


def test_without_posix_it_ends_with_the_same_scores(tmp_path: Path, project: Project) -> None:
    bare = make_project(tmp_path / "bare")
    bare.change("params.yaml", "  workers: auto", "  workers: 2")
    bare.environment["PYTHONPATH"] = str(ROOT / "tests/no_posix")
    for stage in STAGES:
        print(bare.run(sys.executable, "-m", f"stages.{stage}"))
    for scores in ("metrics/train.json", "metrics/evaluate.json", "metrics/export.json"):
        assert bare.read(scores) == project.read(scores), scores
