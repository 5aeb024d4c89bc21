"""Values of -S, as DVC reads them."""

from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException

from imageclf.runtime.errors import ParamsError, printable


def read_values(key: str, text: str) -> dict[str, Any]:
    """Each value by its text: `0.1,[1, 2]` is {"0.1": 0.1, "[1, 2]": [1, 2]}.

    `choice(...)` and `range(...)` work too, as in `dvc exp run --queue -S`.

    Raises:
        ParamsError: DVC cannot read the text, or it is not a list of values.
    """
    change = printable(f"-S {key}={text}")
    override = _parsed(key, text)
    plain = not set(text) & set("'\"[]{}()")
    if plain and not all(part.strip() for part in text.split(",")):
        raise ParamsError(f"{change}: a value is empty; remove it")
    if override is None:
        quoted = ",".join(f"'{part.strip()}'" for part in text.split(","))
        hint = f', -S "{key}={printable(quoted)}"' if plain else ""
        raise ParamsError(f"{change}: dvc cannot read this; text with special characters needs nested quotes{hint}")
    if not override.is_sweep_override():
        words = [text.strip()]
    elif override.is_discrete_sweep() and override.value_type is not ValueType.GLOB_CHOICE_SWEEP:
        # As it was typed if possible: 1e6, not 1000000.0.
        words = _as_typed(key, text) or list(override.sweep_string_iterator())
    else:
        raise ParamsError(f"{change}: an interval or a pattern is not a list of values; separate values by commas")
    values = [value_of(key, word) for word in words]
    told_apart = [(isinstance(value, bool), value) for value in values]  # True == 1
    if any(value in told_apart[:place] for place, value in enumerate(told_apart)):
        raise ParamsError(f"{change}: a value is given twice; remove one")
    if any(isinstance(value, dict) or "${" in str(value) for value in values):
        raise ParamsError(f"{change}: a section or a reference is not a value; write it out")
    return dict(zip(words, values, strict=True))


def _parsed(key: str, text: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(f"{key}={text}")
    except HydraException:
        return None


def value_of(key: str, word: str) -> Any:
    """One value from its text."""
    override = _parsed(key, word)
    assert override is not None
    return override.value()


def _as_typed(key: str, text: str) -> list[str]:
    """The text of each value, split at commas outside quotes and brackets; empty if that is ambiguous."""
    words, word = [], ""
    for part in text.split(","):
        word = f"{word},{part}" if word else part
        override = _parsed(key, word)
        if override is not None and not override.is_sweep_override():
            words.append(word.strip())
            word = ""
    whole = _parsed(key, text)
    assert whole is not None
    alike = not word and [value_of(key, word) for word in words] == [
        value_of(key, word) for word in whole.sweep_string_iterator()
    ]
    return words if alike else []
