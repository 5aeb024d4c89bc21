"""A cross-validation tests each image once, goes on where it stopped, and two of them are compared image by image."""

import csv
import json
import random
import re

import pytest

from tests.conftest import Project
from tests.tools.stub import commit, make_stub
from tools.cross_validate import Fold, _table

CROSS_VALIDATE = ("python", "-m", "tools.cross_validate")
IMAGES = 400


FOLDS = """
fold = re.search(r'^  fold: .?(\\d+)/(\\d+)', pathlib.Path('params.yaml').read_text(), re.M)
number, folds = map(int, fold.groups()) if fold else (1, 1)
right = {place: good for place, good in enumerate(right) if place % folds == number - 1}
pathlib.Path('metrics/evaluate.json').write_text(json.dumps({'top1': sum(right.values()) / len(right)}))
meddled = pathlib.Path(os.environ.get('DVC_ROOT', '.'))
if (meddled / 'fail-meddle').exists():
    text = (meddled / 'params.yaml').read_text()
    (meddled / 'params.yaml').write_text(re.sub('  epochs: [0-9]+', '  epochs: 77', text))
splits = {'train': 400 - len(right), 'val': 0, 'test': len(right)}
pathlib.Path('metrics/data.json').write_text(json.dumps({'splits': splits}))
with"""
MORE_OUTS = """params: [prepare.fold]
    metrics: [metrics/evaluate.json: {cache: false}, metrics/data.json: {cache: false}]
    outs: [metrics/predictions.csv]"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The stub, whose test images are every K-th with K folds."""
    project = make_stub(tmp_path_factory.mktemp("folds") / "stub")
    project.change("evaluate.py", "import csv, json, pathlib", "import csv, json, os, pathlib, re")
    project.change("evaluate.py", "\nwith", FOLDS)
    project.change("evaluate.py", "enumerate(right):\n    ", "right.items():\n    ")
    project.change("dvc.yaml", "outs: [metrics/predictions.csv]", MORE_OUTS)
    project.run("dvc", "repro", "-q")
    commit(project, "All")
    return project


@pytest.fixture(scope="module")
def base(project: Project) -> str:
    """The name of a finished one with lr 0.15, the stub's own."""
    return whole(project.run(*CROSS_VALIDATE, "-k", "4"))


@pytest.fixture(scope="module")
def far(project: Project) -> str:
    """One with lr 0.4."""
    return whole(project.run(*CROSS_VALIDATE, "-k", "4", "-n", "far", "-S", "train.lr=0.4"))


def whole(printed: str) -> str:
    return re.findall(r"^cross_validate: (\S+), ", printed, re.MULTILINE)[0]


def right(lr: float) -> list[bool]:
    """Who is right, by the stub's own rule."""
    draw = random.Random(f"{lr} 0.0")
    return [draw.random() > 0.1 + abs(lr - 0.1) for _ in range(IMAGES)]


def runs(project: Project) -> int:
    return len((project.folder / "runs.txt").read_text().splitlines())


def test_all_images_are_counted_once_and_the_same_line_runs_nothing_more(project: Project, base: str) -> None:
    before = runs(project)
    printed = project.run(*CROSS_VALIDATE, "-k", "4")
    assert f"{base}, 4 folds, 4 of them done before" in printed
    assert runs(project) == before
    rows = [line.split() for line in printed.splitlines() if re.match(r"  (\d/4|all)  ", line)]
    assert [row[0] for row in rows] == ["1/4", "2/4", "3/4", "4/4", "all"]
    assert [int(row[3]) for row in rows[:4]] == [100] * 4
    assert rows[4][1] == str(IMAGES)
    assert float(rows[4][2]) == pytest.approx(100 * sum(right(0.15)) / IMAGES, abs=0.05)


def test_two_are_compared_on_all_images(project: Project, base: str, far: str) -> None:
    report = json.loads(project.run("python", "-m", "tools.compare", "--json", far, base))
    ours, theirs = right(0.4), right(0.15)
    assert report["images"] == IMAGES
    assert report["pairs"]["fixed"] == sum(a and not b for a, b in zip(ours, theirs, strict=True))
    assert report["pairs"]["broken"] == sum(b and not a for a, b in zip(ours, theirs, strict=True))
    assert report["differs"] == {"train.lr": [0.4, "auto"]}


