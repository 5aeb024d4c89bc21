"""Verify finds what was changed, and the command that it prints repairs it."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imageclf.runtime.errors import DataError
from imageclf.runtime.files import write_sums
from tests.conftest import NO_PROCESS, Project
from tools.repository import EXPERIMENT
from tools.verify import main

pytestmark = pytest.mark.slow

OBJECTS = ".dvc/cache/files/md5"


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Project:
    """The project after `dvc repro`, to be damaged: its outputs are hard links to the cache, as after a checkout."""
    folder = tmp_path / "copy"
    shutil.copytree(project.folder, folder)
    copied = replace(project, folder=folder, environment=project.environment | {"DVC_SITE_CACHE_DIR": f"{folder}-site"})
    _link_outputs(folder)
    return copied


def _link_outputs(folder: Path) -> None:
    objects = {path.parent.name + path.name: path for path in (folder / OBJECTS).rglob("*") if path.is_file()}
    for listing in [path for name, path in objects.items() if name.endswith(".dir")]:
        rows = json.loads(listing.read_bytes())
        for out in ("data/raw", "data/prepared", "models/classifier", "models/export"):
            if {row["relpath"] for row in rows} != {path.name for path in (folder / out).iterdir()}:
                continue
            for row in rows:
                path = folder / out / row["relpath"]
                if path.read_bytes() == objects[row["md5"]].read_bytes():
                    path.unlink()
                    os.link(objects[row["md5"]], path)


def _verify(project: Project, *, expect: int | None = 0) -> str:
    return project.run("python", "-m", "tools.verify", expect=expect)


def _object(project: Project, path: str) -> Path:
    """The cache's object of a file or folder, by the committed dvc.lock."""
    folder, _, name = path.rpartition("/")
    lock = project.read("dvc.lock")
    md5 = re.findall(rf"path: {re.escape(path)}\n +hash: md5\n +md5: (\S+)", lock)
    if md5:
        return project.folder / OBJECTS / md5[0][:2] / md5[0][2:]
    rows = json.loads(_object(project, folder).read_bytes())
    found = next(row["md5"] for row in rows if row["relpath"] == name)
    return project.folder / OBJECTS / found[:2] / found[2:]


