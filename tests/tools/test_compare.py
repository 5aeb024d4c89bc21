"""Compare finds what a person names, in a real repository of git and DVC, and says what it may say."""

import csv
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Project
from tests.tools.stub import commit, make_stub

COMPARE = ("python", "-m", "tools.compare")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """lr 0.1 as the tag v1, lr 0.15 at HEAD, experiments far (lr 0.4) and seeds of both."""
    project = make_stub(tmp_path_factory.mktemp("compare") / "stub")
    project.change("params.yaml", "  lr: auto ", "  lr: 0.1 ")
    project.run("dvc", "repro", "-q")
    commit(project, "lr 0.1")
    project.run("git", "tag", "v1")
    project.change("params.yaml", "lr: 0.1 ", "lr: 0.15 ")
    project.run("dvc", "repro", "-q")
    commit(project, "lr 0.15")
    for name, lr, seed in (("far", 0.4, 0), ("far1", 0.4, 1), ("far2", 0.4, 2), ("near1", 0.1, 1), ("near2", 0.1, 2)):
        project.run("dvc", "exp", "run", "-q", "--temp", "-n", name, "-S", f"train.lr={lr}", "-S", f"train.seed={seed}")
    return project


@pytest.fixture
def copy(runs: Project, tmp_path: Path) -> Project:
    """The same, to be changed."""
    folder = tmp_path / "copy"
    shutil.copytree(runs.folder, folder, symlinks=True)
    return replace(runs, folder=folder)


def _report(project: Project, *arguments: str) -> dict[str, Any]:
    return json.loads(project.run(*COMPARE, "--json", *arguments))


def _by_hand(project: Project, *params: tuple[float, int]) -> list[list[bool]]:
    """Who was right, by the stub's own rule."""
    import random

    sides = []
    for lr, seed in params:
        draw = random.Random(f"{lr} {float(seed)}")
        sides.append([draw.random() > 0.1 + abs(lr - 0.1) for _ in range(400)])
    return sides


def test_a_much_worse_run_is_called_worse_with_the_counts_one_can_check(runs: Project) -> None:
    report = _report(runs, "far", "v1")
    far, v1 = _by_hand(runs, (0.4, 0), (0.1, 0))
    fixed = sum(one and not other for one, other in zip(far, v1, strict=True))
    broken = sum(other and not one for one, other in zip(far, v1, strict=True))
    assert (report["pairs"]["fixed"], report["pairs"]["broken"]) == (fixed, broken)
    assert report["verdict"] == "worse"
    assert report["differs"] == {"train.lr": [0.4, 0.1]}
    changed = fixed + broken
    assert report["p"] == pytest.approx(2 * sum(math.comb(changed, heads) for heads in range(fixed + 1)) / 2**changed)
    low, high = _newcombe(sum(far), sum(v1), 400, broken)
    assert report["top1"] == {
        "difference": pytest.approx((fixed - broken) / 400),
        "low": pytest.approx(low),
        "high": pytest.approx(high),
    }
    # The stub is sure of itself to 0.9: each broken image costs ln 9, each fixed one gains it.
    assert report["loss"]["difference"] == pytest.approx((broken - fixed) * np.log(9) / 400)


def _newcombe(new: int, base: int, images: int, broken: int) -> tuple[float, float]:
    """Newcombe's method 10, written out once more from the paper."""
    z, (p, q) = 1.959964, (new / images, base / images)
    reach = {
        right: z * math.sqrt(right * (images - right) / images + z * z / 4) / (images + z * z) for right in (new, base)
    }
    (l1, u1), (l2, u2) = (
        ((right + z * z / 2) / (images + z * z) - reach[right], (right + z * z / 2) / (images + z * z) + reach[right])
        for right in (new, base)
    )
    both, neither = base - broken, images - new - broken
    fixed = new - both
    excess = float(both * neither - fixed * broken)
    if excess > 0:
        excess = max(excess - images / 2, 0)
    phi = excess / math.sqrt(new * (images - new) * base * (images - base))
    return (
        p - q - math.sqrt((p - l1) ** 2 - 2 * phi * (p - l1) * (u2 - q) + (u2 - q) ** 2),
        p - q + math.sqrt((q - l2) ** 2 - 2 * phi * (q - l2) * (u1 - p) + (u1 - p) ** 2),
    )


