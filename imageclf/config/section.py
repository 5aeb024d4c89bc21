"""A section of params.yaml: how its keys are typed, and how it is read."""

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
LARGEST = 1_000_000  # characters; a params.yaml is a page
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
    """Annotates a str: it must be one of these names, those of a registry say."""

    names: Collection[str]

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return literal_schema(list(self.names))


AnySection = TypeVar("AnySection", bound=Section)


def read_section(section: type[AnySection]) -> AnySection:
    """The section of params.yaml that the class describes, `train` for TrainParams; the other sections are checked too.

    Raises:
        ParamsError: the file is missing or not YAML, a key is unknown or missing, or a value cannot be.
    """
    # By name: what only refuses the other sections' values cannot change a byte, and is no dep of the stage.
    whole = importlib.import_module("imageclf.config.params").read_params()
    found = getattr(whole, section.__name__.removesuffix("Params").lower())
    assert isinstance(found, section)
    return found


def read_content(path: Path) -> Any:
    """What a params file holds, as yet unchecked.

    Raises:
        ParamsError: it is missing, empty or not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing; run in the folder of dvc.yaml, or git checkout {path.name}") from None
    except UnicodeDecodeError:
        raise ParamsError(f"{path} is not UTF-8 text; git checkout {path.name} brings the last good one") from None
    if len(text) > LARGEST:
        raise ParamsError(f"{path.name} has {len(text):,} characters, and a page of them is expected; shorten it")
    if not text.strip():
        raise ParamsError(f"{path.name} is empty; git checkout {path.name} brings the last good one")
    try:
        return load_yaml(text)
    except NotYaml as error:
        raise ParamsError(f"{path.name}: {error}") from None
