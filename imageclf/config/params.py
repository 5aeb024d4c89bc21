"""Read params.yaml and reject invalid values, with one line about the first error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError, model_validator

from imageclf.config.data import DataParams
from imageclf.config.evaluate import EvaluateParams
from imageclf.config.export import ExportParams
from imageclf.config.prepare import PrepareParams
from imageclf.config.runtime import RuntimeParams
from imageclf.config.section import NOT_HOME, PARAMS, OneOf, Section, read_content
from imageclf.config.train import TrainParams
from imageclf.runtime.errors import ParamsError, nearest, some

NUMBERS = {int: "a whole number", float: "a number"}  # for keys that also take words
BOUNDS = {"gt": " above {:g}", "ge": " from {:g}", "lt": ", below {:g}", "le": ", up to {:g}"}


class Params(Section):
    """The whole of params.yaml."""

    data: DataParams
    prepare: PrepareParams
    train: TrainParams
    evaluate: EvaluateParams
    export: ExportParams
    runtime: RuntimeParams

    @model_validator(mode="after")
    def _check(self) -> "Params":
        processes, shards = self.runtime.processes, self.train.shards
        if isinstance(processes, int) and isinstance(shards, int) and processes > shards:
            raise ValueError(
                f"runtime.processes is {processes}, and a batch has {shards} shards to give them (train.shards); lower "
                "one, or raise the other, which gives another classifier"
            )
        return self


def read_params(path: Path = PARAMS) -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: the file is missing or not YAML, a key is unknown or missing, or a value is invalid.
    """
    return checked(read_content(path), path.name)


def checked(content: Any, where: str) -> Params:
    """Validate the content of a params file.

    Raises:
        ParamsError: a key is unknown or missing, or a value is invalid; the message begins with `where`.
    """
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        # Report an unknown key first: it is often a misspelling of a missing one.
        first, *others = sorted(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        also = dict.fromkeys(_key(dict(found)) for found in others if found["type"] != "missing")
        also.pop(_key(dict(first)), None)
        more = f"; {some(list(also))} {'is' if len(also) == 1 else 'are'} wrong too" if also else ""
        raise ParamsError(f"{where}: {_sentence(dict(first))}{more}") from None


def _sentence(error: dict[str, Any]) -> str:
    """Turn one of pydantic's errors into a sentence."""
    key = _key(error)
    found, context = error["input"], error.get("ctx", {})
    if error["type"] == "value_error":
        return f"{key}.{context['error']}" if key else str(context["error"])
    if not error["loc"]:
        return f"it has no sections; git checkout {PARAMS.name} restores the committed one"
    if error["type"] == "extra_forbidden":
        return f"unknown key {key}{nearest(key, list(keys_of(Params)))}; rename or remove it"
    if error["type"] == "missing":
        return f"{key} is missing; add it, or see git diff {PARAMS.name}"
    choices = choices_of(key)
    if choices and error["type"] == "list_type":
        return f"{key} is {found!r}; it must be a list in brackets, of {_either(choices)}"
    if choices:
        return f"{key} is {found!r}; it can be {_either(choices)}{nearest(str(found), choices)}"
    return f"{key} is {found!r}; {_wanted(error['type'], context, error['msg'])}"


def _key(error: dict[str, Any]) -> str:
    """The path of the key that an error is about."""
    location = [str(part) for part in error["loc"]]
    if error["type"] != "extra_forbidden":
        # The location of a union such as `auto | number` also has its branches; a key has only identifiers.
        location = [part for part in location if part.isidentifier() and part != "int"]
    return ".".join(location)


def _wanted(kind: str, context: dict[str, Any], message: str) -> str:
    if kind.startswith("float"):
        return "it must be a number"
    if kind.startswith("int"):
        return "it must be a whole number"
    if kind.startswith("bool"):
        return "it must be true or false"
    if context.get("pattern") == NOT_HOME:
        return "DVC does not know ~; write out the path of your home folder"
    if kind.startswith("string_pattern"):
        return "it can be auto, cpu, cuda, cuda:N or mps"
    if kind.startswith("string"):
        return "it must be a word"
    if kind.startswith("list"):
        return "it must be a list of numbers"
    bounds = {
        "greater_than": "above",
        "greater_than_equal": "at least",
        "less_than": "below",
        "less_than_equal": "at most",
    }
    if kind in bounds:
        return f"it must be {bounds[kind]} {next(iter(context.values()))}"
    if kind == "finite_number":
        return "it must be finite"
    if kind == "model_type":
        return "it must be a section with keys below it"
    return message


def keys_of(section: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every key of a section with its path, such as `train.lr`."""
    for name, field in section.model_fields.items():
        yield f"{above}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation, f"{above}{name}.")


def choices_of(key: str) -> list[str]:
    """The words that a key accepts; empty if it accepts other values."""
    section: Any = Params
    *above, name = key.split(".")
    for part in above:
        section = section.model_fields[part].annotation
    if name not in section.model_fields:
        return []
    field = section.model_fields[name]
    annotation = field.annotation
    marks = [*field.metadata, *(mark for part in get_args(annotation) for mark in getattr(part, "__metadata__", ()))]
    names = [str(name) for mark in marks if isinstance(mark, OneOf) for name in mark.names]
    if names:
        return names
    branches = [annotation] if get_origin(annotation) is Literal else get_args(annotation)
    words = [str(word) for branch in branches if get_origin(branch) is Literal for word in get_args(branch)]
    others = [branch for branch in branches if hasattr(branch, "__metadata__")]  # Annotated[x, ...]
    return words + [_numbers(branch) for branch in others if words]


def _numbers(annotated: Any) -> str:
    """Describe the numbers that a key accepts besides words."""
    if annotated.__origin__ not in NUMBERS:
        return "a list of numbers up to 1"
    limits = [limit for field in annotated.__metadata__ for limit in field.metadata]
    found = [BOUNDS[kind].format(getattr(limit, kind)) for limit in limits for kind in BOUNDS if hasattr(limit, kind)]
    return NUMBERS[annotated.__origin__] + "".join(found)


def _either(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
