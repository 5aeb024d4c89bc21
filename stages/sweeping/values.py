"""The values of a param as `dvc exp run -S` reads them: by hydra's grammar of overrides, not by that of YAML."""

from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException

from stages.console.errors import ParamsError
from stages.console.text import printable


def read_values(key: str, text: str) -> dict[str, Any]:
    """Each value, by the words that stand for it alone: `0.1,[1, 2]` is {"0.1": 0.1, "[1, 2]": [1, 2]}.

    `choice(...)` and `range(...)` are read too, as `dvc exp run --queue -S` does.

    Raises:
        ParamsError: DVC could not read it, or would read no list of values.
    """
    change = printable(f"-S {key}={text}")
    override = _parsed(key, text)
    plain = not set(text) & set("'\"[]{}()")
    if plain and not all(part.strip() for part in text.split(",")):
        raise ParamsError(f"{change}: a value is empty; take it out")
    if override is None:
        quoted = ",".join(f"'{part.strip()}'" for part in text.split(","))
        hint = f', -S "{key}={printable(quoted)}"' if plain else ""
        raise ParamsError(f"{change}: dvc cannot read that; text with other signs takes quotes within quotes{hint}")
    if not override.is_sweep_override():
        words = [text.strip()]
    elif override.is_discrete_sweep() and override.value_type is not ValueType.GLOB_CHOICE_SWEEP:
        # As it was typed, 1e6 and not 1000000.0, where that can be told.
        words = _as_typed(key, text) or list(override.sweep_string_iterator())
    else:
        raise ParamsError(f"{change}: an interval or a pattern is no list of values; write them out with commas")
    values = [_value(key, word) for word in words]
    told_apart = [(isinstance(value, bool), value) for value in values]  # True == 1
    if any(value in told_apart[:place] for place, value in enumerate(told_apart)):
        raise ParamsError(f"{change}: a value is given twice; take one out")
    if any(isinstance(value, dict) or "${" in str(value) for value in values):
        raise ParamsError(f"{change}: a section or a reference is no value; write it out")
    return dict(zip(words, values, strict=True))


def _parsed(key: str, text: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(f"{key}={text}")
    except HydraException:
        return None


def _value(key: str, word: str) -> Any:
    override = _parsed(key, word)
    assert override is not None
    return override.value()


def _as_typed(key: str, text: str) -> list[str]:
    """The words between the commas that part values, of which those in quotes or brackets are none; empty if unsure."""
    words, word = [], ""
    for part in text.split(","):
        word = f"{word},{part}" if word else part
        override = _parsed(key, word)
        if override is not None and not override.is_sweep_override():
            words.append(word.strip())
            word = ""
    whole = _parsed(key, text)
    assert whole is not None
    alike = not word and [_value(key, word) for word in words] == [
        _value(key, word) for word in whole.sweep_string_iterator()
    ]
    return words if alike else []
