"""Networks of torchvision and timm, and the preprocessing of their published weights."""

import importlib.util
from dataclasses import dataclass
from typing import Any

from torch import nn

from imageclf.runtime.errors import MachineError, ParamsError, nearest

TIMM, TIMM_NEEDED = "timm/", "timm==1.0.31"
SIZED = {"vit_": "image_size", "maxvit_": "input_size"}  # prefixes of models that are built for one image size
# These two have weights from TensorFlow with another normalisation, which torchvision converts.
HALVED = ("googlenet", "inception_v3")


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of a network's published weights."""

    size: tuple[int, int]  # height, width in pixels
    mean: list[float]  # for each channel, on the scale 0 to 1
    std: list[float]


def torchvision_names() -> list[str]:
    """Every classification model of torchvision."""
    import torchvision.models as zoo  # here: the import is slow, and our own networks do not need it

    return zoo.list_models(module=zoo)


def is_in_zoo(name: str) -> bool:
    """Whether torchvision or timm may know the name."""
    return name.startswith(TIMM) or name in torchvision_names()


def zoo_network(name: str, *, classes: int | None, size: tuple[int, int]) -> nn.Module:
    """RGB pixels (N, 3, H, W) to logits (N, classes), with random weights; `classes` None: the model's own.

    Raises:
        ParamsError: timm has no such model.
        MachineError: timm is missing.
    """
    answers: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    if name.startswith(TIMM):
        return _timm(name).create_model(name.removeprefix(TIMM), pretrained=False, **answers)
    import torchvision.models as zoo

    # Without auxiliary heads, which return a tuple in training.
    extra: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name in HALVED else {}
    for beginning, argument in SIZED.items():
        if name.startswith(beginning):
            extra[argument] = size[0] if argument == "image_size" else size
    return zoo.get_model(name, weights=None, **answers, **extra)


def preprocessing(name: str) -> Preprocessing:
    """The preprocessing of the model's published weights."""
    if name.startswith(TIMM):
        published = _timm(name).get_pretrained_cfg(name.removeprefix(TIMM))
        return Preprocessing(tuple(published.input_size[1:]), list(published.mean), list(published.std))
    import torchvision.models as zoo

    transforms = zoo.get_model_weights(name).DEFAULT.transforms()
    side = transforms.crop_size[0]
    if name in HALVED:
        return Preprocessing((side, side), [0.5] * 3, [0.5] * 3)
    return Preprocessing((side, side), list(transforms.mean), list(transforms.std))


def check_timm(name: str) -> None:
    """Check that timm has the model.

    Raises:
        ParamsError: it does not.
        MachineError: timm is missing.
    """
    _timm(name)


def _timm(name: str) -> Any:
    """The module timm, after checking that it has the model."""
    if importlib.util.find_spec("timm") is None:
        raise MachineError(
            f"params.yaml: train.model {name} needs timm, which is not installed; pip install {TIMM_NEEDED}"
        )
    import timm

    own = name.removeprefix(TIMM)
    if not timm.is_model(own):
        hint = nearest(name, [f"{TIMM}{known}" for known in timm.list_models()])
        raise ParamsError(f"params.yaml: train.model is {name!r}, which timm does not have{hint}")
    return timm
