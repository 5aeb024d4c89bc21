"""The pipeline as it is used: repro, an experiment, what changed, and mistakes on the way."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.proof.ground import set_params


@pytest.fixture(scope="module")
def experiment(project: Project) -> Iterator[str]:
    """Another learning rate, tried as the README says; taken away afterwards, and the workspace is put back."""
    yield project.run("dvc", "exp", "run", "-n", "slower", "-S", "train.lr=0.001")
    project.run("dvc", "exp", "remove", "slower")
    project.run("git", "checkout", "-q", ".")
    project.run("dvc", "checkout", "-q")


def test_repro_leaves_a_classifier_that_has_learned(project: Project) -> None:
    metrics = json.loads(project.read("metrics/evaluate.json"))
    assert metrics["top1"] > 0.3
    assert json.loads(project.read("metrics/export.json"))["onnx"]["top1"] == pytest.approx(metrics["top1"], abs=0.01)


def test_git_holds_the_metrics_and_not_the_data(project: Project) -> None:
    tracked = set(project.run("git", "ls-files", "data", "models", "metrics", "dvc.lock", "logs").split())
    assert tracked == {
        "data/none",
        "dvc.lock",
        *(f"metrics/{name}" for name in ("confusion.csv", "data.json", "evaluate.json")),
        *(f"metrics/{name}" for name in ("export.json", "history.csv")),
        *(f"metrics/{name}" for name in ("coverage.csv", "per_class.csv", "reliability.csv", "train.json")),
    }


def test_a_second_repro_runs_nothing(project: Project) -> None:
    assert "Running stage" not in project.run("dvc", "repro")
    assert project.run("git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_forcing_a_stage_gives_the_same_bytes(project: Project) -> None:
    assert "Running stage 'train'" in project.run("dvc", "repro", "-f", "-s", "train")
    assert project.run("git", "status", "--porcelain") == ""


def test_each_stage_opens_and_closes_with_a_line(project: Project) -> None:
    printed = project.run("dvc", "repro", "-f", "-s", "prepare")
    assert re.search(r"^prepare: shapes, \d+ classes", printed, re.MULTILINE)
    assert re.search(r"^prepare: .* images in data/prepared, \d+\.\d s$", printed, re.MULTILINE)


def test_the_summary_names_the_score_and_the_file(project: Project) -> None:
    printed = project.run("python", "-m", "tools.summary")
    assert "shapes · cifarnet" in printed
    assert re.search(r"test top-1 +\d+\.\d %  \(95 % interval \d+\.\d to \d+\.\d\)", printed)
    assert re.search(r"same answers as the trained model on \d+ of \d+ test images", printed)
    assert "other params" not in printed
    try:
        set_params(project, label_smoothing=0.25)
        printed = project.run("python", "-m", "tools.summary")
    finally:
        project.run("git", "checkout", "params.yaml")
    assert "  these are results of other params: train.label_smoothing: " in printed


def test_a_version_is_registered_and_others_get_its_bytes(project: Project, tmp_path: Path) -> None:
    try:
        project.run("gto", "register", "classifier")
        project.run("dvc", "artifacts", "get", ".", "classifier", "--rev", "v0.0.1", "-o", str(tmp_path / "got"))
        got, kept = tmp_path / "got", project.folder / "models/export"
        assert sorted(file.name for file in got.iterdir()) == sorted(file.name for file in kept.iterdir())
        assert all((got / file.name).read_bytes() == file.read_bytes() for file in kept.iterdir())
    finally:
        project.run("git", "tag", "-d", "classifier@v0.0.1", expect=None)


@pytest.mark.slow
def test_an_experiment_trains_and_does_not_download(experiment: str) -> None:
    assert "Running stage 'train'" in experiment
    assert "Running stage 'prepare'" not in experiment


@pytest.mark.slow
def test_metrics_diff_shows_each_score(project: Project, experiment: str) -> None:
    changed = json.loads(project.run("dvc", "metrics", "diff", "--json"))
    assert {"top1", "loss"} <= set(changed["metrics/evaluate.json"])
    assert "train.loss" in changed["metrics/train.json"]


@pytest.mark.slow
def test_exp_show_has_the_row(project: Project, experiment: str) -> None:
    rows = list(csv.DictReader(project.run("dvc", "exp", "show", "--csv").splitlines()))
    row = next(row for row in rows if row["Experiment"] == "slower")
    assert float(row["train.lr"]) == 0.001


@pytest.mark.slow
def test_the_experiment_has_its_name_in_tensorboard(project: Project, experiment: str) -> None:
    assert list((project.folder / "logs" / "slower").glob("events.out.tfevents.*"))


@pytest.mark.slow
def test_plots_diff_draws_every_plot_of_both_revisions_and_needs_no_network(project: Project, experiment: str) -> None:
    project.run("dvc", "plots", "diff", "HEAD", "workspace")
    page = project.read("dvc_plots/index.html")
    for title in ("Loss by epoch", "Top-1 accuracy by epoch", "Learning rate", "Confusion", "F1 by class"):
        assert title in page
    for title in ("Reliability on the test split", "Precision by coverage"):
        assert title in page
    assert page.count("mistakes.png") >= 2
    assert page.count("preview.png") >= 2
    assert page.count("augmented.png") >= 2
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?https?:", page)
    assert "{plot_divs}" not in page


def test_the_plots_page_finds_each_chart_and_picture_in_what_dvc_writes(project: Project) -> None:
    project.run("dvc", "plots", "diff", "HEAD", "HEAD")
    page, _, written = project.read("dvc_plots/index.html").rpartition("<plaintext hidden>\n")
    line = re.search(r"const LINE = /(.*)/gm;", page)
    assert line
    found = re.findall(line[1].replace(r"\/", "/"), written, re.MULTILINE)
    titles = [json.loads(chart)["title"]["text"] for chart, _, _ in found if chart]
    assert titles[:3] == ["Loss by epoch", "Top-1 accuracy by epoch", "Learning rate at the end of each epoch"]
    assert len(titles) == 7
    assert [name for _, name, _ in found if name.endswith(".png")] == [
        f"metrics/{name}.png" for name in ("augmented", "mistakes", "preview")
    ]
    pictures = [path for _, _, path in found if path]
    assert pictures and all((project.folder / "dvc_plots" / path).is_file() for path in pictures)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            ["dvc", "exp", "run", "-S", "train.lr=abc"],
            "train.lr is 'abc'; it can be auto or a number above 0",
        ),
        (["dvc", "exp", "run", "-S", "+train.lrr=1"], "params.yaml: unknown key train.lrr (did you mean train.lr?)"),
        (["dvc", "exp", "run", "-S", "train.model=resnet81"], "train.model is 'resnet81'"),
        (["dvc", "exp", "run", "-S", "train.batch_size=4096"], "more than the 1800 training images"),
    ],
)
@pytest.mark.slow
def test_a_wrong_param_is_one_sentence_and_no_traceback(project: Project, command: list[str], sentence: str) -> None:
    try:
        printed = project.run(*command, expect=None)
        assert sentence in printed
        assert "Traceback" not in printed
        assert not (project.folder / "models/classifier").exists()
    finally:
        project.run("git", "checkout", "-q", ".")
        project.run("dvc", "checkout", "-q")


def test_a_missing_gpu_is_one_sentence(project: Project) -> None:
    try:
        project.change("params.yaml", "device: auto", "device: cuda:7")
        printed = project.run("python", "-m", "stages.train", expect=5)
        assert printed.splitlines()[-1].startswith("params.yaml: runtime.device is cuda:7")
    finally:
        project.run("git", "checkout", "-q", ".")


def test_prediction_answers_for_a_picture_from_outside(project: Project) -> None:
    printed = project.run("python", "-m", "tools.predict", "metrics/preview.png")
    classes = json.loads(project.read("data/prepared/dataset.json"))["classes"]
    assert any(name in printed for name in classes)
