"""Index arithmetic on runs and segments: where state may flow, and which of those rows have a target.

A *run* is a contiguous range of rows within which state may flow; its *segment* is the run without its last h
rows, whose targets (h rows later) would lie beyond it.
"""

from __future__ import annotations

import datetime
import re
from typing import Any, NamedTuple

import numpy as np

from rnnkit.checks import is_number, is_whole
from rnnkit.data.source import SLICE, Source, check_values
from rnnkit.errors import DataError, counted

Gap = float | str | datetime.timedelta | np.timedelta64
"""A step in time: a number (of seconds, where time is given as dates), `"30min"`, a timedelta."""

FOREVER = 2.0**62
"""Microseconds that no two times are apart."""

UNITS = {"ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Segment(NamedTuple):
    """Rows start to stop, without stop, that have targets and through which state may flow."""

    start: int
    stop: int


def find_runs(
    source: Source, horizon: Any, segments: Any, time: Any, gap: Gap | None, missing: str, short: str
) -> np.ndarray:
    """The runs `(R, 3)` that hold a segment, after every check; `time` is what `in_order` made of it, or None."""
    who, rows = source.who, source.x.shape[0]
    if not is_whole(horizon) or horizon < 0:
        raise DataError(f"{who} expects horizon to be a whole number of rows from 0, got {horizon!r}")
    for option, value, known in (
        ("missing", missing, ("refuse", "cut")),
        ("short", short, ("refuse", "drop")),
    ):
        if value not in known:
            raise DataError(f"{who} expects {option} to be {known[0]!r} or {known[1]!r}, got {value!r}")
    if gap is not None and time is None:
        raise DataError(f"{who} cuts at a gap in time, got gap={gap!r} and no time; say time= too")
    if segments is not None and time is not None:
        raise DataError(f"{who} takes its segments from segments= or from time=, got both; leave one out")
    if segments is not None and source.series is not None:
        raise DataError(f"{who} takes its segments from segments= or from series_id=, got both; leave one out")
    runs = np.array([[0, rows]])
    if segments is not None:
        runs = runs_given(segments, rows, who)
    elif time is not None:
        runs = runs_by_time(time, gap, source)
    if source.series is not None:
        runs = cut_between(runs, source.series.edges)
    if time is not None:
        runs = cut_at(runs, rows_without(time))
    runs = cut_at(runs, check_values(source, runs, missing))
    back = time is not None and source.series is None and bool((time[1:] < time[:-1]).any())
    runs = keep_targeted(runs, int(horizon) if source.outputs else 0, short, source, back)
    return np.column_stack((runs[:, 0], runs))


def runs_given(segments: Any, rows: int, who: str) -> np.ndarray:
    """Check runs that were written down, `[(start, stop), ...]`.

    Returns:
        `(R, 2)` int64.

    Raises:
        DataError: none, one that is empty or out of range, or two that overlap or stand in the wrong order.
    """
    try:
        runs: Any = np.asarray(segments)
    except ValueError:  # pairs of different lengths
        runs = np.empty(0)
    if runs.ndim != 2 or runs.shape[1] != 2 or runs.dtype.kind not in "iu":
        raise DataError(f"{who} expects segments=[(start, stop), ...] of whole numbers, got {segments!r}")
    runs = runs.astype(np.int64)
    for index, (start, stop) in enumerate(runs.tolist()):
        if not 0 <= start < stop <= rows:
            raise DataError(
                f"{who} expects segments with 0 <= start < stop <= {rows}, got ({start}, {stop}) as segment {index}"
            )
        if index and start < runs[index - 1, 1]:
            raise DataError(
                f"{who}: segment {index} starts at row {start}, before segment {index - 1} ends at row "
                f"{runs[index - 1, 1]}; give segments in order and without overlap"
            )
    return runs


def runs_by_time(times: np.ndarray, gap: Gap | None, source: Source) -> np.ndarray:
    """Cut where time jumps: at every step back, and at every step larger than `gap`.

    Args:
        times: `(N,)` numbers or datetime64; read in slices.
        gap: the largest step within a run; None allows any step forward. Equal times are no cut, nor is a missing one.
        source: the N rows, for messages.

    Returns:
        `(R, 2)` int64.

    Raises:
        DataError: a gap that does not fit the times.
    """
    rows = len(times)
    cuts = [np.empty(0, np.int64)]
    for start in range(0, max(rows - 1, 1), SLICE):
        block = times[start : start + SLICE + 1]
        block = block.astype(np.int64) if block.dtype.kind in "iu" else block
        step = np.diff(block)
        cut = step < np.zeros(1, step.dtype)
        if gap is not None:
            cut |= step > _as_step(gap, block.dtype, source.who)
        cuts.append(np.flatnonzero(cut) + start + 1)
    inner = np.concatenate(cuts)
    return np.stack((np.append(0, inner), np.append(inner, rows)), axis=1)


def rows_without(times: np.ndarray) -> np.ndarray:
    """The rows that have no time, ascending."""
    return np.flatnonzero(np.isnat(times) if times.dtype.kind == "M" else ~np.isfinite(times))


def cut_between(runs: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Cut runs `(R, 2)` that leave no row out at some more edges `(E,)`, 0 and N among them."""
    cuts = np.union1d(runs, edges)
    return np.stack((cuts[:-1], cuts[1:]), axis=1)


def cut_at(runs: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Take rows out of runs `(R, 2)`, so that each run ends before such a row and a new one begins after it.

    Args:
        runs: ordered, without overlap.
        missing: rows of the runs, ascending.
    """
    # every row taken out ends one piece and begins another, and pieces stand in order: sorting pairs them up
    starts = np.sort(np.concatenate((runs[:, 0], missing + 1)))
    stops = np.sort(np.concatenate((runs[:, 1], missing)))
    pieces = np.stack((starts, stops), axis=1)
    return pieces[starts < stops]


def keep_targeted(runs: np.ndarray, horizon: int, short: str, source: Source, back: bool = False) -> np.ndarray:
    """The runs `(R, 2)` that have a row with a target: more than `horizon` rows.

    Raises:
        DataError: a run that has none, under `short="refuse"`; no run at all that has one.
    """
    who, lengths = source.who, runs[:, 1] - runs[:, 0]
    kept = lengths > horizon
    if not kept.any():
        longest = f"the longest run has {_rows(lengths.max())}" if len(runs) else "every row has a missing value"
        raise DataError(
            f"{who} has no row with a target: {longest}, and horizon={horizon} needs {horizon + 1} in a row"
        )
    if short == "refuse" and not kept.all():
        index = int(np.argmin(kept))
        start, stop = runs[index].tolist()
        length = stop - start
        smaller = "sort rows that are out of order by time with sort=True, or " if back else ""
        smaller += f"use horizon <= {length - 1}, or " if length > 1 else ""
        place = source.rows_named(start, stop)
        named = "" if source.series is None else f" of series {source.series.named(np.array([start]))[0]!r}"
        raise DataError(
            f"{who}: segment {index}{named} ({place}) has {_rows(length)}, but horizon={horizon} needs at least "
            f"{horizon + 1}; {smaller}leave out segments as short as this with short='drop'"
        )
    return runs[kept]


def _rows(number: int) -> str:
    return counted(number, "row")


def _as_step(gap: Gap, dtype: np.dtype, who: str) -> Any:
    """The gap as what differences of such times compare with."""
    seconds: float | None = None
    if isinstance(gap, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", gap)
        if match is not None and match[2] in UNITS:
            seconds = float(match[1]) * UNITS[match[2]]
    elif isinstance(gap, datetime.timedelta):
        seconds = gap.total_seconds()
    elif isinstance(gap, np.timedelta64):
        seconds = float(gap / np.timedelta64(1, "s"))
    elif is_number(gap):
        seconds = 1e300 if isinstance(gap, int) and gap > 1e300 else float(gap)
        if dtype.kind != "M" and seconds > 0:
            return gap if gap < 2**63 else seconds  # NumPy compares no larger whole numbers
    if seconds is None or not 0 < seconds < np.inf:
        raise DataError(f"{who} expects gap to be positive, such as 1800 (seconds), '30min', '1h' or '2d', got {gap!r}")
    if dtype.kind != "M":
        raise DataError(f"{who} has times that are plain numbers; give gap as a number in their unit, got {gap!r}")
    return np.timedelta64(round(min(seconds * 1e6, FOREVER)), "us")
