"""Settings of splitters and policies, checked when they are made."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnkit.errors import ScheduleError


def check_whole(description: Any, name: str, value: Any, least: int = 1) -> None:
    """Raises ScheduleError unless a setting is a whole number of at least so much."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ScheduleError(
            f"{type(description).__name__} expects {name} to be a whole number >= {least}, got {value!r}"
        )
