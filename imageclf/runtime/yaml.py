"""YAML 1.2 as DVC reads it, without anchors and keys that are not strings."""

import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import ScannerError

CAUSES = {  # ruamel.yaml's messages, and their usual causes
    "another document": "--- begins a second document; keep one of the two",
    "mapping values are not allowed": "a value that contains a colon and a space needs quotes",
    "unknown escape": "a backslash is special between double quotes; use single quotes",
}


class NotYaml(ValueError):
    """Why a text could not be loaded, and what to do, in one line that begins with the line number."""


class _Ours(MarkedYAMLError):
    """An error with our own message."""


class _PlainComposer(Composer):
    """Refuses anchors and aliases: a few lines of them can expand beyond any memory."""

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.parser.peek_event()
        if getattr(event, "anchor", None):
            mark, name = ("*", "alias") if isinstance(event, AliasEvent) else ("&", "anchor")
            problem = f"{mark}{event.anchor} is a YAML {name}; put the value in quotes, or write it out"
            raise _Ours(problem=problem, problem_mark=event.start_mark)
        return super().compose_node(parent, index)


class _PlainConstructor(SafeConstructor):
    """Refuses duplicate keys, keys that are not strings, and numbers that Python cannot read."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise _Ours(problem="a key must be a word", problem_mark=key.start_mark)
            if key.value in seen:
                raise _Ours(problem=f"{key.value!r} is given twice; remove one", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: ScalarNode) -> int:
        try:
            return super().construct_yaml_int(node)
        except ValueError:  # Python reads 4,300 digits at most
            raise _Ours(problem="a number has too many digits", problem_mark=node.start_mark) from None


_PlainConstructor.add_constructor("tag:yaml.org,2002:int", _PlainConstructor.construct_yaml_int)


def load_yaml(text: str) -> Any:
    """The content of a YAML text.

    Raises:
        NotYaml: the text is not valid YAML.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer, yaml.Constructor = _PlainComposer, _PlainConstructor
    try:
        return yaml.load(text)
    except (YAMLError, RecursionError) as error:
        raise NotYaml(_why(text, error)) from None


def _why(text: str, error: YAMLError | RecursionError) -> str:
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith(("<<<<<<<", ">>>>>>>")):
            return f"line {number} is a merge conflict marker; keep one side, and remove the markers"
    if isinstance(error, ReaderError):
        number = text.count("\n", 0, error.position) + 1
        return f"line {number} has the character U+{ord(text[error.position]):04X}, which YAML forbids; remove it"
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return "it is nested too deeply; git diff shows what went wrong"
    line = lines[mark.line] if mark.line < len(lines) else ""
    begins = re.match(r"[^'\"#]*?[:-] +([&*%@`])", line)
    problem = str(getattr(error, "problem", ""))
    if "\t" in line[: mark.column + 1]:
        problem = "there is a tab; YAML needs spaces"
    elif begins and isinstance(error, ScannerError):
        problem = f"a value that begins with {begins[1]} needs quotes"
    elif not isinstance(error, _Ours):
        problem = next((ours for theirs, ours in CAUSES.items() if theirs in problem), f"{problem}; fix that line")
    return f"line {mark.line + 1}: {problem}"


def flat(section: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Values by their whole key, `train.augment.flip` say."""
    found: dict[str, Any] = {}
    for key, value in section.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return found
