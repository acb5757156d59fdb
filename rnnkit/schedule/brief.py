"""How a description reads: its settings other than the defaults."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import Any, cast

Missing = type(MISSING)
"""Of what a field without a default has; a class that was sent to another process has a `MISSING` of its own."""


def brief(description: Any) -> str:
    """A description without the fields that hold their defaults.

    Example:
        >>> import rnnkit as rk
        >>> brief(rk.Continuation(length=64, lanes=1, lookback=8))
        'Continuation(length=64, lookback=8)'
    """
    if not is_dataclass(description):
        return repr(description)
    told = []
    for field in fields(description):
        value, make = getattr(description, field.name), cast(Any, field.default_factory)
        default = field.default if isinstance(make, Missing) else make()
        if field.repr and (isinstance(default, Missing) or value != default):
            told.append(f"{field.name}={value!r}")
    return f"{type(description).__name__}({', '.join(told)})"
