"""PyYAML with the scalars of YAML 1.2: `3e-5` is a number, `no` is a word, and a key given twice is an error."""

import re
from typing import Any

import yaml

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
