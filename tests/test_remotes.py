"""A remote serves a colleague: a folder, and a real S3 server on this machine. Where it does not, one is told why."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.imports import ROOT
from tests.tools.stub import commit, make_stub

NOTHING_RUNS = "Data and pipelines are up to date."
TOLD_BY = [
    *(("python", "-m", f"stages.{stage}") for stage in ("prepare", "train", "evaluate", "export")),
    ("python", "-m", "tools.predict", "x.png"),
    *(("python", "-m", f"tools.{tool}") for tool in ("verify", "compare")),
]


@dataclass(frozen=True)
class Store:
    """A remote: its address, settings and what the environment needs to reach it."""

    url: str
    settings: dict[str, str]
    environment: dict[str, str]

    def add_to(self, project: Project) -> Project:
        """The project with this as its remote, in git."""
        project.run("dvc", "remote", "add", "-q", "-d", "store", self.url)
        for name, value in self.settings.items():
            project.run("dvc", "remote", "modify", "-q", "store", name, value)
        commit(project, "The remote")
        return replace(project, environment=project.environment | self.environment)


@pytest.fixture(scope="module")
def s3() -> Iterator[Store]:
    for module in ("moto", "dvc_s3"):
        pytest.importorskip(module, reason="requirements-dev.lock has moto and dvc-s3")
    command = [sys.executable, "-m", "tests.s3_server"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout
        facts = json.loads(server.stdout.readline())
        keys = {"AWS_ACCESS_KEY_ID": facts["key"], "AWS_SECRET_ACCESS_KEY": facts["secret"]}
        patience = {"AWS_MAX_ATTEMPTS": "1", "NO_PROXY": "127.0.0.1"}
        yield Store("s3://models/shapes", {"endpointurl": facts["url"]}, keys | patience)
        server.communicate()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return request.getfixturevalue("s3") if request.param == "s3" else Store(str(tmp_path / "store"), {}, {})


def cloned(project: Project, folder: Path) -> Project:
    """What a colleague has after `git clone`."""
    project.run("git", "clone", "-q", ".", str(folder))
    return replace(project, folder=folder)


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Project:
    """The project after its first run, to be changed."""
    shutil.copytree(project.folder, tmp_path / "copy", symlinks=True)
    return replace(project, folder=tmp_path / "copy")


def test_a_colleague_pulls_what_was_pushed_and_repro_runs_nothing(copy: Project, store: Store, tmp_path: Path) -> None:
    ours = store.add_to(copy)
    assert re.search(r"^\d+ files pushed", ours.run("dvc", "push"), re.MULTILINE)
    theirs = cloned(ours, tmp_path / "clone")
    theirs.run("dvc", "pull", "models/export")
    theirs.run("python", "-m", "tools.predict", str(ours.folder / "metrics/preview.png"))
    assert not (theirs.folder / "data/prepared").exists()
    theirs.run("dvc", "pull")
    repro = theirs.run("dvc", "repro")
    assert NOTHING_RUNS in repro and "Running stage" not in repro
    assert "same bytes: " in theirs.run("python", "-m", "tools.verify")
    assert theirs.run("git", "status", "--porcelain") == ""


def test_an_experiment_is_pulled_with_its_files_and_compared(store: Store, tmp_path: Path) -> None:
    ours = make_stub(tmp_path / "stub")
    ours.run("dvc", "repro", "-q")
    ours = store.add_to(ours)
    ours.run("git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "git"))
    ours.run("git", "remote", "add", "origin", str(tmp_path / "git"))
    ours.run("dvc", "push", "-q")
    ours.run("git", "push", "-q", "origin", "main")
    ours.run("dvc", "exp", "run", "-q", "-n", "far", "-S", "train.lr=0.4")
    ours.run("dvc", "exp", "push", "origin", "far")
    theirs = replace(ours, folder=tmp_path / "clone")
    ours.run("git", "clone", "-q", str(tmp_path / "git"), str(theirs.folder))
    theirs.run("dvc", "pull", "-q")
    assert "far" in theirs.run("dvc", "exp", "list", "origin", "--all")
    theirs.run("dvc", "exp", "pull", "origin", "far")
    assert "worse" in theirs.run("python", "-m", "tools.compare", "far")
    theirs.run("dvc", "exp", "apply", "far")
    assert NOTHING_RUNS in theirs.run("dvc", "repro")


@pytest.mark.parametrize("command", TOLD_BY, ids=" ".join)
def test_a_clone_without_its_data_is_told_to_pull(store_is_far: Project, command: tuple[str, ...]) -> None:
    said = store_is_far.run(*command, expect=3)
    assert said.count("\n") == 1
    assert "; run dvc pull" in said


@pytest.fixture(scope="module")
def store_is_far(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone whose remote is S3, and nothing pulled; no server is asked."""
    clone = cloned(project, tmp_path_factory.mktemp("far") / "clone")
    return Store("s3://models/shapes", {}, {}).add_to(clone)


@pytest.mark.parametrize(
    ("settings", "keys", "words"),
    [
        ({}, {"AWS_ACCESS_KEY_ID": "someone"}, "(403) … Forbidden"),
        ({}, {"AWS_SECRET_ACCESS_KEY": "wrong"}, "(403) … Forbidden"),
        ({"endpointurl": "http://127.0.0.1:1"}, {}, "Could not connect to the endpoint URL: …"),
        ({"url": "s3://other"}, {}, "The specified bucket does not exist"),
        ({"url": "s3://models/empty"}, {}, "Some of the cache files do not exist neither locally nor on remote"),
    ],
    ids=["key", "secret", "server", "bucket", "empty"],
)
def test_the_page_has_the_words_of_dvc_when_a_remote_fails(
    store_is_far: Project, s3: Store, tmp_path: Path, settings: dict[str, str], keys: dict[str, str], words: str
) -> None:
    assert f"`{words}`" in (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    clone = cloned(store_is_far, tmp_path / "clone")
    for name, value in (s3.settings | settings).items():
        clone.run("dvc", "remote", "modify", "-q", "store", name, value)
    clone = replace(clone, environment=clone.environment | s3.environment | keys)
    said = clone.run("dvc", "pull", expect=None)
    assert all(part in said for part in words.split("…")), said
