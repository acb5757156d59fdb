"""Settings of splitters and policies, checked when they are made."""

from __future__ import annotations

from typing import Any

from rnnkit.checks import is_whole
from rnnkit.errors import ScheduleError, counted
from rnnkit.memory import as_bytes, whole_memory

MOST = 10**15
"""More rows, lanes or steps than anything has, and few enough to be added up in 64 bits."""


def check_whole(
    description: Any, name: str, value: Any, least: int = 1, most: int | None = MOST, also: str = ""
) -> None:
    """Raises ScheduleError unless a setting is a whole number of at least so much, and not above what can be counted.

    Args:
        description: what has the setting.
        name: of the setting.
        value: what it is.
        least, most: its bounds; None for no upper one.
        also: what else it may be, in words.
    """
    if not is_whole(value) or value < least:
        raise ScheduleError(
            f"{type(description).__name__} expects {name} to be a whole number >= {least}{also}, got {value!r}"
        )
    if most is not None and value > most:
        raise ScheduleError(
            f"{type(description).__name__} expects {name} to be a whole number up to {most:,}, got "
            f"{_short(int(value))}; make it smaller"
        )


def check_window(rows: int, lanes: int, columns: int, who: str) -> None:
    """Raises ScheduleError where one step does not fit into memory.

    Args:
        rows, lanes, columns: of the step: its inputs and targets.
        who: what has such windows.
    """
    needed = rows * lanes * (columns + 2) * 8  # a weight and the number of the row stand beside them
    if needed > whole_memory():
        raise ScheduleError(
            f"{who}: one step has {counted(rows, 'row')} in {counted(lanes, 'lane')}, {as_bytes(needed)}, and this "
            f"machine has {as_bytes(whole_memory())}; make length, lookback or burn-in shorter, or take fewer lanes"
        )


def _short(value: int) -> str:
    """A large number; Python writes one of thousands of digits only when told to."""
    return f"{value:,}" if value.bit_length() < 100 else f"one of {value.bit_length()} bits"
