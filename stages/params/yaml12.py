"""PyYAML with the scalars of YAML 1.2: `3e-5` is a number, `no` is a word, and a key given twice is an error."""

import re
from typing import Any

import yaml


class Yaml12Loader(yaml.SafeLoader):
    """The safe loader with the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice: PyYAML would silently take the last."""
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                line = key_node.start_mark.line + 1
                raise yaml.MarkedYAMLError(problem=f"line {line} gives {key_node.value!r} a second time")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """YAML 1.2 has 0x and 0o; a leading zero means nothing."""
        text = self.construct_scalar(node)
        return int(text, 0) if text.startswith(("0x", "0o")) else int(text)


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
