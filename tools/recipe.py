"""Write a recipe into params.yaml: `python -m tools.recipe NAME`; without a name it lists the recipes.

A recipe sets all of `train`, and in `prepare` size, val_fraction and per_class. The other params stay, and so do the
comments. It shows the lines that it changes; `--dry-run` does no more than that.
"""

import argparse
import io
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from imageclf.config.params import checked
from imageclf.config.section import PARAMS, read_content
from imageclf.runtime.errors import DataError, ParamsError, nearest, printable
from imageclf.runtime.files import write_text
from imageclf.runtime.stage import run_tool
from imageclf.runtime.yaml import flat, load_yaml

RECIPES = Path("recipes")
NULL = "tag:yaml.org,2002:null"
DEFAULT = "cifar10"  # has every value that a recipe may change


def main() -> None:
    asked = _arguments()
    if asked.name is None:
        for name in recipe_names():
            print("\n".join([name, *(f"    {line}" for line in read_recipe(name).about)]))
        return
    recipe = read_recipe(asked.name)
    before, after = changed_text(recipe.values)
    print("\n".join(recipe.about))
    lines = difference(before, after)
    print("\n".join(lines) if lines else "params.yaml has these values already")
    if lines and not asked.dry_run:
        write_params(after)
        print("params.yaml is written; git checkout params.yaml takes it back\nnext    dvc repro")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.recipe", description="Write a recipe into params.yaml.")
    parser.add_argument("name", nargs="?", help="the recipe; without it they are listed")
    parser.add_argument("--dry-run", action="store_true", help="only show what would change")
    return parser.parse_args()


@dataclass(frozen=True)
class Recipe:
    """A file of recipes/: its header, without the number signs, and its values by key, such as train.lr."""

    name: str
    about: list[str]
    values: dict[str, Any]


def recipe_names() -> list[str]:
    """The recipes that there are, the defaults first.

    Raises:
        DataError: the folder is missing.
    """
    names = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    if DEFAULT not in names:
        raise DataError(
            f"{RECIPES / DEFAULT}.yaml is missing; run in the folder of dvc.yaml, or git checkout {RECIPES}"
        )
    return [DEFAULT, *(name for name in names if name != DEFAULT)]


def read_recipe(name: str) -> Recipe:
    """Read a recipe, whose other values are those of the default one.

    Raises:
        ParamsError: there is no such recipe, or its file is not one.
    """
    names = recipe_names()
    if name not in names:
        raise ParamsError(
            f"there is no recipe {printable(name)}{nearest(name, names)}; the recipes are {', '.join(names)}"
        )
    path = RECIPES / f"{name}.yaml"
    header = [line[1:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    content = read_content(path)
    if not isinstance(content, Mapping) or not all(isinstance(section, Mapping) for section in content.values()):
        raise ParamsError(f"{path} has no sections with keys below them; git checkout {path} restores it")
    default = {} if name == DEFAULT else read_recipe(DEFAULT).values
    values = flat(content)
    for key in values:
        if default and key not in default:
            raise ParamsError(
                f"{path}: {key} is not in the recipe {DEFAULT}{nearest(key, list(default))}; add it there"
            )
    return Recipe(name, header, default | values)


def changed_text(values: Mapping[str, Any]) -> tuple[str, str]:
    """The text of params.yaml, and the same with these values, by key. Comments stay.

    Raises:
        ParamsError: params.yaml is missing, or what comes out is not valid.
    """
    read_content(PARAMS)
    before = PARAMS.read_text(encoding="utf-8")
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, len(before)
    yaml.representer.add_representer(type(None), lambda dumper, _: dumper.represent_scalar(NULL, "null"))
    params = yaml.load(before)
    for key, value in values.items():
        *above, name = key.split(".")
        section = params
        for part in above:
            section = section.get(part) if isinstance(section, Mapping) else None
        if not isinstance(section, MutableMapping) or name not in section:
            raise ParamsError(f"{PARAMS}: {key} is missing; see git diff {PARAMS}")
        if section[name] != value:
            section[name] = _in_one_line(value)
    written = io.StringIO()
    yaml.dump(params, written)
    checked(yaml.load(written.getvalue()), str(PARAMS))
    return before, written.getvalue()


def difference(before: str, after: str) -> list[str]:
    """A line for each param that differs between two texts of params.yaml."""
    old, new = (flat(load_yaml(text)) for text in (before, after))
    return [f"  {key}: {in_yaml(new[key])} (was {in_yaml(old[key])})" for key in new if new[key] != old[key]]


def in_yaml(value: Any) -> str:
    """A value as params.yaml has it."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def write_params(text: str) -> None:
    """Replace params.yaml."""
    write_text(PARAMS, text)


def _in_one_line(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    line = CommentedSeq(value)
    line.fa.set_flow_style()
    return line


if __name__ == "__main__":
    run_tool(main)
