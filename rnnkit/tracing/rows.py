"""Which rows of a series are traced, and what stands before them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rnnkit.backend import Backend
from rnnkit.checks import is_whole
from rnnkit.data import Sequence
from rnnkit.errors import DataError
from rnnkit.model import Chain, State, initial_state
from rnnkit.train.passes import PASS_ROWS


class Chosen(NamedTuple):
    """Rows to trace.

    Attributes:
        rows: `(T,)` int64, rows of the source that have a target, increasing.
        reset: `(T,)` bool; the row starts from the initial state.
        warmed: rows before the first one that warm its state.
    """

    rows: np.ndarray
    reset: np.ndarray
    warmed: int


def choose_rows(series: Sequence, rows: Any, warm: int) -> Chosen:
    """The rows of a range that have a target, and how far back the state before them is warmed.

    Raises:
        DataError: something that is no range of rows, rows that the series does not have, or none with a target.
    """
    if not is_whole(warm) or warm < 0:
        raise DataError(f"trace expects warm to be a number of rows >= 0, got {warm!r}; 0 starts cold")
    start, stop = _range(series, rows)
    inside = np.concatenate([np.arange(max(s.start, start), min(s.stop, stop)) for s in series.segments])
    if not len(inside):
        first, last = series.segments[0].start, series.segments[-1].stop - 1
        raise DataError(
            f"trace: none of the rows {start} to {stop - 1} of {series.name!r} has a target; those with one lie "
            f"between rows {first} and {last}"
        )
    begins = series.starts[np.searchsorted(series.starts, inside, side="right") - 1]
    run = int(np.searchsorted(series.starts, inside[0], side="right")) - 1
    warmed = int(min(warm, inside[0] - series.runs[run, 0]))
    reset = inside == begins
    reset[0] = warmed == 0
    return Chosen(inside, reset, warmed)


def state_before(
    engine: Backend, model: Chain, params: dict[str, np.ndarray], series: Sequence, chosen: Chosen
) -> State:
    """The state before the first row, `(1, H)` each: the initial state, warmed over the rows before."""
    state, first = initial_state(model, params, 1), int(chosen.rows[0])
    for low in range(first - chosen.warmed, first, PASS_ROWS):
        x = series.read_x(low, min(low + PASS_ROWS, first), np.float64)
        _, state, _ = engine.forward(model, params, x[:, None], state)
    return state


def _range(series: Sequence, rows: Any) -> tuple[int, int]:
    """First row and the one after the last."""
    ends: tuple[Any, ...] = ()
    if isinstance(rows, slice | range) and rows.step in (None, 1):
        ends = rows.start, rows.stop
    elif isinstance(rows, tuple | list) and len(rows) == 2 and None not in rows:
        ends = tuple(rows)
    if not ends or not all(end is None or is_whole(end) for end in ends):
        raise DataError(
            f"trace expects rows as (start, stop), range(start, stop) or slice(start, stop), got {rows!r}; every row "
            f"between them is traced"
        )
    start, stop = (default if end is None else int(end) for end, default in zip(ends, (0, series.rows), strict=True))
    if isinstance(rows, slice):  # counted from the end, as slices are
        start, stop = (end + series.rows if end < 0 else end for end in (start, stop))
    if not 0 <= start < stop <= series.rows:
        raise DataError(
            f"trace expects rows of {series.name!r}, which are 0 to {series.rows - 1}, at least one, got rows {start} "
            f"to {stop - 1}"
        )
    return start, stop