def test_two_runs_that_differ_in_their_seed_cannot_be_told_apart(runs: Project) -> None:
    printed = runs.run(*COMPARE, "near1", "v1")
    assert "no significant difference at 5 %" in printed
    assert re.search(r"takes about [\d,]+ test images; there are 400", printed)


def test_a_revision_may_be_a_branch_a_tag_a_commit_an_experiment_or_the_workspace(copy: Project) -> None:
    copy.run("git", "branch", "old", "v1")
    commit_of_far = _report(copy, "far", "v1")["commits"][0]
    for name in ("v1", "old", "HEAD~1", copy.run("git", "rev-parse", "v1").strip()[:10]):
        assert _report(copy, name, "far")["verdict"] == "better"
    for name in ("far", commit_of_far, commit_of_far[:8], f"refs/exps/{_exp_ref(copy, 'far')}"):
        assert _report(copy, name, "v1")["verdict"] == "worse"
    assert _report(copy, "workspace", "HEAD")["verdict"] == "same"
    assert _report(copy, "main", "v1")["differs"] == {"train.lr": [0.15, 0.1]}


def _exp_ref(project: Project, name: str) -> str:
    refs = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    return next(ref for ref in refs if ref.endswith(f"/{name}")).removeprefix("refs/exps/")


def test_alone_it_holds_the_workspace_against_head(copy: Project) -> None:
    assert "workspace against HEAD" in copy.run(*COMPARE)
    assert "the same predictions, byte for byte" in copy.run(*COMPARE)
    copy.run("dvc", "exp", "apply", "far")
    assert "worse" in copy.run(*COMPARE)


def test_params_that_were_edited_and_not_run_are_mentioned(copy: Project) -> None:
    copy.change("params.yaml", "lr: 0.15", "lr: 0.3")
    assert "predictions are from its last run, before this change: train.lr" in copy.run(*COMPARE)


def test_files_that_differ_are_named_beside_the_params(copy: Project) -> None:
    assert "what differs: train.lr 0.15 (was 0.1)" in copy.run(*COMPARE, "main", "v1")
    copy.change("evaluate.py", "import csv", "import csv  # as before\nimport csv")
    copy.run("dvc", "repro")
    copy.run("git", "commit", "-qam", "other code")
    assert "what differs: the contents of evaluate.py\n" in copy.run(*COMPARE, "main", "main~1")
    assert "what differs: the contents of evaluate.py, train.lr 0.15 (was 0.1)" in copy.run(*COMPARE, "main", "v1")


def test_the_same_commit_on_both_sides_is_said_even_without_its_predictions(copy: Project) -> None:
    shutil.rmtree(copy.folder / ".dvc/cache/files")
    (copy.folder / "metrics/predictions.csv").unlink()
    said = "the same commit on both sides, so there is nothing to compare\n"
    assert copy.run(*COMPARE, "main", "HEAD").endswith(said)
    assert "the workspace on both sides, so there is nothing to compare" in copy.run(*COMPARE, "workspace", "workspace")


def test_another_data_set_is_said_whether_its_predictions_are_there_or_not(copy: Project) -> None:
    _on_data(copy, "cifar10")
    _on_data(copy, "shapes")
    for names in (("HEAD", "HEAD~1"), ("workspace", "HEAD~1"), ("HEAD,main", "HEAD~1,main~1")):
        said = copy.run(*COMPARE, *names, expect=3)
        assert said.startswith("not comparable: data.name is shapes in ") and " and cifar10 in HEAD~1 (" in said
        assert said.endswith("; to go back to HEAD~1, run git checkout 'HEAD~1' && dvc repro\n")
    shutil.rmtree(copy.folder / ".dvc/cache/files")
    assert copy.run(*COMPARE, "HEAD~1", "workspace", expect=3).endswith("run git checkout 'HEAD~1' && dvc repro\n")


def _on_data(project: Project, name: str) -> None:
    """Commit a run on the data of that name, which the stub only records."""
    for path, was, now in (
        ("dvc.yaml", r"params: \[.*\]", "params: [data, prepare, train]"),
        ("params.yaml", r"^  name: \w+", f"  name: {name}"),
    ):
        (project.folder / path).write_text(re.sub(was, now, project.read(path), flags=re.MULTILINE))
    project.run("dvc", "repro", "-q")
    project.run("git", "commit", "-qam", name)


def test_an_unknown_name_ends_in_one_sentence_with_near_ones(runs: Project) -> None:
    assert runs.run(*COMPARE, "fra", expect=3) == (
        "fra is no experiment, branch, tag or commit here; did you mean far?\n"
    )
    assert runs.run(*COMPARE, "qqqq", expect=3).count("\n") == 1
    assert runs.run(*COMPARE, "v1\n\x1b[31m", expect=3).count("\n") == 1


