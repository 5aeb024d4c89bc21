"""dvc.yaml tells the truth about what each stage reads, and the code keeps the house's order."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from imageclf import CODE_FOLDERS
from imageclf.config.params import Params, keys_of
from tests.imports import ROOT, import_closure, imported_modules

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = list(PIPELINE["stages"])
SOURCES = sorted(path.relative_to(ROOT) for folder in CODE_FOLDERS for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_imports_lies_under_its_deps(stage: str) -> None:
    listed, needed = code_deps(stage), import_closure(f"stages.{stage}")
    assert listed == sorted(listed)
    assert not [path for path in needed if not any(Path(path).is_relative_to(dep) for dep in listed)]
    assert not [dep for dep in listed if not any(Path(path).is_relative_to(dep) for path in needed)]


def code_deps(stage: str) -> list[str]:
    return [
        dep for dep in PIPELINE["stages"][stage]["deps"] if dep.startswith(tuple(f"{name}/" for name in CODE_FOLDERS))
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_the_sections_that_the_stage_reads(stage: str) -> None:
    sections = set(Params.model_fields) - {"runtime"}
    read = {section for section in sections if f"imageclf/config/{section}.py" in import_closure(f"stages.{stage}")}
    assert read == {name for name in PIPELINE["stages"][stage]["params"] if "." not in name}


@pytest.mark.parametrize("stage", STAGES)
def test_what_the_run_caches_key_leaves_out_of_a_section_is_listed_by_itself(stage: str) -> None:
    tracked = PIPELINE["stages"][stage]["params"]
    keys = [key for key in keys_of(Params) if key.partition(".")[0] in tracked]
    assert [key for key in keys if key.split(".")[-1] in ("size", "nfiles") and key not in tracked] == []


def test_params_yaml_has_the_keys_of_the_schema() -> None:
    def keys(section: dict[str, object], above: str = "") -> list[str]:
        found = []
        for name, value in section.items():
            found.append(above + name)
            if isinstance(value, dict):
                found += keys(value, f"{above}{name}.")
        return found

    assert keys(yaml.safe_load((ROOT / "params.yaml").read_text())) == list(keys_of(Params))


def test_runtime_is_tracked_by_no_stage() -> None:
    assert not [stage for stage in STAGES if "runtime" in PIPELINE["stages"][stage]["params"]]


def test_no_command_is_templated() -> None:
    # DVC pastes ${...} into a shell unquoted.
    assert [PIPELINE["stages"][stage]["cmd"] for stage in STAGES] == [f"python -m stages.{stage}" for stage in STAGES]


def test_every_stage_is_described() -> None:
    assert all(PIPELINE["stages"][stage]["desc"].endswith(".") for stage in STAGES)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_run_one_way(path: Path) -> None:
    """No module imports a stage, and the library imports no tool."""
    above = ("stages",) if path.parts[0] == "tools" else ("stages", "tools")
    assert not [module for module in imported_modules(path) if module.split(".")[0] in above]


SLOW = {"torchvision", "matplotlib", "numba"}


@pytest.mark.parametrize(
    ("stages", "slow"),
    [("download prepare", SLOW | {"torch", "onnx", "tensorboard"}), ("train evaluate export", SLOW)],
)
def test_no_stage_imports_what_it_does_not_need_to_start(stages: str, slow: set[str]) -> None:
    imported = ", ".join(f"stages.{stage}" for stage in stages.split())
    script = f"import sys, {imported}; print({slow!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_package_files_hold_a_docstring_only() -> None:
    # Then they can be left out of the deps. The outermost have a say in how an import is interrupted, and in no byte.
    for path in (ROOT / path for path in SOURCES if path.name == "__init__.py" and len(path.parts) > 2):
        assert len(ast.parse(path.read_text()).body) == 1, path


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_nothing_executes_data(path: Path) -> None:
    forbidden = ("torch.load(", "pickle.load", "joblib", "allow_pickle=True", "shell=True", "os.system", ".extractall(")
    text = (ROOT / path).read_text()
    assert not [word for word in forbidden if word in text]


def test_every_stage_that_reads_data_depends_on_it() -> None:
    data = {
        stage: [dep for dep in PIPELINE["stages"][stage]["deps"] if dep not in code_deps(stage)] for stage in STAGES
    }
    assert data == {
        "download": ["${data.path}", "${data.also}", "${data.corrections}"],
        "prepare": ["${data.path}", "${data.also}", "data/raw"],
        "train": ["${train.weights}", "data/prepared"],
        "evaluate": [
            "${data.path}",
            "${data.also}",
            "data/prepared",
            "data/raw",
            "metrics/augmented.png",
            "metrics/data_report.csv",
            "metrics/history.csv",
            "metrics/near_copies.png",
            "metrics/preview.png",
            "models/classifier",
        ],
        "export": ["data/prepared", "metrics/evaluate.json", "metrics/predictions.csv", "models/classifier"],
    }


def test_plots_are_drawn_from_outs_of_the_pipeline() -> None:
    outs = {
        next(iter(out)) if isinstance(out, dict) else out
        for stage in PIPELINE["stages"].values()
        for out in stage.get("outs", []) + stage.get("metrics", [])
    }
    drawn = set()
    for plot in PIPELINE["plots"]:
        definition = next(iter(plot.values())) if isinstance(plot, dict) else None
        drawn |= set(definition["y"]) if definition else {plot}
    assert drawn <= outs


def test_templates_of_the_plots_are_there() -> None:
    named = {
        definition["template"]
        for plot in PIPELINE["plots"]
        if isinstance(plot, dict)
        for definition in plot.values()
        if "template" in definition
    }
    for name in named:
        json.loads((ROOT / f".dvc/plots/{name}.json").read_text())
