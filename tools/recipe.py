"""Write a recipe into params.yaml: `python -m tools.recipe NAME`; without a name it lists the recipes.

A recipe sets all of `train`, and in `prepare` size, val_fraction and per_class. The other params stay, and so do the
comments. It shows the lines that it changes; `--dry-run` does no more than that.
"""

import argparse

from imageclf.runtime.stage import run_tool
from tools.starting.recipes import changed_text, difference, read_recipe, recipe_names, write_params


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


if __name__ == "__main__":
    run_tool(main)