def _flip(path: Path, place: int | None = None) -> None:
    """Turn one bit as a worn disk does: neither the time nor the mode of the file tells."""
    status = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(status.st_size // 2 if place is None else place)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _unlink(path: Path) -> None:
    """Make a hard link a file of its own."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def _repair(project: Project) -> str:
    """Do what verify says, as a user would, until nothing is left to do; the first command of all."""
    commands: list[str] = []
    while found := re.findall(r"^ +repair: (.+)$", printed := _verify(project, expect=None), re.MULTILINE):
        assert found[0] not in commands
        commands.append(found[0])
        for part in found[0].split(" && "):
            project.run(*(part.split() if part.startswith("dvc ") else ("sh", "-ec", part)))
    assert "same bytes" in printed.splitlines()[-1]
    assert project.run("git", "status", "--porcelain") == ""
    assert "up to date" in project.run("dvc", "status")
    return commands[0]


def test_a_whole_project_has_the_same_bytes(project: Project) -> None:
    printed = _verify(project)
    for stage in ("download", "prepare", "train", "evaluate", "export"):
        assert re.search(rf"^{stage} +ok ", printed, re.MULTILINE)
    assert re.search(
        r"^same bytes: \d+ outputs as dvc.lock says, made on this kind of machine \(torch \S+ on .+\)$",
        printed.splitlines()[-1],
    )
    assert project.run("git", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("metrics/export.json", r"rm -f \S+ && dvc commit -f export"),
        ("metrics/preview.png", r"rm -f \S+ && dvc commit -f prepare"),
        ("models/classifier/weights.safetensors", r"rm -f \S+ && dvc repro -f -s train"),
    ],
)
def test_a_damaged_cache_object_and_its_link_are_repaired(copy: Project, path: str, command: str) -> None:
    _flip(_object(copy, path))
    assert re.fullmatch(command, _repair(copy))


def test_an_object_that_two_stages_share_is_repaired_for_both(copy: Project) -> None:
    assert _object(copy, "data/raw/test_labels.npy") == _object(copy, "data/prepared/test_labels.npy")
    _flip(_object(copy, "data/raw/test_labels.npy"))
    _repair(copy)


@pytest.mark.parametrize("path", ["data/raw/train_images.npy", "models/export"])
def test_a_damaged_cache_object_beside_a_good_copy_is_filled_from_it(copy: Project, path: str) -> None:
    victim = copy.folder / path
    if victim.is_file():
        _unlink(victim)
    _flip(_object(copy, path))
    assert re.fullmatch(r"rm -f \S+ && dvc commit -f \w+", _repair(copy))


def test_a_damaged_file_beside_a_good_cache_object_is_checked_out(copy: Project) -> None:
    victim = copy.folder / "models/classifier/card.json"
    _unlink(victim)
    _flip(victim)
    assert _repair(copy) == "rm -rf models/classifier && dvc checkout models/classifier"


def test_what_only_the_remote_has_whole_is_pulled(copy: Project) -> None:
    copy.run("dvc", "remote", "add", "-q", "--local", "-d", "store", f"{copy.folder}-store")
    copy.run("dvc", "push", "-q")
    _flip(_object(copy, "data/raw/test_labels.npy"))
    assert re.fullmatch(r"rm -rf data/raw \S+ && dvc pull data/raw", _repair(copy))


def test_an_output_that_is_gone_is_checked_out_and_a_metric_comes_from_git(copy: Project) -> None:
    shutil.rmtree(copy.folder / "data/prepared")
    assert "dvc checkout data/prepared" in _repair(copy)
    (copy.folder / "metrics/train.json").unlink()
    assert _repair(copy) == "git checkout HEAD metrics/train.json"


def test_every_flip_of_any_output_or_object_is_found_and_named(
    copy: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copy.folder)
    chance = np.random.default_rng(0)
    folders = ("data/raw", "data/prepared", "models", "metrics")
    outs = [path for out in folders for path in Path(out).rglob("*") if path.is_file()]
    needed = re.findall(r"path: (\S+)\n +hash: md5\n +md5: \S+\n", copy.read("dvc.lock").split("outs:", 1)[1])
    objects = [_object(copy, out).relative_to(copy.folder) for out in dict.fromkeys(needed) if out.startswith("m")]
    victims = outs + [path for path in objects if path.exists()]
    assert len(victims) > 25
    for victim in victims:
        place = int(chance.integers(victim.stat().st_size))
        _flip(victim, place)
        with pytest.raises(DataError):
            main()
        assert re.search(rf"{re.escape(str(victim))} (differs|is damaged)", capsys.readouterr().out)
        _flip(victim, place)
    main()
    assert "same bytes" in capsys.readouterr().out


def test_a_changed_param_is_named_with_both_values(copy: Project) -> None:
    before = re.findall(r"^  lr: (\S+)", copy.read("params.yaml"), re.MULTILINE)[0]
    copy.change("params.yaml", f"  lr: {before}", "  lr: 0.05")
    printed = _verify(copy, expect=3)
    assert f"stage train is out of date (train.lr: {before} in dvc.lock, 0.05 in params.yaml); run dvc repro" in printed


def test_edited_code_is_named(copy: Project) -> None:
    (copy.folder / "stages/evaluate.py").write_text(copy.read("stages/evaluate.py") + "\n")
    printed = _verify(copy, expect=3)
    assert printed.splitlines()[-1].startswith(
        "stage evaluate is out of date (stages/evaluate.py has changed); run dvc repro"
    )


def test_a_stage_that_dvc_yaml_defines_otherwise_or_dvc_lock_lacks_is_named(copy: Project) -> None:
    copy.change("dvc.yaml", "      - stages/download.py\n", "      - stages/download.py\n      - README.md\n")
    lock = copy.read("dvc.lock")
    (copy.folder / "dvc.lock").write_text(lock[: lock.index("  export:")])
    printed = _verify(copy, expect=3)
    assert "stage download is out of date (README.md is new in dvc.yaml)" in printed
    assert "stage export is not in dvc.lock" in printed


def test_a_param_edited_while_training_ran_is_found_in_the_card(copy: Project) -> None:
    # DVC then records the new value with the old classifier (treeverse/dvc#11058).
    before = re.findall(r"^  lr: (\S+)", copy.read("params.yaml"), re.MULTILINE)[0]
    copy.change("params.yaml", f"  lr: {before}", "  lr: 0.05")
    copy.run("dvc", "commit", "-q", "-f")
    printed = _verify(copy, expect=3)
    assert (
        f"dvc.lock has train.lr 0.05, but the classifier was trained with {before}; run dvc repro -f train" in printed
    )


@pytest.mark.parametrize("damage", ["", "stages:\n  train:\n    cmd: x\n  outs", "stages: [\n", "\0\1"])
def test_a_damaged_dvc_lock_comes_back_from_git(copy: Project, damage: str) -> None:
    (copy.folder / "dvc.lock").write_text(damage)
    printed = _verify(copy, expect=3)
    assert re.fullmatch(r"dvc.lock is damaged \(.+\); git checkout HEAD dvc.lock\n", printed)
    copy.run("git", "checkout", "HEAD", "dvc.lock")
    _verify(copy)


def test_every_truncation_of_dvc_lock_is_found(copy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy.folder)
    lock = Path("dvc.lock").read_text()
    for length in np.linspace(0, len(lock) - 40, 12).astype(int):
        Path("dvc.lock").write_text(lock[:length])
        with pytest.raises(DataError, match=r"dvc\.(lock|yaml)|run dvc repro"):  # a cut may leave valid YAML
            main()


def test_a_flipped_hash_in_dvc_lock_comes_back_from_git(copy: Project) -> None:
    lock = copy.read("dvc.lock")
    found = re.search(r"path: models/export\n +hash: md5\n +md5: (\w)", lock)
    assert found
    at = found.start(1)
    (copy.folder / "dvc.lock").write_text(lock[:at] + ("0" if lock[at] != "0" else "1") + lock[at + 1 :])
    assert _repair(copy) == "git checkout HEAD dvc.lock"


def test_a_merge_conflict_in_dvc_lock_is_named_and_ended(copy: Project) -> None:
    copy.run("git", "switch", "-q", "-c", "other")
    for branch, text in (("other", "# theirs\n"), ("main", "# ours\n")):
        copy.run("git", "switch", "-q", branch)
        (copy.folder / "dvc.lock").write_text(text + copy.read("dvc.lock"))
        copy.run("git", "commit", "-q", "-a", "-m", branch)
    copy.run("git", "merge", "other", expect=1)
    printed = _verify(copy, expect=3)
    assert printed == "dvc.lock is damaged (line 1 is a merge conflict marker); git checkout HEAD dvc.lock\n"
    copy.run("git", "checkout", "HEAD", "dvc.lock")
    _verify(copy)


def test_a_missing_dvc_lock_comes_back_from_git(copy: Project) -> None:
    (copy.folder / "dvc.lock").unlink()
    assert _verify(copy, expect=3) == "dvc.lock is missing; git checkout HEAD dvc.lock\n"


def test_a_damaged_rwlock_is_deleted(copy: Project) -> None:
    (copy.folder / ".dvc/tmp/rwlock").write_text('{"read": {"')
    copy.run("dvc", "repro", expect=255)
    assert _repair(copy) == "rm .dvc/tmp/rwlock"


def test_dvc_at_work_is_told_from_damage(copy: Project) -> None:
    held = {"write": {"data/raw": {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}}
    (copy.folder / ".dvc/tmp/rwlock").write_text(json.dumps(held))
    assert f"dvc is running here (PID {os.getpid()})" in _verify(copy, expect=3)


def test_head_goes_back_to_its_branch_after_a_killed_experiment(copy: Project) -> None:
    copy.run("git", "checkout", "-q", "--detach")
    assert "same bytes" in _verify(copy)  # somebody's wish, as long as no experiment left it
    copy.run("git", "update-ref", EXPERIMENT, "HEAD")
    assert _repair(copy) == "git switch main"


def test_a_dead_task_and_left_over_files_are_named_and_are_no_difference(copy: Project) -> None:
    rev = "f455f160862db4e6808d36ec42e9d9417926114a"
    run = copy.folder / ".dvc/tmp/exps/run" / rev
    run.mkdir(parents=True)
    (run / f"{rev}.json").write_text(json.dumps({"pid": NO_PROCESS, "returncode": None}))
    (run / f"{rev}.run").write_text(json.dumps({"name": "stuck", "status": 2, "location": "dvc-task"}))
    plain = run.parent / "workspace"  # what a `dvc exp run` leaves that was stopped: no task of the queue
    plain.mkdir()
    (plain / "workspace.json").write_text(json.dumps({"pid": NO_PROCESS, "returncode": None}))
    (plain / "workspace.run").write_text(json.dumps({"name": "plain", "status": 2, "location": "workspace"}))
    (copy.folder / f"models/.classifier.tmp.{NO_PROCESS}").mkdir()
    (copy.folder / f"metrics/.train.json.tmp.{os.getpid()}").touch()
    printed = _verify(copy)
    assert "repair: dvc queue kill stuck; dvc queue remove stuck" in printed
    assert "plain" not in printed
    assert f"repair: rm -rf models/.classifier.tmp.{NO_PROCESS}\n" in printed
    assert "train.json.tmp" not in printed
    assert "same bytes" in printed.splitlines()[-1]


def test_another_machine_is_named(copy: Project) -> None:
    copy.environment["ATEN_CPU_CAPABILITY"] = "default"
    verdict = _verify(copy).splitlines()[-1]
    assert re.fullmatch(
        r"same bytes: .+; made with torch \S+ on .+; a new run here \(torch \S+ on .*DEFAULT.*\) would differ .+",
        verdict,
    )


@pytest.mark.parametrize(
    ("processor", "shift", "code", "words"),
    [
        ("OTHER", 0.004, 0, "within tolerance (top1 0.01, loss 0.05): top1"),
        ("OTHER", 0.2, 3, "and not within tolerance (top1 0.01, loss 0.05)"),
        (
            None,
            0.0,
            3,
            "models/classifier differs from the committed one, with the same code, data, params",
        ),
    ],
)
def test_other_bytes_are_judged_by_the_machine_and_by_tolerance(
    copy: Project, processor: str | None, shift: float, code: int, words: str
) -> None:
    classifier, metrics = copy.folder / "models/classifier", copy.folder / "metrics/evaluate.json"
    for path in (classifier / "weights.safetensors", classifier / "card.json", classifier / "SHA256SUMS"):
        _unlink(path)
    _flip(classifier / "weights.safetensors")
    card = json.loads((classifier / "card.json").read_text())
    card["made_with"]["processor"] = processor or card["made_with"]["processor"]
    (classifier / "card.json").write_text(json.dumps(card))
    write_sums(classifier)
    scores = json.loads(metrics.read_text())
    metrics.write_text(json.dumps(scores | {"top1": scores["top1"] - shift}))
    copy.run("dvc", "commit", "-q", "-f")
    verdict = _verify(copy, expect=code).splitlines()[-1]
    assert words in verdict
    if processor:
        assert verdict.startswith("not comparable bit by bit: committed ones made with torch ")
        assert "on OTHER" in verdict


@pytest.mark.parametrize("remote", [False, True])
def test_a_clone_without_data_is_told_once_what_brings_it(copy: Project, tmp_path: Path, remote: bool) -> None:
    clone = replace(copy, folder=tmp_path / "clone")
    copy.run("git", "clone", "-q", ".", str(clone.folder))
    if remote:
        clone.run("dvc", "remote", "add", "-q", "-d", "--local", "store", str(tmp_path / "store"))
    command = "dvc pull" if remote else "dvc repro"
    assert _verify(clone, expect=3) == f"no output is here, as in a fresh clone; run {command}\n"
    stage = command if remote else "dvc repro train"
    assert f"models/classifier is missing; run {stage}" in clone.run("python", "-m", "stages.evaluate", expect=3)
    stage = command if remote else "dvc repro export"
    said = clone.run("python", "-m", "tools.predict", "x.png", expect=3)
    assert said == f"models/export/classifier.onnx is missing; run {stage}\n"
