"""Warnings about a source that is used as it is: told once of it, however many sequences are made from it."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

from rnnkit.data.kept import stamps
from rnnkit.errors import warn

_TOLD: dict[Any, set[str]] = {}


def warn_once(origin: Any, message: str) -> None:
    """Warn, unless the same was said of the same source.

    Args:
        origin: a file, which is another one when it has changed; or the object that holds the rows. Of one that Python
            cannot watch, such as a list, it is said each time.
        message: as for `rnnkit.errors.warn`.
    """
    told = _told(origin)
    if message not in told:
        told.add(message)
        warn(message)


def _told(origin: Any) -> set[str]:
    """What was said of a source so far."""
    if isinstance(origin, Path):
        try:
            return _TOLD.setdefault(stamps(origin), set())
        except OSError:
            return set()
    key = id(origin)
    if key not in _TOLD:
        try:
            weakref.finalize(origin, _TOLD.pop, key, None).atexit = False
        except TypeError:
            return set()
        _TOLD[key] = set()
    return _TOLD[key]