def test_other_folds_or_a_single_run_are_not_comparable(project: Project, base: str) -> None:
    other = whole(project.run(*CROSS_VALIDATE, "-k", "2", "-n", "two"))
    for name, count in ((other, 2), ("HEAD", 0)):
        said = project.run("python", "-m", "tools.compare", name, base, expect=3)
        assert said.count("\n") == 1
        assert f"{name} {count} and {base} 4" in said


@pytest.mark.parametrize(
    ("train", "words"),
    [(6, "Each image was tested once."), (7, "7 of 8 images were tested once; the others were only trained on.")],
)
def test_images_that_no_fold_tests_are_counted(train: int, words: str) -> None:
    folds = {1: Fold(train - 3, 0, 4, None, 4), 2: Fold(train - 2, 0, 3, None, 3)}
    assert list(_table(folds, 2))[-1].strip().startswith(words)


def test_a_failed_fold_is_named_and_the_same_line_runs_it_alone(project: Project) -> None:
    (project.folder / "fail-0.3-0").write_text("6")
    line = (*CROSS_VALIDATE, "-k", "2", "-n", "odd", "-S", "train.lr=0.3")
    printed = project.run(*line, expect=1)
    assert "lost its way; lower train.lr" in printed
    name = whole(printed)
    said = project.run("python", "-m", "tools.label_errors", name, expect=3)
    assert f"{name} is no experiment" in said
    (project.folder / "fail-0.3-0").unlink()
    assert "  all  " in project.run(*line)


def test_params_that_change_meanwhile_stop_it_before_the_next_fold(project: Project) -> None:
    line = (*CROSS_VALIDATE, "-k", "3", "-n", "meddled")
    (project.folder / "fail-meddle").touch()
    try:
        printed = project.run(*line, expect=3)
    finally:
        (project.folder / "fail-meddle").unlink()
        project.run("git", "checkout", "-q", "params.yaml")
    assert "params.yaml or code has changed since this began, and prepare.fold 2/3 would be run with it" in printed
    assert "3 folds, 1 of them done before" in project.run(*line)


def test_wrong_labels_are_listed_with_the_likelier_class_and_nothing_else_changes(project: Project, base: str) -> None:
    before = project.run("git", "status", "--porcelain")
    printed = project.run("python", "-m", "tools.label_errors", base)
    with (project.folder / "metrics/label_errors/suspects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = {f"stub/{place}" for place, good in enumerate(right(0.15)) if not good}
    assert {row["path"] for row in rows} == wrong
    assert all({row["given"], row["label"]} == {"cat", "dog"} for row in rows)
    assert f"{len(wrong)} labels may be wrong" in printed
    assert "data.corrections is for own images" in printed
    assert project.run("git", "status", "--porcelain") == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-k", "1"), "-k 1: it can be 2 to 100"),
        (("-n", "a b"), "-n a b: a name has letters"),
        (("-S", "train.lr=0.1,0.2"), "give one value once"),
        (("-S", "prepare.fold=1/2"), "give one value once, and not to prepare.fold"),
        (("-S", "train.lrr=0.1"), "did you mean train.lr?"),
        (("-S", "train.model=resnet81"), "resnet81"),
    ],
    ids=str,
)
def test_a_wrong_line_is_one_sentence_before_any_run(project: Project, arguments: tuple[str, ...], words: str) -> None:
    before = runs(project)
    said = project.run(*CROSS_VALIDATE, *arguments, expect=2)
    assert words in said.splitlines()[-1]
    assert "Traceback" not in said
    assert runs(project) == before


def test_an_unknown_name_is_said(project: Project, base: str) -> None:
    said = project.run("python", "-m", "tools.label_errors", base + "x", expect=3)
    assert "is no experiment, branch, tag or commit here" in said
