"""How a description reads: its settings other than the defaults."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any


def brief(description: Any) -> str:
    """`Continuation(length=64, lanes=4)`: fields without a default, and those that differ from theirs."""
    shown = (
        f"{field.name}={getattr(description, field.name)!r}"
        for field in fields(description)
        if field.default is MISSING or getattr(description, field.name) != field.default
    )
    return f"{type(description).__name__}({', '.join(shown)})"