def test_before_the_first_commit_it_says_so(tmp_path: Path) -> None:
    project = make_stub(tmp_path / "new")
    assert "dvc.lock is missing" in project.run(*COMPARE, expect=3)
    project.run("dvc", "repro", "-q")
    assert "nothing is committed yet" in project.run(*COMPARE, expect=3)


def test_a_commit_without_results_says_so(tmp_path: Path) -> None:
    project = make_stub(tmp_path / "new")
    commit(project, "no results")
    project.run("dvc", "repro", "-q")
    assert "HEAD has no dvc.lock" in project.run(*COMPARE, expect=3)


@pytest.mark.slow
def test_missing_predictions_end_with_the_command_that_makes_them(copy: Project) -> None:
    shutil.rmtree(copy.folder / ".dvc/cache/files")
    (copy.folder / "metrics/predictions.csv").unlink()
    said = copy.run(*COMPARE, "far", expect=3)
    assert "its metrics/predictions.csv is not in DVC's cache; run dvc exp apply far; dvc repro" in said
    copy.run("dvc", "exp", "apply", "far", expect=None)
    copy.run("dvc", "repro", "-q")
    for name, back in (("v1", "git checkout v1"), ("HEAD", "git checkout HEAD .")):
        said = copy.run(*COMPARE, "far", name, expect=3)
        assert f"git stash first, which keeps your changes, then run {back} && dvc repro" in said
    copy.run("git", "stash", "-q")
    copy.run("git", "checkout", "-q", "HEAD", ".")
    assert "lr: 0.15" in copy.read("params.yaml")
    assert "cache; run git checkout v1 && dvc repro" in copy.run(*COMPARE, "far", "v1", expect=3)
    copy.run("bash", "-c", "git checkout HEAD . && dvc repro -q")
    assert _report(copy, "HEAD", "far")["verdict"] == "better"


@pytest.mark.slow
def test_with_a_remote_they_are_fetched(copy: Project, tmp_path: Path) -> None:
    copy.run("dvc", "remote", "add", "-q", "-d", "--local", "store", str(tmp_path / "store"))
    copy.run("dvc", "push", "-q", "--all-commits")
    shutil.rmtree(copy.folder / ".dvc/cache/files")
    (copy.folder / "metrics/predictions.csv").unlink()
    for name in ("main", "v1", "HEAD~1", "workspace"):
        said = copy.run(*COMPARE, name, "far", expect=3)
        bring = re.search(r"run (dvc .*)\n", said)
        assert bring, said
        copy.run(*bring[1].split())
        assert _report(copy, name, name)["verdict"] == "same"
        shutil.rmtree(copy.folder / ".dvc/cache/files")


def test_a_damaged_object_is_not_believed(copy: Project) -> None:
    md5 = re.search(r"predictions.csv\n +hash: md5\n +md5: (\S+)", copy.run("git", "show", "v1:dvc.lock"))
    assert md5
    path = copy.folder / f".dvc/cache/files/md5/{md5[1][:2]}/{md5[1][2:]}"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"cat", b"dog", 1))
    assert "is damaged; run rm -f .dvc/cache" in copy.run(*COMPARE, "v1", expect=3)


def test_another_test_set_is_refused(copy: Project) -> None:
    copy.change("evaluate.py", "enumerate(right)", "enumerate(right[:300])")
    copy.run("dvc", "repro", "-q")
    said = copy.run(*COMPARE, expect=3)
    assert "not comparable: workspace was scored on 300 test images" in said
    assert "on 400 (the contents of evaluate.py); compare runs" in said
    copy.change("evaluate.py", "enumerate(right[:300])", "list(enumerate(right))[::-1]")
    copy.run("dvc", "repro", "-q")
    assert "the test sets differ (the contents of evaluate.py), image 1 is test-0, a cat, in HEAD" in copy.run(
        *COMPARE, "HEAD", "workspace", expect=3
    )


def test_a_param_that_chooses_other_test_images_is_named(copy: Project) -> None:
    _on_data(copy, "folder")
    copy.change("params.yaml", "  test_fraction: 0.2 ", "  test_fraction: 0.3 ")
    copy.change("params.yaml", "  val_fraction: 0.1 ", "  val_fraction: 0.2 ")
    copy.change("evaluate.py", "enumerate(right)", "enumerate(right[:300])")
    copy.run("dvc", "repro", "-q")
    said = copy.run(*COMPARE, expect=3)
    assert "(the contents of evaluate.py, prepare.test_fraction 0.3 (was 0.2)); compare runs" in said


