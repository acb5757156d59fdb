"""Rows and their times: in UTC, checked for their order, and sorted on request."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from rnnkit.data.columns import Opened
from rnnkit.data.series import Others, moved
from rnnkit.data.source import Source
from rnnkit.data.times import TimeReader, write_times
from rnnkit.data.told import warn_once
from rnnkit.data.zones import to_utc, zone_named
from rnnkit.errors import DataError, counted, warn

UNORDERED = 0.25
"""Where time steps back in more than this share of the steps, it is taken for a mistake."""

RECURRING = 0.5
"""Where more than this share of the rows have their time in common with another, they are taken for several series."""

SHORT = 10
"""Rows between steps back: where there are fewer on average, the steps are told."""

ENOUGH = 20
REGULAR = 0.9
"""Steps from which on, and the share of equal ones from which on, times are taken for regular."""

SEEN = 1000
"""Rows at the beginning of a file, of which it is looked whether a column of times falls that nobody asked for."""

FEW = 3
"""Rows that a series has on average at least, for a column to be the likely one that names it; steps back that are
told at least."""


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


def in_order(opened: Opened, sort: bool | None, missing: str, cut: bool = False, origin: Any = None) -> Timed:
    """Make local times UTC, look at their order, and sort the rows of each series where that is asked for.

    Args:
        opened: rows of one series after the other, and their times.
        sort: True sorts the rows of each series by time; None refuses rows that are in no order and tells steps back
            and equal times; False says nothing.
        missing: `"refuse"` rows without a time, or `"cut"`.
        cut: whether the user has said where segments end; else holes in what is regular are told, once.
        origin: the file, or the object, that the rows are from.

    Raises:
        DataError: a row without a time, one that clocks skipped, rows in no order of time, or several series.
    """
    source, times, clock, others = opened.source, opened.times, opened.clock, opened.others
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
    if sort is None and source.series is None and (step.back or step.equal):
        _check_single(source, times, step, others)
    if step.back and sort is None:
        _check_order(source, step)
    if step.back and sort:
        code = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
        falls = step.back > 0.9 * (step.count - step.equal)  # then rows of one time stand in reverse, too
        rows = np.arange(len(times))
        index = np.lexsort((-rows if falls else rows, np.where(known, times, times.max()), ~known, code))
        source, times = moved(source, index), times[index]
        step = Steps(times, known[index], edges)
    if step.equal:
        row = step.first_equal
        time = write_times(times[row : row + 1], clock.zone)[0]
        several = "" if source.series is not None else ", or say series_id='...' if a column names several series"
        if clock.zone is None and times.dtype.kind == "M":
            several += ", or zone='Europe/Berlin', or whichever it is, where clocks were put back"
        warn(
            f"{source.who} has the same time in successive rows of one series, {step.equal:,} "
            f"{'time' if step.equal == 1 else 'times'}, first at {source.rows_named(row)} ({time}); leave one of them "
            f"out{several}; sort=False uses them as they stand without this line"
        )
    if not cut:
        _tell_holes(source, times, clock.zone, step, origin)
    return Timed(source, times, clock.zone)


class Steps:
    """How time goes on from row to row within series.

    Args:
        times: `(N,)` numbers or datetime64.
        known: `(N,)`, which rows have one.
        edges: where series begin, ascending from 0, and N.

    Attributes:
        count: steps.
        back, equal: how many lead back, and to the same time.
        first_back, first_equal: the row that the first of each leads to.
    """

    def __init__(self, times: np.ndarray, known: np.ndarray, edges: np.ndarray) -> None:
        self._rows = None if known.all() else np.flatnonzero(known)  # most files have a time in every row
        self._seen = times if self._rows is None else times[self._rows]
        before, after = self._seen[:-1], self._seen[1:]
        begins = edges[1:-1] if self._rows is None else np.searchsorted(self._rows, edges[1:-1])
        self._inside = np.ones(len(after), bool)
        self._inside[begins[(begins > 0) & (begins < len(self._seen))] - 1] = False
        back, equal = (after < before) & self._inside, (after == before) & self._inside
        self.count = int(self._inside.sum())
        self.back, self.equal = int(back.sum()), int(equal.sum())
        self.first_back = int(self.rows[back.argmax() + 1]) if self.back else -1
        self.first_equal = int(self.rows[equal.argmax() + 1]) if self.equal else -1

    @property
    def rows(self) -> np.ndarray:
        """Rows with a time."""
        return np.arange(len(self._seen)) if self._rows is None else self._rows

    def forward(self) -> np.ndarray:
        """The sizes `(F,)` of steps that lead forward from one row to the next."""
        before, after, ahead = self._seen[:-1], self._seen[1:], self._ahead
        return after - before if ahead.all() else after[ahead] - before[ahead]

    def row_after(self, step: int) -> int:
        """The row that one of the steps forward leads to."""
        return int(self.rows[np.flatnonzero(self._ahead)[step] + 1])

    @cached_property
    def _ahead(self) -> np.ndarray:
        ahead = (self._seen[1:] > self._seen[:-1]) & self._inside
        return ahead if self._rows is None else ahead & (np.diff(self._rows) == 1)


def _check_order(source: Source, step: Steps) -> None:
    """Refuse or tell rows whose time steps back."""
    who, share = source.who, step.back / (step.count - step.equal)
    place = source.rows_named(step.first_back)
    if share > 1 - UNORDERED:
        what = "its newest row stands first" if share == 1 else "its rows mostly go back in time"
        raise DataError(
            f"{who}: {what}: time steps back in {step.back:,} of {step.count:,} steps, first at {place}; say sort=True "
            f"to sort the rows by time"
        )
    if share > UNORDERED:
        raise DataError(
            f"{who}: its rows are in no order of time, which steps back in {step.back:,} of {step.count:,} steps, "
            f"first at {place}; say sort=True to sort them, or series_id='...' if a column names several series"
        )
    if step.back < FEW or step.count > SHORT * step.back:
        return  # that is how recordings stand one after the other in a file
    warn(
        f"{who}: time steps back in {step.back:,} of {step.count:,} steps, first at {place}, and each ends a segment; "
        f"sort=True sorts the rows by time; sort=False uses them as they stand without this line"
    )


def _check_single(source: Source, times: np.ndarray, step: Steps, others: Others | None) -> None:
    """Refuse rows of several series, which have their times in common, that no `series_id` tells apart."""
    rows = step.rows
    _, moment, counts = np.unique(times[rows], return_inverse=True, return_counts=True)
    shared = int(counts[counts > 1].sum())
    if shared < RECURRING * len(rows):
        return
    column = None if others is None else _likely(moment.reshape(-1), rows, others)
    if column is not None:
        raise DataError(
            f"{source.who} seems to hold several series: {shared:,} of {len(rows):,} rows have the time of another "
            f"row, and column {column!r} tells them apart; say series_id={column!r} (sort=False takes them for one)"
        )


def tell_falling(who: str, column: Any, cells: Any) -> None:
    """Tell that a column falls which holds times and is not read as such: the series would be learnt backwards.

    Args:
        who: how messages begin: the file.
        column: its name.
        cells: its first cells: text, numbers or datetime64.
    """
    times = np.asarray(cells)
    if times.dtype.kind != "M":
        reader = TimeReader(who, column, quiet=True)
        try:
            reader.narrow(cells, str)
            times = reader.read(cells, str)
        except DataError:
            return
    if times.dtype.kind != "M" or len(times) < FEW:
        return
    step = Steps(times, ~np.isnat(times), np.array([0, len(times)]))
    if step.back > (1 - UNORDERED) * max(step.count, 1):
        warn(
            f"{who}: column {column!r} seems to hold times, and they fall: with the newest row first, the series is "
            f"learnt backwards; say time={column!r} and sort=True (sort=False uses it so without this line)"
        )


def _tell_holes(source: Source, times: np.ndarray, zone: str | None, step: Steps, origin: Any) -> None:
    """Tell that times which go on in equal steps do not everywhere, where no `gap` says what that means."""
    if times.dtype.kind != "M" or step.count < ENOUGH:
        return
    sizes = step.forward()
    if len(sizes) < ENOUGH or sizes.max() <= sizes.min() * 3 // 2:
        return
    known, counts = np.unique(sizes, return_counts=True)
    usual = known[counts.argmax()]
    holes = np.flatnonzero(sizes > usual * 3 // 2)
    if counts.max() < REGULAR * len(sizes) or not len(holes):
        return
    row = step.row_after(int(holes[0]))
    time = write_times(times[row : row + 1], zone)[0]
    many = f"{counted(len(holes), 'step')} {'is' if len(holes) == 1 else 'are'}"
    length = f"{usual.astype('timedelta64[us]').astype(np.int64) / 1e6:g}"
    warn_once(
        origin,
        f"{source.who}: time goes on in steps of {_told(usual)}, but {many} longer, the first one of "
        f"{_told(sizes[holes[0]])} to {source.rows_named(row)} ({time}): state flows across; gap={length} (seconds) "
        f"ends segments there, a larger gap says that it may",
    )


def _told(step: Any) -> str:
    """A step in time in the largest unit of which it is a whole number."""
    size = int(step.astype("timedelta64[us]").astype(np.int64))
    for unit, seconds in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if size % (seconds * 1_000_000) == 0:
            return f"{size // (seconds * 1_000_000)} {unit}"
    return f"{size / 1e6:g} s"


def _likely(moment: np.ndarray, rows: np.ndarray, others: Others) -> Any:
    """The column that seems to name several series, or None: few values recur in it, each once at a time at most.

    Args:
        moment: `(n,)` which of the different times each of the rows has.
        rows: `(n,)` those that have a time.
        others: the columns.
    """
    for name in others.names:
        try:
            ids = others.ids(name)
        except DataError:
            continue
        code = ids.codes[rows].astype(np.int64)
        few = 1 < len(ids.names) <= len(rows) / FEW
        if few and len(np.unique(moment * len(ids.names) + code)) == len(rows):
            return name
    return None
