"""What the pages say is there: linked files, named params and programs; and the code of CONTRIBUTING.md runs."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from imageclf.augment import transforms
from imageclf.config.params import Params, keys_of
from imageclf.evaluation import metrics
from imageclf.evaluation.scores import Answers
from imageclf.training import optimizers
from tests.imports import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MOST_WORDS = 1500  # of README.md
WRONG = {"train.lrr"}  # so that a page can say what comes of it
FILES = {".py", ".json", ".csv"}


def ids(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in (link for link in links if not link.startswith(("https:", "http:", "mailto:"))):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_param_that_is_named_is_in_the_schema(page: Path) -> None:
    sections = "|".join(Params.model_fields)
    named = re.findall(rf"(?<![\w./-])(?:{sections})(?:\.[a-z]\w*)+", page.read_text(encoding="utf-8"))
    named = [name for name in named if Path(name).suffix not in FILES]
    assert not set(named) - set(keys_of(Params)) - WRONG


@pytest.mark.parametrize("page", [*PAGES, ROOT / "Makefile", ROOT / "benchmarks/README.md"], ids=ids)
def test_every_program_and_test_that_is_named_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for module in re.findall(r"python -m ((?:stages|tools|tests|benchmarks|imageclf)[\w.]*)", text):
        place = ROOT.joinpath(*module.split("."))
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module
    for path in re.findall(r"\b(?:tests|imageclf|stages|tools)/[\w/]+(?:\.py)?\b", text):
        assert (ROOT / path).exists(), path


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= MOST_WORDS


def code_of(what: str) -> str:
    """The first block of Python under the heading of CONTRIBUTING.md that says how to add `what`."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return text.split(f"## Add {what}\n")[1].split("```python\n")[1].split("```")[0]


def module_of(what: str) -> dict[str, Any]:
    """The names of the module that CONTRIBUTING.md adds."""
    names: dict[str, Any] = {"__name__": "added"}
    exec(code_of(what), names)
    return names


def test_the_added_optimiser_takes_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "OPTIMIZERS", {})
    exec(code_of("an optimiser"), dict(vars(optimizers)))
    weight = torch.nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2)
    parameters = optimizers.Parameters([{"params": [weight]}], [], list)
    hyper = optimizers.Hyperparameters(lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0)
    for optimizer in optimizers.OPTIMIZERS["nadam"].build(parameters, hyper):
        optimizer.step()
    assert (weight < 1).all()


def test_the_added_augmentation_makes_images_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, "TRANSFORMS", [])
    exec(code_of("an augmentation"), vars(transforms) | {"GRAYSCALE": 24})
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    draws = transforms.Draws(seed=0, epoch=0, indices=np.arange(2))
    (apply,) = transforms.TRANSFORMS
    grey = apply(images.copy(), draws, SimpleNamespace(grayscale=1.0))  # type: ignore[arg-type]
    assert (grey == grey[..., :1]).all()
    assert (apply(images.copy(), draws, SimpleNamespace(grayscale=0.0)) == images).all()  # type: ignore[arg-type]


def test_the_added_network_answers_logits() -> None:
    network = module_of("a network")["NETWORKS"]["mlp"].build(3, 1, (8, 6))
    assert network(torch.zeros(2, 1, 8, 6)).shape == (2, 3)


def test_the_added_data_set_has_its_arrays() -> None:
    (entry,) = module_of("a built-in data set")["ENTRIES"]
    arrays = entry.draw()
    assert arrays["train_images"].shape == (500, 32, 32, 1)
    assert set(arrays["test_labels"]) == set(range(len(entry.classes)))
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.uint8), np.dtype(np.int64)}


def test_the_added_metric_is_that_worked_out_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "METRICS", {})
    exec(code_of("a metric"), dict(vars(metrics)))
    answers = Answers(np.array([[1.0, 0.0]] * 4), np.array([0, 0, 0, 1]))
    assert metrics.METRICS["balanced_accuracy"](answers) == 0.5


def test_the_added_format_has_what_export_asks_for() -> None:
    module = module_of("an export format")
    assert module["READER"] == "imageclf.export.formats.json"
    assert callable(module["write"])
