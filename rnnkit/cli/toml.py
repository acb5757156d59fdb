"""Values as TOML."""

from __future__ import annotations

import json
import re
from typing import Any


def to_toml(plain: dict[str, Any]) -> str:
    """Nested dicts as TOML: a table for each at the top, inline tables below, `[[...]]` for lists of dicts."""
    lines = [f"{_key(key)} = {inline(value)}" for key, value in plain.items() if not _is_below(value)]
    for key, table in plain.items():
        if _is_tables(table):
            lines += [line for row in table for line in ("", f"[[{key}]]", *_pairs(row))]
        elif isinstance(table, dict):
            repeated = {name: rows for name, rows in table.items() if _is_tables(rows)}
            if len(repeated) < len(table):
                lines += ["", f"[{key}]"]
                lines += _pairs({name: value for name, value in table.items() if name not in repeated})
            for name, rows in repeated.items():
                for row in rows:
                    lines += ["", f"[[{key}.{name}]]", *_pairs(row)]
    return "\n".join(lines) + "\n"


def _pairs(table: dict[str, Any]) -> list[str]:
    return [f"{_key(name)} = {inline(value)}" for name, value in table.items()]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else inline(name)


def _is_below(value: Any) -> bool:
    """Whether a value at the top is written as tables, after all others."""
    return isinstance(value, dict) or _is_tables(value)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def inline(value: Any) -> str:
    """A value as TOML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(_pairs(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
