"""What the pages say is there: the files that they link to, the params and the programs that they name."""

import re
from pathlib import Path

import pytest

from imageclf.config.params import Params, keys_of
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
    named = re.findall(rf"(?<![\w./])(?:{sections})(?:\.[a-z]\w*)+", page.read_text(encoding="utf-8"))
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
