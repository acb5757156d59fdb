"""One splitter at several window lengths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from rnnkit.checks import check_listed, is_whole
from rnnkit.errors import ScheduleError, counted
from rnnkit.schedule import Geometric, Schedule, Splitter, Uniform
from rnnkit.schedule.splitters import SEGMENT

LENGTHS = (8, 16, 32, 64, 128, 256)
"""Window lengths that are compared unless asked otherwise, as far as the longest segment goes."""


def with_length(splitter: Splitter, length: int) -> Splitter:
    """Give a splitter windows of so many rows, in the mean where they are drawn.

    Raises:
        ScheduleError: a splitter that is no dataclass with a `length`, or a length that it refuses.
    """
    before = _length(splitter)
    new: Any = length
    if isinstance(before, Geometric):
        new = Geometric(length)
    elif isinstance(before, Uniform):
        low = max(1, round(before.low * length / before.mean))
        new = Uniform(low, 2 * length - low)
    changes = {"length": new}
    if getattr(splitter, "stride", 0) > length:
        changes["stride"] = length
    return replace(splitter, **changes)  # type: ignore[type-var] - a dataclass, or _length would have said so


def length_of(schedule: Schedule) -> float:
    """Rows of a schedule's windows, in the mean where they are drawn."""
    length = _length(schedule.splitter)
    if length == SEGMENT:
        return float(schedule.series.lengths.max())
    return float(getattr(length, "mean", length))


def chosen_lengths(schedule: Schedule, own: int, lengths: Iterable[int] | None) -> list[int]:
    """The lengths to be measured, the shortest first."""
    longest = int(schedule.series.lengths.max())
    if lengths is None:
        return sorted({n for n in (*LENGTHS, own) if n <= longest} or {longest})
    check_listed("gradient_bias", "lengths", lengths, "(8, 32, 128)", ScheduleError)
    chosen = list(lengths)
    for n in chosen:
        if not is_whole(n) or n < 1:
            raise ScheduleError(f"gradient_bias expects lengths to be whole numbers >= 1, got {n!r}")
        if n > longest:
            raise ScheduleError(
                f"gradient_bias: the longest segment of {schedule.series.name!r} has {counted(longest, 'row')} with "
                f"a target, fewer than a window of {n}; use lengths <= {longest}"
            )
    if not chosen:
        raise ScheduleError("gradient_bias expects at least one length, got none; write lengths=(8, 32, 128)")
    return sorted({int(n) for n in chosen})


def _length(splitter: Splitter) -> Any:
    """The `length` of a splitter."""
    if not is_dataclass(splitter) or "length" not in {field.name for field in fields(splitter)}:
        raise ScheduleError(
            f"gradient_bias expects a splitter that is a dataclass with a length, such as Continuation(length=64), "
            f"got {splitter!r}"
        )
    return splitter.length  # type: ignore[attr-defined] - a field of it
