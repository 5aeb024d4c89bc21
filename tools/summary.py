"""Print the pipeline's results: `python -m tools.summary`. It reads metrics/ and models/, and writes nothing."""

import json
import math
from pathlib import Path
from typing import Any

from imageclf.config.params import read_params
from imageclf.config.section import NO_FILE
from imageclf.datasets.catalogue import CATALOGUE
from imageclf.models.card import CLASSIFIER
from imageclf.runtime.errors import DataError
from imageclf.runtime.files import brings
from imageclf.runtime.stage import SECONDS, project_root, run_tool
from tools.repository import read_lock
from tools.verifying.outputs import params_changes

NEXT = ("dvc metrics diff", "dvc plots show", "tensorboard --logdir logs")
FEW_IMAGES = 500  # of the test: with fewer, the 95 % interval is several points wide
STAGES = ("download", "prepare", "train", "evaluate", "export")


def main() -> None:
    card = _read(CLASSIFIER / "card.json")
    test, export = _read(Path("metrics/evaluate.json")), _read(Path("metrics/export.json"))
    onnx = export["onnx"]
    print(f"\n{card['data']} · {card['model']} · trained in {card['precision']}")
    top5 = f"     top-5  {_percent(test['top5'])} %" if "top5" in test else ""
    low, high = _percent(test["top1_low"]), _percent(test["top1_high"])
    print(
        f"  test top-1   {_percent(test['top1'])} %  (95 % interval {low} to {high}){top5}     loss {test['loss']:.3f}"
    )
    selective = "no answer is marked unsure"
    if chosen := test.get("selective"):
        accuracy = _percent(chosen["precision"]) if "precision" in chosen else "–"
        selective = f"selective accuracy {accuracy} % at {_percent(chosen['coverage'])} % coverage"
    print(f"  {selective}     calibration error {_percent(test['ece'])} %")
    print(f"  last runs    {_times()}")
    print(
        f"  models/export/classifier.onnx   {onnx['bytes'] / 1e6:.1f} MB   "
        f"same answers as the trained model on {onnx['same']:,} of {onnx['images']:,} test images"
    )
    if changes := _changes():
        others = f" and {len(changes) - 1} more" if changes[1:] else ""
        print(f"  these are results of other params: {changes[0]}{others}; run dvc repro")
    print("  next    " + "      ".join([first_experiment(card, images=onnx["images"]), *NEXT]))


def first_experiment(card: dict[str, Any], *, images: int) -> str:
    """Suggest the next experiment, from the checkpoint metadata and the number of test images."""
    recipe = card["params"]["train"]
    fresh = not recipe["pretrained"] and recipe["weights"] == NO_FILE
    if card["data"] not in CATALOGUE and fresh:
        return "dvc exp run -S train.model=resnet18 -S train.pretrained=true"
    if images < FEW_IMAGES:
        return "python -m tools.cross_validate"  # tells smaller differences than a test split of this size
    return f"dvc exp run -S train.epochs={math.ceil(recipe['epochs'] * 4 / 3)}"


def _times() -> str:
    """The duration of each stage's last run here, perhaps for another experiment."""
    path = project_root() / SECONDS
    seconds = json.loads(path.read_text()) if path.exists() else {}
    return " · ".join(f"{stage} {seconds[stage]:.0f} s" if stage in seconds else f"{stage} cached" for stage in STAGES)


def _changes() -> list[str]:
    """The params that are others now than when their stage ran."""
    params = read_params().model_dump()
    return list(dict.fromkeys(change for stage in read_lock() for change in params_changes(stage, params)))


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run {brings()} first") from None


if __name__ == "__main__":
    run_tool(main)
