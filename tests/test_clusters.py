"""The files of docs/clusters do what docs/scale.md says: tried on this machine, or read where they need a cluster."""

import csv
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from imageclf.runtime.files import sha256_of_file
from imageclf.runtime.platform import loopback
from tests.conftest import Project, environment_of
from tests.imports import ROOT

CLUSTERS = ROOT / "docs/clusters"
WEIGHTS = "models/classifier/weights.safetensors"


def copied(project: Project, folder: Path, **environment: str) -> Project:
    shutil.copytree(project.folder, folder, symlinks=True)
    return Project(folder, environment_of(folder) | environment)


@pytest.mark.parametrize("script", ["hosts.sh", "sweep.sbatch"])
def test_a_shell_can_read_the_scripts(script: str) -> None:
    subprocess.run(["bash", "-n", str(CLUSTERS / script)], check=True)


def test_the_pods_run_what_a_shell_can_read_and_join_as_ranks() -> None:
    job: Any = YAML(typ="safe").load((CLUSTERS / "pytorchjob.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    replicas = job["spec"]["pytorchReplicaSpecs"]
    count = sum(part["replicas"] for part in replicas.values())
    assert count & (count - 1) == 0
    for part in replicas.values():
        (container,) = part["template"]["spec"]["containers"]
        assert container["name"] == "pytorch"  # the operator looks for this name
        (script,) = container["args"]
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        assert "python -m stages.train" in script
        (volume,) = part["template"]["spec"]["volumes"]
        assert [mount["name"] for mount in container["volumeMounts"]] == [volume["name"]]


@pytest.mark.slow
def test_two_hosts_give_the_bytes_of_one(project: Project, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {"FIRST": "127.0.0.1", "HOSTS": "2", "PORT": str(port), "NETWORK": loopback(), "TRIES": "1"}
    hosts = [copied(project, tmp_path / f"host-{number}", HOST=str(number), **shared) for number in range(2)]
    for host in hosts:
        shutil.rmtree(host.folder / "models/classifier")
    runs = [
        subprocess.Popen(
            ["sh", str(CLUSTERS / "hosts.sh")],
            cwd=host.folder,
            env=host.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for host in hosts
    ]
    printed = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(printed)
    assert "2 processes" in printed[0]
    assert sha256_of_file(hosts[0].folder / WEIGHTS) == sha256_of_file(project.folder / WEIGHTS)
    assert not (hosts[1].folder / WEIGHTS).exists()
    assert "up to date" in hosts[0].run("dvc", "status")


@pytest.mark.slow
def test_a_task_of_the_array_trains_its_line_and_pushes_the_experiment(project: Project, tmp_path: Path) -> None:
    task = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_JOB_ID": "7", "SLURM_TMPDIR": str(tmp_path)}
    origin, here = tmp_path / "origin.git", copied(project, tmp_path / "here", **task)
    here.run("git", "clone", "-q", "--bare", ".", str(origin))
    here.run("git", "remote", "add", "origin", str(origin))
    (here.folder / "settings").write_text("train.lr=0.05\ntrain.lr=0.1 train.epochs=1\n")
    environment = here.environment | {"CACHE": str(here.folder / ".dvc/cache")}
    Project(here.folder, environment).run("bash", str(CLUSTERS / "sweep.sbatch"))
    head = here.run("git", "rev-parse", "HEAD").strip()
    here.run("dvc", "exp", "pull", "origin", "--rev", head)
    shown = csv.DictReader(here.run("dvc", "exp", "show", "--csv").splitlines())
    (row,) = [row for row in shown if row["Experiment"] == "sweep-2"]
    assert (row["train.epochs"], row["train.lr"]) == ("1", "0.1")
