"""Schedules that the page lets one choose between, and what each does to the gradient of the traced rows."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from rnnkit.data import Sequence
from rnnkit.errors import ScheduleError
from rnnkit.schedule import Carry, Chunked, Continuation, Reset, Schedule, Sliding
from rnnkit.schedule.brief import brief
from rnnkit.study.lengths import length_of
from rnnkit.tracing import Trace

LENGTH = 32
"""Rows of a window where no schedule says otherwise."""


@dataclass(frozen=True)
class Variant:
    """A schedule as the gradient of some rows sees it.

    Attributes:
        schedule: what lanes and steps are drawn of.
        length, lookback: rows that a window scores, in the mean where lengths are drawn, and rows that it reads again.
        fresh: whether every window starts from the initial state.
        anew: whether windows are counted anew from the start of each segment.
        note: in what the curves of the gradient differ from the schedule, in words; empty where they do not.
    """

    schedule: Schedule
    length: int
    lookback: int
    fresh: bool
    anew: bool
    note: str

    @property
    def label(self) -> str:
        """Splitter and policy."""
        return f"{brief(self.schedule.splitter)} with {brief(self.schedule.policy)}"

    @property
    def key(self) -> tuple[int, int, bool, bool]:
        """What the gradient depends on."""
        return self.length, self.lookback, self.fresh, self.anew


def variants_of(trace: Trace, schedules: Iterable[Schedule] = ()) -> list[Variant]:
    """The schedules that are given, and beside the first one others to compare it with.

    Args:
        trace: what is looked at; where no schedule is given, one of its rows alone is made up.
        schedules: the first is what the model was trained with.
    """
    given = list(schedules)
    for schedule in given:
        if not isinstance(schedule, Schedule):
            raise ScheduleError(f"write_page expects schedules, got {type(schedule).__name__}; write rk.Schedule(...)")
    if not given:
        rows = Sequence(np.zeros(max(len(trace), 2)), np.zeros(max(len(trace), 2)), name=trace.name)
        length = min(trace.truncate or LENGTH, len(rows))
        given = [Schedule(rows, Continuation(length), Carry())]
    first = given[0]
    length, lanes = _length(first), first.lanes
    pairs = [
        (Continuation(length, lanes), Carry()),
        (Continuation(max(1, length // 2), lanes), Carry()),
        (Continuation(2 * length, lanes), Carry()),
        (Continuation(length, lanes, lookback=length), Carry()),
        (Chunked(length, lanes), Reset()),
    ]
    for splitter, policy in pairs:
        with suppress(ScheduleError):  # what does not fit the series is not offered
            given.append(replace(first, splitter=splitter, policy=policy))
    found: dict[str, Variant] = {}
    for schedule in given:
        variant = _variant(schedule)
        found.setdefault(variant.label, variant)
    return list(found.values())


def _variant(schedule: Schedule) -> Variant:
    splitter, policy = schedule.splitter, schedule.policy
    length, lookback = _length(schedule), int(getattr(splitter, "lookback", 0))
    fresh = isinstance(policy, Reset) and not lookback
    anew = isinstance(splitter, Chunked | Sliding)
    told = []
    if not fresh and not isinstance(policy, Carry):
        told.append(f"the state is carried, whereas {type(policy).__name__} would start each window from another")
    if not isinstance(splitter, Continuation | Chunked):
        told.append("its windows stand side by side, without overlap")
    if isinstance(splitter, Continuation) and not isinstance(splitter.length, int):
        told.append("every window has the mean length")
    return Variant(schedule, length, lookback, fresh, anew, "; ".join(told))


def _length(schedule: Schedule) -> int:
    """Rows that a window scores, in the mean where they are drawn."""
    with suppress(ScheduleError):
        return max(1, round(length_of(schedule)))
    grid = schedule.grid()
    return max(1, grid.length - grid.lead)