def test_predictions_of_another_classifier_than_the_revision_has_are_refused(copy: Project) -> None:
    copy.run("dvc", "exp", "run", "-q", "--temp", "-n", "half", "-S", "train.lr=0.3", "train")
    said = copy.run(*COMPARE, "half", expect=3)
    assert "was made from another models/classifier than its dvc.lock has; run dvc exp apply half; dvc repro" in said


def test_the_images_that_changed_are_listed(runs: Project) -> None:
    report = _report(runs, "far", "v1")
    for kind in ("fixed", "broken"):
        with (runs.folder / f"metrics/compare/{kind}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == report["pairs"][kind]
        assert all((row["prediction"] == row["label"]) == (kind == "fixed") for row in rows)
        assert all((row["base_prediction"] == row["label"]) == (kind == "broken") for row in rows)
    assert "no pictures: the test images are missing" in runs.run(*COMPARE, "far", "v1")
    assert runs.run("git", "status", "--porcelain") == ""


def test_pictures_come_from_the_prepared_images(copy: Project) -> None:
    prepared = copy.folder / "data/prepared"
    prepared.mkdir(parents=True)
    rows = "".join(f"test-{place},stub/{place},{('cat', 'dog')[place % 2]},test\n" for place in range(400))
    (prepared / "samples.csv").write_text(f"id,path,label,split\ntrain-0,stub/t,cat,train\n{rows}")
    np.save(prepared / "test_images.npy", np.zeros((400, 8, 8, 3), np.uint8))
    assert "fixed.png, broken.png" in copy.run(*COMPARE, "far", "v1")
    assert (copy.folder / "metrics/compare/broken.png").read_bytes().startswith(b"\x89PNG")
    (prepared / "samples.csv").write_text(f"id,path,label,split\n{rows}".replace("cat", "cow"))
    assert "no pictures" in copy.run(*COMPARE, "far", "v1")
    assert not (copy.folder / "metrics/compare/broken.png").exists()


def test_runs_over_seeds_give_both_kinds_of_noise(runs: Project) -> None:
    report = _report(runs, "far,far1,far2", "v1,near1,near2")
    new, base = (
        [float(np.mean(run)) for run in _by_hand(runs, *((lr, seed) for seed in range(3)))] for lr in (0.4, 0.1)
    )
    assert (report["top1"]["new"], report["top1"]["base"]) == (pytest.approx(new), pytest.approx(base))
    assert report["verdict"] == "worse"
    printed = runs.run(*COMPARE, "far,far1,far2", "v1,near1,near2")
    assert "over the seeds" in printed and "over the images" in printed


def test_one_run_against_several_and_one_run_twice_are_refused(runs: Project) -> None:
    assert "at least two runs on each side" in runs.run(*COMPARE, "far,far1", "v1", expect=2)
    assert "have the same predictions, so they are one run" in runs.run(*COMPARE, "far,far", "v1,near1", expect=3)


def test_the_exit_code_tells_only_when_asked(runs: Project) -> None:
    runs.run(*COMPARE, "far", "v1", expect=0)
    runs.run(*COMPARE, "--exit-code", "far", "v1", expect=1)
    runs.run(*COMPARE, "--exit-code", "near1", "v1", expect=0)


@pytest.mark.slow
def test_hostile_class_names_stay_text(tmp_path: Path) -> None:
    names = ['p_a,"b\nc\x1b[31m', "=cmd()<img src=x onerror=alert(1)>"]
    project = make_stub(tmp_path / "hostile", classes=json.dumps(names))
    project.run("dvc", "repro", "-q")
    commit(project, "one")
    project.run("dvc", "exp", "run", "-q", "-S", "train.lr=0.4")
    printed = project.run(*COMPARE)
    assert "\x1b" not in printed and 'p_a,"b\\nc\\x1b[31m' in printed
    assert {change["name"] for change in _report(project)["classes"]} == set(names)


def test_it_answers_without_torch_and_pandas(runs: Project) -> None:
    script = "import sys, tools.compare; print({'torch', 'pandas', 'dvc', 'scipy'} & set(sys.modules))"
    assert runs.run("python", "-c", script) == "set()\n"
