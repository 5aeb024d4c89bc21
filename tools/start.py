"""Start on your own images: `python -m tools.start FOLDER`.

It looks at the folder, chooses a recipe and the values that fit the images and this machine, says why, writes them into
params.yaml and lets DVC track the folder. `--dry-run` only shows the choice; `--yes` does not ask before it writes.
The next command is `dvc repro`.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from imageclf.config.params import checked
from imageclf.config.section import NO_FILE, PARAMS
from imageclf.models.registry import build_network, check_known, has_published_weights, last_layer
from imageclf.models.zoo import TIMM, preprocessing
from imageclf.runtime.errors import DataError, Fault, ParamsError, UserError, printable
from imageclf.runtime.stage import project_root, run_tool
from imageclf.runtime.yaml import load_yaml
from imageclf.training.auto import chosen_values, resolve, words_of
from imageclf.weights.initial import DOWNLOADS, StampedFile
from tools.recipe import DEFAULT, changed_text, difference, in_yaml, read_recipe, write_params
from tools.repository import git
from tools.starting.choice import PUBLISHED, Beginning, Choice, Plan, in_words, measured, named_in, plan
from tools.starting.survey import Survey, look_at

MINUTES = 10.0
REACHED_WITHIN = 5  # seconds


def main() -> None:
    # 1. Look at the folder.
    asked = _arguments()
    read_recipe(DEFAULT)  # first: elsewhere than in the project nothing else can succeed
    if asked.model is not None:
        _check_model(asked.model, begun=asked.weights is not None)
    beginning = None if asked.weights is None else _from_file(asked.weights, asked.model)
    survey = look_at(asked.folder)
    print("\n".join(survey.lines()))

    # 2. Choose.
    beginning = beginning or _published(asked.model or PUBLISHED)
    chosen = plan(survey, beginning, budget=60 * asked.minutes, measure=measured)
    choices = [*_data(asked.folder, survey), *chosen.choices]
    print(f"recipe {chosen.recipe}: {chosen.reason}")
    for choice in choices:
        print(f"  {choice.key}: {in_yaml(choice.value)}  ({choice.reason})")
    values = {choice.key: choice.value for choice in choices}
    before, after = changed_text(read_recipe(chosen.recipe).values | values)
    print(
        f"  auto then chooses: {_auto(after, survey, chosen)}  (the rates for these weights, the batch for the images)"
    )
    print(
        f"training itself takes about {in_words(chosen.seconds)} on this machine; starting, testing and exporting add "
        "a minute or two"
    )
    print(
        "if left and right differ in meaning, as in letters, set train.augment.flip to none and train.tta_flip to false"
    )

    # 3. Write.
    if asked.dry_run:
        print("\n".join([f"{PARAMS} would change:", *difference(before, after)]))
        return
    if not asked.yes and not _agreed():
        print("nothing is written")
        return
    for path in (asked.folder, asked.weights):
        if path:
            _track(str(path))
    write_params(after)
    print(f"{PARAMS} is written; git checkout {PARAMS} takes it back\nnext    dvc repro")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.start", description="Choose params for a folder of images.")
    parser.add_argument("folder", help="one subfolder per class, or with a labels.csv")
    parser.add_argument("--weights", type=Path, help="a file of pretrained weights; without it torchvision's are used")
    parser.add_argument("--model", help="the network of the weights, such as resnet18 or timm/NAME")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="that training may take (default: %(default)g)")
    parser.add_argument("--yes", action="store_true", help="write without asking")
    parser.add_argument("--dry-run", action="store_true", help="only show the choice")
    asked = parser.parse_args()
    if not asked.minutes > 0:
        parser.error(f"argument --minutes: {asked.minutes} is not above 0")
    return asked


def _auto(text: str, survey: Survey, chosen: Plan) -> str:
    """What train makes of `auto` in this text of params.yaml, for about as many images as will be trained on."""
    params = checked(load_yaml(text), PARAMS.name)
    dealt = [f"{name}_fraction" for name in ("val", "test") if name not in survey.given]
    images = round(survey.trained_on * (1 - sum(getattr(params.prepare, name) for name in dealt)))
    begun = params.train.pretrained or params.train.weights != NO_FILE
    recipe = resolve(params.train, images=max(1, images), size=(chosen.sees, chosen.sees), begun=begun)
    return words_of(chosen_values(params.train, recipe))


def _data(folder: str, survey: Survey) -> list[Choice]:
    """The params that follow from the folder alone."""
    choices = [Choice("data.name", "folder", "your own images"), Choice("data.path", folder, "given")]
    choices.append(Choice("prepare.on_bad", "drop", "what cannot be used is left out; the report names each file"))
    if survey.window:
        choices.append(Choice("prepare.window", list(survey.window), "16-bit grey values use only this range"))
    return choices


def _check_model(name: str, *, begun: bool) -> None:
    """Check that the network exists, and that there are weights to begin from.

    Raises:
        ParamsError: there is none of this name, or no weights for it.
        MachineError: its package is not installed.
    """
    try:
        check_known(name)
    except UserError as error:
        raise type(error)(str(error).replace(f"{PARAMS}: train.model", "--model")) from None
    if not begun and (name.startswith(TIMM) or not has_published_weights(name)):
        raise ParamsError(f"--model {name} needs --weights: only torchvision's weights can be downloaded")


def _from_file(weights: Path, model: str | None) -> Beginning:
    """The weights of a file.

    Raises:
        DataError: the file is missing, is none of weights or of another network's, or its network is not known.
    """
    from imageclf.weights.matching import begin_from, is_in_order, read_metadata, read_weights

    if not weights.is_file():
        raise DataError(f"{printable(weights)} is not there, or not a file; check the path")
    metadata = read_metadata(weights)
    if metadata:
        return Beginning(metadata.model, max(metadata.network_size), weights)
    name = model or named_in(weights)
    if name is None:
        raise DataError(f"{printable(weights)} does not name its network; add --model NAME, such as --model resnet18")
    side = _side(name)
    network = build_network(name, classes=2, channels=3, size=(side, side))
    states, in_order = read_weights(weights), is_in_order(weights)
    begin_from(network, states, fresh=last_layer(network)[0], source=printable(weights.name), in_order=in_order)
    return Beginning(name, side, weights)


def _published(model: str) -> Beginning:
    """Torchvision's weights, if they are here or can be downloaded."""
    import torchvision.models as zoo

    url = zoo.get_model_weights(model).DEFAULT.url
    name = url.rpartition("/")[2]
    here = project_root() / DOWNLOADS / name
    try:
        StampedFile(name, 0, f"sha256:{here.stem.rpartition('-')[2]}").check(here)
        return Beginning(model, _side(model))
    except Fault:
        pass
    if _can_reach(url):
        return Beginning(model, _side(model))
    print(
        f"{url} cannot be reached: for a much better classifier get that file, "
        f"and add --weights {name} --model {model} (or any other file of weights, and its network)"
    )
    return Beginning(None, why_not=f"those of {model} cannot be downloaded now")


