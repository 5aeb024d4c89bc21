"""Nested params with one key each."""

from collections.abc import Mapping
from typing import Any


def flat(section: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Values by their whole key, `train.augment.flip` say."""
    found: dict[str, Any] = {}
    for key, value in section.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return found
