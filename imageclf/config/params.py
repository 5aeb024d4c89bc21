"""params.yaml, checked as a whole before any work: one sentence names the first thing that is wrong with it."""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from imageclf.config.schema import NOT_HOME, Params
from imageclf.runtime.errors import ParamsError


def flat(section: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Values by their whole key, `train.augment.flip` say."""
    found: dict[str, Any] = {}
    for key, value in section.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return found


CAUSES = {  # what PyYAML says, and what it comes from
    "another document": "--- begins a second document; keep one of the two",
    "mapping values are not allowed": "a value with a colon and a blank in it takes quotes",
    "unknown escape": "a backslash is no plain character between double quotes; take single ones",
}


class Yaml12Loader(yaml.SafeLoader):
    """The safe loader with the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema).

    It refuses anchors and aliases: a few lines of them stand for more values than a memory holds.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse an anchor where one is; an & within a value or a comment is none."""
        event = self.peek_event()
        if getattr(event, "anchor", None):
            mark, name = ("*", "alias") if isinstance(event, yaml.AliasEvent) else ("&", "anchor")
            raise yaml.MarkedYAMLError(
                problem=f"{mark}{event.anchor} is a YAML {name}; put the value in quotes, or write it out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice, of which PyYAML would silently take the last, and one that is no word."""
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag != "tag:yaml.org,2002:str":
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key_node.start_mark)
            if key_node.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{key_node.value!r} stands here a second time; take one out",
                    problem_mark=key_node.start_mark,
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """YAML 1.2 has 0x and 0o; a leading zero means nothing."""
        text = self.construct_scalar(node)
        try:
            return int(text, 0) if text.startswith(("0x", "0o")) else int(text)
        except ValueError:  # Python reads 4,300 digits at most
            raise yaml.MarkedYAMLError(problem="a number has too many digits", problem_mark=node.start_mark) from None


def why_not_yaml(text: str, error: yaml.YAMLError | RecursionError) -> str:
    """Why `text` could not be loaded, and what to do, in one line that begins with the number of that in the text."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith(("<<<<<<<", ">>>>>>>")):
            return f"line {number} is a mark of a merge conflict; keep one side, and take the marks out"
    if isinstance(error, yaml.reader.ReaderError):
        number = text.count("\n", 0, error.position) + 1
        return f"line {number} has the character U+{int(error.character):04X}, which no YAML has; take it out"
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return "it is nested too deeply; git diff shows what went wrong"
    line = lines[mark.line] if mark.line < len(lines) else ""
    begins = re.match(r"[^'\"#]*?[:-] +([&*%@`])", line)
    problem = str(getattr(error, "problem", ""))
    if "\t" in line[: mark.column + 1]:
        problem = "there is a tab, and YAML takes blanks; put some in its place"
    elif begins and isinstance(error, yaml.scanner.ScannerError):
        problem = f"a value that begins with {begins[1]} takes quotes"
    elif type(error) is not yaml.MarkedYAMLError:  # not one of ours
        problem = next((ours for theirs, ours in CAUSES.items() if theirs in problem), f"{problem}; mend that line")
    return f"line {mark.line + 1}: {problem}"


def _scalar(tag: str, pattern: str, first: str) -> None:
    Yaml12Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))


Yaml12Loader.yaml_implicit_resolvers = {}  # none of YAML 1.1's
_scalar("null", "~|null|Null|NULL|", "~nN\0")
_scalar("bool", "true|True|TRUE|false|False|FALSE", "tTfF")
_scalar("int", "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789")
_scalar(
    "float",
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "-+.0123456789",
)
Yaml12Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])
Yaml12Loader.add_constructor("tag:yaml.org,2002:int", Yaml12Loader.construct_yaml_int)


PARAMS = Path("params.yaml")
LARGEST = 1_000_000  # characters; a params.yaml is a page
NUMBERS = {int: "a whole number above 0", float: "a number above 0, up to 1"}  # beside words


def read_params(path: Path = PARAMS) -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: the file is missing or not YAML, a key is unknown or missing, or a value cannot be.
    """
    return checked(_load(path), path.name)


def checked(content: Any, where: str) -> Params:
    """What a params file holds, checked.

    Raises:
        ParamsError: a key is unknown or missing, or a value cannot be; begins with `where`.
    """
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        # An unknown key comes first: it is often why another one is missing.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        raise ParamsError(f"{where}: {_sentence(dict(first))}") from None


def _load(path: Path) -> Any:
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
        return yaml.load(text, Yaml12Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        raise ParamsError(f"{path.name}: {why_not_yaml(text, error)}") from None


def _sentence(error: dict[str, Any]) -> str:
    """One sentence for one of pydantic's findings."""
    # A union such as `auto | number` puts its branches behind the key; the key itself is all lower-case words.
    location = [str(part) for part in error["loc"]]
    key = ".".join(part for part in location if part.isidentifier() and part != "int")
    found, context = error["input"], error.get("ctx", {})
    if not error["loc"]:
        return f"there are no sections in it; git checkout {PARAMS.name} brings the last good one"
    if error["type"] == "extra_forbidden":
        key = ".".join(location)
        return f"unknown key {key}{nearest(key, list(keys_of(Params)))}; rename it or take it out"
    if error["type"] == "missing":
        return f"{key} is missing; git diff {PARAMS.name} shows what went"
    if error["type"] == "value_error":
        return f"{key}.{context['error']}"
    choices = choices_of(key)
    if choices:
        return f"{key} is {found!r}; it can be {_either(choices)}{nearest(str(found), choices)}"
    return f"{key} is {found!r}; {_wanted(error['type'], context, error['msg'])}"


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
    """Every key of a section with its path, `train.lr` say."""
    for name, field in section.model_fields.items():
        yield f"{above}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation, f"{above}{name}.")


def choices_of(key: str) -> list[str]:
    """The words that a key can take, empty if it is not a choice of words."""
    section: Any = Params
    *above, name = key.split(".")
    for part in above:
        section = section.model_fields[part].annotation
    if name not in section.model_fields:
        return []
    annotation = section.model_fields[name].annotation
    branches = [annotation] if get_origin(annotation) is Literal else get_args(annotation)
    words = [str(word) for branch in branches if get_origin(branch) is Literal for word in get_args(branch)]
    others = [branch for branch in branches if hasattr(branch, "__metadata__")]  # Annotated[x, ...]
    return words + [_numbers(branch) for branch in others if words]


def _numbers(annotated: Any) -> str:
    """Words for the numbers that a key takes beside words."""
    if any(hasattr(bound, "lt") for field in annotated.__metadata__ for bound in field.metadata):
        return "a number from 0, below 1"
    return NUMBERS.get(annotated.__origin__, "a list of numbers up to 1")


def nearest(word: str, known: list[str]) -> str:
    """In brackets, the known word that was probably meant; empty if none is near."""
    # The last part decides first: train.device is meant to be runtime.device.
    same_name = [key for key in known if key.rsplit(".", 1)[-1] == word.rsplit(".", 1)[-1]]
    close = same_name or difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _either(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
