"""Training on fake GPUs: every operation has a kernel, tensors meet on one device, nothing waits that need not."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.gpu.cases import BUDGETS, NIGHTLY, QUICK
from tests.gpu.fakes import ROOT, environment, folder_of

# Kernels of a step, and waits of the host for the GPU.
MOST = {
    "default": (500, 0),
    "94 percent": (820, 0),
    "resnet50": (750, 0),
    "default, recorded": (260, 0),
    "94 percent, recorded": (330, 0),
    "resnet50, recorded": (40, 0),
}
# Gradients that a GPU adds up in no fixed order (torch.use_deterministic_algorithms); attention has an order in strict
# mode.
UNREPEATABLE = {
    "_adaptive_avg_pool2d_backward",
    "adaptive_max_pool2d_backward",
    "avg_pool3d_backward",
    "max_pool3d_with_indices_backward",
    "reflection_pad2d_backward",
    "replication_pad2d_backward",
    "upsample_bilinear2d_backward",
    "upsample_bicubic2d_backward",
    "upsample_nearest2d_backward",
    "grid_sampler_2d_backward",
    "nll_loss2d_backward",
    "cumsum",
    "put_",
}


def results(folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """What tests.gpu.cases prints of each case."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.cases", *names],
        env=environment(folder),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {found["name"]: found for found in map(json.loads, done.stdout.splitlines())}


# For these Apple's GPUs take others: native_batch_norm, and attention in its parts. A graph is none of torch's.
NVIDIAS = {
    "cudnn_batch_norm",
    "cudnn_batch_norm_backward",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_backward",
    "_native_multi_head_attention",
    "graph",
}


@cache
def has_kernels_on_apples() -> set[str]:
    """The operations that mps has a kernel for, or that are made of others, by torch's own table."""
    table = Path(folder_of("torchgen")) / "packaged/ATen/native/native_functions.yaml"
    rows = {row["func"].split("(")[0]: row for row in yaml.safe_load(table.read_text())}

    def runs(row: dict[str, Any]) -> bool:
        if "structured_delegate" in row:
            return runs(rows[row["structured_delegate"]])
        keys = ",".join(row.get("dispatch", {"Composite": ""}))
        return "Composite" in keys or "MPS" in keys.replace("SparseMPS", "").replace("SparseCsrMPS", "")

    return {name.split(".")[0] for name, row in rows.items() if runs(row)}


def check(found: dict[str, Any]) -> None:
    assert "error" not in found, found["error"]
    used = set(found["by_name"])
    assert not UNREPEATABLE & used
    assert not used - NVIDIAS - has_kernels_on_apples()
    assert any("backward" in name for name in found["by_name"])  # that the gradients are counted


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return results(tmp_path_factory.mktemp("libraries"), [*BUDGETS, *QUICK])


@pytest.mark.parametrize("name", [*BUDGETS, *QUICK])
def test_a_run_trains(quick: dict[str, dict[str, Any]], name: str) -> None:
    check(quick[name])


@pytest.mark.parametrize("name", list(BUDGETS))
def test_a_step_takes_few_kernels_and_no_wait(quick: dict[str, dict[str, Any]], name: str) -> None:
    kernels, waits = MOST[name]
    assert quick[name]["kernels"] <= kernels
    assert quick[name]["waits"] <= waits, quick[name]["waits_in"]


def test_an_upload_from_memory_that_is_not_pinned_is_a_wait(quick: dict[str, dict[str, Any]]) -> None:
    assert quick["unpinned"]["waits"] == 1


def test_clipping_waits_once_a_step(quick: dict[str, dict[str, Any]]) -> None:
    assert quick["clipped"]["waits"] == 1


@pytest.mark.slow
def test_all_params_train(tmp_path: Path) -> None:
    for found in results(tmp_path, list(NIGHTLY)).values():
        check(found)


@pytest.mark.slow
def test_networks_that_pool_adaptively_or_attend_train(tmp_path: Path) -> None:
    for found in results(tmp_path, ["alexnet", "vgg11_bn", "vit_b_32"]).values():  # the others: tests.gpu.families
        check(found)
