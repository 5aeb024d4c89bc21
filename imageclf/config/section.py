"""Base class and types of a section of params.yaml, and its reader."""

import importlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import CoreSchema
from pydantic_core.core_schema import literal_schema

from imageclf.runtime.errors import ParamsError
from imageclf.runtime.yaml import NotYaml, load_yaml

PARAMS = Path("params.yaml")
LARGEST = 1_000_000  # characters; a params.yaml has one page
NO_FILE = "data/none"  # an empty file: DVC needs a path that exists

Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[int, Field(ge=1)]
NOT_HOME = "^[^~]"
Place = Annotated[str, Field(min_length=1, pattern=NOT_HOME)]  # a path that DVC watches
Scale = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """Exact types, no unknown keys, no nan, no infinity, no changes after reading."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class OneOf:
    """Annotates a str that must be one of these names, such as those of a registry."""

    names: Collection[str]

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return literal_schema(list(self.names))


AnySection = TypeVar("AnySection", bound=Section)


def read_section(section: type[AnySection]) -> AnySection:
    """Read the section of a class, such as `train` for TrainParams; the other sections are checked too.

    Raises:
        ParamsError: the file is missing or not YAML, a key is unknown or missing, or a value is invalid.
    """
    # Imported by name: it only rejects other sections' values, which cannot affect a result, so it is not a dep.
    whole = importlib.import_module("imageclf.config.params").read_params()
    found = getattr(whole, section.__name__.removesuffix("Params").lower())
    assert isinstance(found, section)
    return found


def read_content(path: Path) -> Any:
    """The content of a params file, not yet validated.

    Raises:
        ParamsError: the file is missing, empty or not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing; run in the folder of dvc.yaml, or git checkout {path.name}") from None
    except UnicodeDecodeError:
        raise ParamsError(f"{path} is not UTF-8 text; git checkout {path.name} restores the committed one") from None
    if len(text) > LARGEST:
        raise ParamsError(f"{path.name} has {len(text):,} characters, far more than one page; shorten it")
    if not text.strip():
        raise ParamsError(f"{path.name} is empty; git checkout {path.name} restores the committed one")
    try:
        return load_yaml(text)
    except NotYaml as error:
        raise ParamsError(f"{path.name}: {error}") from None
