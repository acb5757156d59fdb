"""Values that no config means: nested without end, numbers beyond all counting, text that is no text; and long ones
shown short."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from rnnkit.cli.locate import Keys
from rnnkit.errors import ConfigError

DEEPEST = 30
"""Tables and lists inside each other; a config has six at most."""

MOST = 10**15
"""More rows, lanes, epochs or units than anything has, and few enough to be added up in 64 bits."""

SEEDS = ("seed", "seeds")
"""Whole numbers that count nothing."""

SHOWN = 120
"""Characters of a value that a message shows at most."""


def parse_toml(text: str) -> dict[str, Any]:
    """A TOML text as Python's values.

    Raises:
        tomllib.TOMLDecodeError: it is none.
        ConfigError: it is nested too deep, or has a number of thousands of digits.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ConfigError(TOO_DEEP) from None
    except ValueError:  # Python reads no whole number of more than 4,300 digits, no 30th of February
        line, why = _first_wrong_line(text)
        raise ConfigError(f"line {line}: {why}") from None
    if any(len(path) > DEEPEST for path, _ in each_value(raw, DEEPEST + 1)):
        raise ConfigError(TOO_DEEP)
    return raw


TOO_DEEP = f"a config has tables and lists in each other at most {DEEPEST} deep, this has more; take the inner ones out"


def _first_wrong_line(text: str) -> tuple[int, str]:
    """The line of a value that TOML's grammar lets through and Python does not, and what is wrong with it."""
    for number, line in enumerate(text.splitlines(), 1):
        if max(map(len, "".join(c if c.isdecimal() else " " for c in line.replace("_", "")).split()), default=0) > 4000:
            return number, "a whole number has thousands of digits; make it smaller"
    return 1, "a value cannot be read; correct it"


def each_value(raw: Any, deepest: int | None = None) -> Iterator[tuple[Keys, Any]]:
    """Every value inside tables and lists, these before what they hold, with its path, no deeper than asked for."""
    waiting: list[tuple[Keys, Any]] = [((), raw)]
    while waiting:
        path, value = waiting.pop()
        yield path, value
        if deepest is not None and len(path) >= deepest:
            continue
        if isinstance(value, dict):
            waiting += [((*path, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [((*path, index), inner) for index, inner in enumerate(value)]


def unusable(raw: dict[str, Any]) -> Iterator[tuple[Keys, str]]:
    """What no entry of a config may be, whatever the entry: its path, and what is wrong with it."""
    for path, value in each_value(raw):
        if isinstance(value, str) and "\0" in value:
            yield path, "expects text without the character NUL; take it out"
        elif isinstance(value, int) and abs(value) > MOST and path[0] not in SEEDS:
            yield path, f"expects a whole number up to {MOST:,}, got {shown(value)}; make it smaller"
        elif isinstance(value, dict) and any("\0" in key for key in value):
            yield path, "expects keys without the character NUL; take it out"


def shown(value: Any) -> str:
    """A value for a message, the middle of a long one left out."""
    return shortened(repr(value), SHOWN)


def shortened(text: str, most: int) -> str:
    """Text, the middle left out where it is longer than so many characters."""
    if len(text) <= most:
        return text
    head = most * 2 // 3
    return f"{text[:head]} ... {text[head + 5 - most :]} ({len(text):,} characters)"
