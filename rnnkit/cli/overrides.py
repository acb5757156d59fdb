"""Values of a config given on the command line: `--train.epochs 5`, `--model.layers.0.hidden=16`."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from rnnkit.cli.config import Config, Table, spell_out, table_for, tables_at
from rnnkit.cli.locate import Keys
from rnnkit.cli.values import DEEPEST, parse_toml, shown
from rnnkit.errors import ConfigError


class Override(NamedTuple):
    """An option as it was written, the path that it means, and its value."""

    option: str
    path: Keys
    value: Any


def parse_overrides(tokens: Sequence[str]) -> list[Override]:
    """Read `--dotted.key value` and `--dotted.key=value`.

    Values are TOML, or else text; `none` takes a value away.

    Raises:
        ConfigError: a word that is no option, or an option without a value.

    Example:
        >>> parse_overrides(["--train.epochs", "5", "--policy=Reset"])[1]
        Override(option='--policy', path=('policy',), value='Reset')
    """
    found, rest = [], list(tokens)
    while rest:
        option, joined, value = rest.pop(0).partition("=")
        if not option.startswith("--") or not option.strip("-."):
            raise ConfigError(f"expected an option such as --train.epochs 5, got {option!r}")
        if not joined:
            if not rest:
                raise ConfigError(f"{option} expects a value, got none; write {option} VALUE")
            value = rest.pop(0)
        parts = option[2:].split(".")
        if len(parts) > DEEPEST:
            raise ConfigError(f"expected an option of at most {DEEPEST} parts, got {shown(option)}")
        path = tuple(int(part) if part.isdecimal() and len(part) < 10 else part for part in parts)
        try:
            found.append(Override(option, path, _value(value)))
        except ConfigError as error:
            raise ConfigError(f"option {option}: {error}") from error
    return found


def apply_override(raw: dict[str, Any], override: Override, whole: type[Table] = Config) -> str | None:
    """Set one value in place, a missing table starting from its default; returns what stands in the way."""
    here: Any = raw
    schema: type[Table] | None = whole
    tables: tuple[type[Table], ...] = (whole,)
    for depth, part in enumerate(override.path):
        last, key, held = depth == len(override.path) - 1, part, cast(Any, here)
        if isinstance(here, list):
            if not isinstance(part, int) or part >= len(here):
                return f"expects the number of an entry, 0 to {len(here) - 1}, got {str(part)!r}"
        elif isinstance(here, dict):
            key = str(part)
            schema = table_for(tables, here)
            tables = tables_at(schema, key) if schema else ()
            if not last and here.get(key) is None:
                here[key] = _default(schema, key)
            short = tables[0].text_means if not last and len(tables) == 1 else None
            if short is not None and isinstance(here[key], str):
                here[key] = {short: here[key]}
        else:
            return f"has no parts: {'.'.join(map(str, override.path[:depth]))} is {here!r}, not a table"
        if last:
            held[key] = _value_or_path(override)
            spell_out(raw, whole)
        else:
            here = held[key]
    return None


def _value(text: str) -> Any:
    try:
        parsed = parse_toml(f"value = {text}")
    except tomllib.TOMLDecodeError:
        parsed = {}
    if text == "none":
        return None
    return parsed["value"] if len(parsed) == 1 else text


def _default(schema: type[Table] | None, key: str) -> Any:
    field = schema.model_fields.get(key) if schema else None
    return copy.deepcopy(field.default) if field is not None and isinstance(field.default, dict) else {}


def _value_or_path(override: Override) -> Any:
    """A data file counts from the working directory, as a shell completes it; "none" is the name of a scaler, too."""
    if override.path[-1] == "scaler" and override.value is None:
        return "none"
    if (override.path[0], override.path[-1]) == ("data", "path") and isinstance(override.value, str):
        return str(Path(override.value).absolute())
    return override.value
