"""Train each case named on fake GPUs, and print a line of JSON about it: `python -m tests.gpu.cases NAME...`.

Run by the tests of this folder, in the environment that fakes.environment makes.
"""

import contextlib
import io
import json
import sys
import traceback
from typing import Any

from tests.gpu import fakes

BUDGETS: dict[str, dict[str, Any]] = {
    "default": {"batch_size": 512, "images": 512 * 8, "hard_fraction": 1.0, "epochs": 1},
    "94 percent": {"model": "cifarnet_large", "batch_size": 1024, "images": 1024 * 8, "epochs": 1},
    "resnet50": {
        "model": "resnet50",
        "optimizer": "sgd",
        "batch_size": 256,
        "images": 256 * 5,
        "size": 224,
        "epochs": 1,
        "val": 0,
    },
}
BUDGETS |= {
    f"{name}, recorded": case | {"recorded": True, "images": 8 * case["batch_size"]} for name, case in BUDGETS.items()
}
QUICK: dict[str, dict[str, Any]] = {
    "every step, resumed": {"every": 1e-9, "resume": True, "ema": 0.9, "keep": "best", "epochs": 3},
    "second GPU": {"device": "cuda:1", "gpus": 2},
    "clipped": {"clip_norm": 1.0},
    "unpinned": {"pinned": False},
    "both mixed, weighted": {"augment": {"mixup": 0.2, "cutmix": 1.0}, "class_weights": "balanced"},
    "augmented on the GPU": {"augment": {"crop": 4, "cutout": 8, "color": 0.4, "flip": "random"}},
    "augmented on the host": {"augment": {"crop_scale": 0.3, "erasing": 0.5}},
    "sgd, resumed": {"optimizer": "sgd", "every": 1e-9, "resume": True},
}
NIGHTLY: dict[str, dict[str, Any]] = {
    "two GPUs": {"gpus": 2},
    "fp32": {"precision": "fp32"},
    "fp16, resumed": {"precision": "fp16", "every": 1e-9, "resume": True},
    "notes_cnn": {"model": "notes_cnn"},
    "grey": {"model": "notes_cnn_relu", "channels": 1, "size": 28},
    "mse": {"loss": "mse", "label_smoothing": 0.0},
    "l1": {"loss": "l1", "label_smoothing": 0.0},
    "class weights": {"class_weights": "balanced"},
    "balanced": {"sampling": "balanced"},
    "hard half": {"hard_fraction": 0.5},
    "mixup": {"augment": {"mixup": 0.2}},
    "cutmix": {"augment": {"cutmix": 1.0}},
    "randaugment": {"augment": {"policy": "randaugment"}},
    "last batch kept": {"drop_last": False, "images": 70},
    "head first": {"model": "resnet18", "freeze_epochs": 1, "head_lr": 5.0, "layer_decay": 0.8, "optimizer": "adamw"},
    "frozen": {"model": "resnet18", "freeze": "backbone", "views": 0, "optimizer": "adamw"},
    "two blocks frozen": {"model": "resnet18", "freeze": 2, "optimizer": "muon"},
    **{f"{name}, resumed": {"optimizer": name, "every": 1e-9, "resume": True} for name in ("adam", "adamw", "rmsprop")},
}
# One of each of torchvision's families.
FAMILIES: dict[str, dict[str, Any]] = {
    name: {"model": name, "size": 224, "batch_size": 2, "images": 6, "val": 0, "epochs": 1}
    for name in (
        "alexnet",
        "convnext_tiny",
        "densenet121",
        "efficientnet_b0",
        "googlenet",
        "maxvit_t",
        "mnasnet0_5",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "regnet_y_400mf",
        "resnet18",
        "resnext50_32x4d",
        "shufflenet_v2_x0_5",
        "squeezenet1_1",
        "swin_t",
        "swin_v2_t",
        "vgg11_bn",
        "vit_b_32",
        "wide_resnet50_2",
    )
} | {"inception_v3": {"model": "inception_v3", "size": 299, "batch_size": 2, "images": 6, "val": 0, "epochs": 1}}
CASES = BUDGETS | QUICK | NIGHTLY | FAMILIES


def tried(case: dict[str, Any]) -> dict[str, Any]:
    """Kernels and waits of a step, and the places of the waits; or what was raised."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            fakes.train(**case)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}
    kernels, waits = fakes.RECORD.per_step()
    return {"kernels": kernels, "waits": waits, "by_name": fakes.RECORD.kernels, "waits_in": fakes.RECORD.waits}


if __name__ == "__main__":
    fakes.install()
    for name in sys.argv[1:]:
        print(json.dumps({"name": name} | tried(CASES[name])), flush=True)
