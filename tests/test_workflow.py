"""What GitHub runs of check.yml: pinned actions, few rights, commands that are there and do what they are for."""

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.cli.parser import get_main_parser

from tests.conftest import Project
from tests.imports import ROOT
from tests.tools.stub import commit, make_stub

TEXT = (ROOT / ".github/workflows/check.yml").read_text(encoding="utf-8")
WORKFLOW: dict[str, Any] = yaml.safe_load(TEXT)
JOBS: dict[str, Any] = WORKFLOW["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
SCRIPTS = [step["run"] for step in STEPS if "run" in step]


def script(name: str) -> str:
    """The commands of the step whose name begins so."""
    (found,) = [step["run"] for step in STEPS if step.get("name", "").startswith(name)]
    return found


def test_every_action_is_pinned_by_a_commit_and_names_its_version() -> None:
    uses = re.findall(r"uses: (.*)", TEXT)
    assert len(uses) == len(STEPS) - len(SCRIPTS)
    for action in uses:
        assert re.fullmatch(r"actions/(checkout|setup-python|upload-artifact)@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)


def test_only_the_comment_may_write_and_no_name_from_outside_becomes_a_command() -> None:
    rights = {name: job["permissions"] for name, job in JOBS.items() if "permissions" in job}
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert rights == {"results": {"contents": "read", "pull-requests": "write"}}
    assert not [run for run in SCRIPTS if "${{" in run]
    assert all(step["with"]["persist-credentials"] is False for step in STEPS if "checkout" in step.get("uses", ""))


@pytest.mark.parametrize("run", SCRIPTS)
def test_every_command_is_there(run: str) -> None:
    commands = re.sub(r'echo ".*"', "", run)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make (\S+)", commands):
        assert f"\n{target}:" in makefile, target
    for module in re.findall(r"python -m ([\w.]+)", commands):
        assert ROOT.joinpath(*module.split(".")).with_suffix(".py").exists(), module
    for lock in re.findall(r"\S+\.lock", commands):
        assert (ROOT / lock).exists(), lock
    for arguments in re.findall(r"\bdvc ([^\n|)]+)", commands):
        get_main_parser().parse_args(shlex.split(arguments))


def test_a_lock_that_is_not_of_the_committed_params_fails(project: Project, tmp_path: Path) -> None:
    clone = replace(project, folder=tmp_path / "clone")
    project.run("git", "clone", "-q", ".", str(clone.folder))
    step = ("bash", "-eo", "pipefail", "-c", script("dvc.lock"))
    clone.run(*step)
    clone.change("params.yaml", "  lr: auto ", "  lr: 0.1 ")
    assert "dvc.lock is out of date; run dvc repro and dvc push" in clone.run(*step, expect=1)


@pytest.mark.parametrize("remote", [True, False])
def test_a_pull_request_gets_its_metrics_and_with_a_remote_its_verdict(tmp_path: Path, remote: bool) -> None:
    ours = make_stub(tmp_path / "ours")
    if remote:
        ours.run("dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    ours.change("params.yaml", "  lr: auto ", "  lr: 0.1 ")
    ours.run("dvc", "repro", "-q")
    commit(ours, "lr 0.1")
    ours.run("git", "switch", "-q", "-c", "faster")
    ours.change("params.yaml", "  lr: 0.1 ", "  lr: 0.4 ")
    ours.run("dvc", "repro", "-q")
    commit(ours, "lr 0.4")
    if remote:
        ours.run("dvc", "push", "-q", "--all-commits")

    github = replace(ours, folder=tmp_path / "clone", environment=ours.environment | {"GITHUB_BASE_REF": "main"})
    ours.run("git", "clone", "-q", ".", str(github.folder))
    github.run("bash", "-eo", "pipefail", "-c", script("Compare"))
    comment = github.read("comment.md")
    assert comment.startswith("## Results against main\n\n    HEAD (")
    assert re.search(r"^\| metrics/train.json \| val.top1 +\| 0.9 +\| 0.6 +\| -0.3 +\|$", comment, re.MULTILINE)
    verdict = "worse: " if remote else "its metrics/predictions.csv is not in DVC's cache; run "
    assert verdict in comment.partition("<details>")[0]


def test_an_unknown_base_is_one_sentence(tmp_path: Path) -> None:
    project = make_stub(tmp_path / "stub")
    project.run("dvc", "repro", "-q")
    commit(project, "results")
    said = project.run("python", "-m", "tools.pull_request", "man", expect=3)
    assert said == "man is no experiment, branch, tag or commit here; did you mean main?\n"