def _side(model: str) -> int:
    return max(preprocessing(model).size) if has_published_weights(model) else 32


def _can_reach(url: str) -> bool:
    import requests

    try:
        return requests.head(url, allow_redirects=True, timeout=REACHED_WITHIN).ok
    except requests.RequestException:
        return False


def _agreed() -> bool:
    """Ask.

    Raises:
        ParamsError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise ParamsError("this is no terminal to ask on, so nothing is written; add --yes to write")
    return input(f"Write {PARAMS}, and let DVC track the folder? [Y/n] ").strip().lower() in ("", "y", "yes")


def _track(name: str) -> None:
    """Let DVC track a folder or a file, if it lies in this repository and neither git nor DVC has it yet.

    Raises:
        DataError: DVC could not.
    """
    path = Path(name)
    inside = path.resolve().is_relative_to(Path.cwd().resolve())
    pointer = path.parent / f"{path.name}.dvc"
    if not inside or pointer.exists() or git("ls-files", "--", name):
        return
    done = subprocess.run(["dvc", "add", "--quiet", name], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise DataError(f"dvc add {printable(name)} failed: {printable(' '.join(reason))}; nothing is written")
    shown = printable(pointer)
    print(f"{shown} is written: DVC tracks {printable(name)}, and git add {shown} keeps its version")


if __name__ == "__main__":
    run_tool(main)
