"""Rows and their times: in UTC, checked for their order, and sorted on request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnnkit.data.series import Ids, moved
from rnnkit.data.source import Source
from rnnkit.data.times import Clock, write_times
from rnnkit.data.zones import to_utc, zone_named
from rnnkit.errors import DataError, warn

UNORDERED = 0.25
"""Where time steps back in more than this share of the steps, it is taken for a mistake."""

RECURRING = 0.5
"""Where more than this share of the rows have their time in common with another, they are taken for several series."""

SHORT = 10
"""Rows between steps back: where there are fewer on average, the steps are told."""

FEW = 3
"""Rows that a series has on average at least, for a column to be the likely one that names it; steps back that are
told at least."""


class Others(NamedTuple):
    """The columns of a table, read where one is sought that names its series.

    Attributes:
        names: all of them.
        ids: reads one as the series of each row; raises DataError where it cannot be that.
    """

    names: list[Any]
    ids: Callable[[Any], Ids]


class Timed(NamedTuple):
    """Rows in their final order.

    Attributes:
        source: the rows.
        times: `(N,)` numbers, or datetime64 (of UTC where there is a zone), or None.
        zone: what times go out in, or None.
    """

    source: Source
    times: np.ndarray | None
    zone: str | None


def in_order(
    source: Source,
    times: Any,
    clock: Clock,
    sort: bool | None,
    missing: str,
    others: Others | None = None,
) -> Timed:
    """Make local times UTC, look at their order, and sort the rows of each series where that is asked for.

    Args:
        source: the rows, of one series after the other.
        times: `(N,)` numbers or datetime64, or None.
        clock: what they are counted by.
        sort: True sorts the rows of each series by time; None refuses rows that are in no order and tells steps back
            and equal times; False says nothing.
        missing: `"refuse"` rows without a time, or `"cut"`.
        others: the columns of the table, for messages.

    Raises:
        DataError: a row without a time, one that clocks skipped, rows in no order of time, or several series.
    """
    if sort not in (None, True, False):
        raise DataError(f"{source.who} expects sort to be True or False, got {sort!r}")
    if times is None:
        if sort:
            raise DataError(f"{source.who} sorts its rows by time, got sort=True and no time; say time= too")
        return Timed(source, None, None)
    times, series = np.asarray(times), source.series
    if times.dtype.kind == "M" and np.datetime_data(times.dtype)[0] in ("Y", "M"):  # of no fixed length
        times = times.astype("datetime64[D]")
    if times.dtype.kind not in "iufM":
        raise DataError(f"{source.who} expects time as numbers or dates, got dtype {times.dtype}")
    known = ~np.isnat(times) if times.dtype.kind == "M" else np.isfinite(times)
    if missing == "refuse" and not known.all():
        place = source.rows_named(int((~known).argmax()))
        raise DataError(
            f"{source.who} expects a time for each row, got none at {place}; fill it in, or leave such rows out with "
            f"missing='cut'"
        )
    edges = np.array([0, len(times)]) if series is None else series.edges
    if clock.local and times.dtype.kind == "M":
        assert clock.zone is not None
        zone = zone_named(clock.zone, source.who)
        times = to_utc(times, zone, edges, lambda row: f"{source.who}, {source.rows_named(row)}")
    if sort is False:
        return Timed(source, times, clock.zone)
    step = Steps(times, known, edges)
    if step.back and sort is None:
        _look(source, times, clock.zone, step, others)
    if step.back and sort:
        code = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
        index = np.lexsort((np.where(known, times, times.max()), ~known, code))
        source, times = moved(source, index), times[index]
        step = Steps(times, known[index], edges)
    if step.equal and not (step.back and sort is None):
        several = _likely(times, step, others) if sort is None and series is None else None
        if several is not None:
            raise _several(source, several, step, times)
        row = step.first_equal
        time = write_times(times[row : row + 1], clock.zone)[0]
        series_id = "" if series is not None else ", or name the series that rows belong to: series_id='...'"
        warn(
            f"{source.who} has the same time in successive rows of one series, {step.equal:,} "
            f"{'time' if step.equal == 1 else 'times'}, first at {source.rows_named(row)} ({time}); leave one of them "
            f"out{series_id}; sort=False uses them as they stand without this line"
        )
    return Timed(source, times, clock.zone)


class Steps:
    """How time goes on from row to row within series.

    Attributes:
        count: steps.
        back, equal: how many lead back, and to the same time.
        first_back, first_equal: the row that the first of each leads to.
        rows: rows with a time.
    """

    def __init__(self, times: np.ndarray, known: np.ndarray, edges: np.ndarray) -> None:
        rows = np.flatnonzero(known)
        series = np.searchsorted(edges, rows, side="right")
        inside = np.diff(series) == 0
        seen = times[rows]
        back, equal = (seen[1:] < seen[:-1]) & inside, (seen[1:] == seen[:-1]) & inside
        self.count, self.rows = int(inside.sum()), rows
        self.back, self.equal = int(back.sum()), int(equal.sum())
        self.first_back = int(rows[back.argmax() + 1]) if self.back else -1
        self.first_equal = int(rows[equal.argmax() + 1]) if self.equal else -1


def _look(source: Source, times: np.ndarray, zone: str | None, step: Steps, others: Others | None) -> None:
    """Refuse or tell rows whose time steps back."""
    who, share = source.who, step.back / max(step.count - step.equal, 1)
    place = source.rows_named(step.first_back)
    several = _likely(times, step, others) if source.series is None else None
    if several is not None:
        raise _several(source, several, step, times)
    if share > 1 - UNORDERED:
        what = "its newest row stands first" if share == 1 else "most of its newest rows stand first"
        raise DataError(
            f"{who}: {what}: time steps back in {step.back:,} of {step.count:,} steps, first at {place}; say sort=True "
            f"to sort the rows by time"
        )
    if share > UNORDERED:
        raise DataError(
            f"{who}: its rows are in no order of time, which steps back in {step.back:,} of {step.count:,} steps, "
            f"first at {place}; say sort=True to sort them, or series_id='...' if a column names several series"
        )
    if step.back < FEW or len(times) > SHORT * (step.back + 1):
        return  # that is how recordings stand one after the other in a file
    warn(
        f"{who}: time steps back in {step.back:,} of {step.count:,} steps, first at {place}, and each ends a segment; "
        f"sort=True sorts the rows by time; sort=False uses them as they stand without this line"
    )


def _likely(times: np.ndarray, step: Steps, others: Others | None) -> str | None:
    """The column that seems to name several series whose rows have the same times, or None.

    In it few values recur, and no two rows have both a time and such a value in common.
    """
    if others is None:
        return None
    rows = step.rows
    _, moment = np.unique(times[rows], return_inverse=True)
    moment = moment.reshape(-1)
    counts = np.bincount(moment)
    if counts[counts > 1].sum() < RECURRING * len(rows):
        return None
    for name in others.names:
        try:
            ids = others.ids(name)
        except DataError:
            continue
        if not 1 < len(ids.names) <= len(rows) / FEW:
            continue
        code = ids.codes[rows].astype(np.int64)
        if len(np.unique(moment * len(ids.names) + code)) == len(rows):
            return name
    return None


def _several(source: Source, column: Any, step: Steps, times: np.ndarray) -> DataError:
    shared = len(step.rows) - len(np.unique(times[step.rows]))
    return DataError(
        f"{source.who} seems to hold several series: {shared:,} of {len(step.rows):,} rows have the time of another "
        f"row, and column {column!r} tells them apart; say series_id={column!r} (sort=False takes them for one series)"
    )
