"""What the predictions made after each row of a sequence are predictions of: rows, times, series."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnkit.data import Sequence
from rnnkit.data.later import later_times, missing_time
from rnnkit.data.series import series_named
from rnnkit.data.source import SLICE
from rnnkit.data.times import write_times
from rnnkit.errors import DataError, counted, did_you_mean, listed, warn


def labels_after(series: Sequence) -> dict[str, Any]:
    """The fields of a `Prediction` that say of what it is one, for each row of the source."""
    rows = np.arange(series.rows)
    segment = np.searchsorted(series.starts, rows, side="right") - 1
    behind = rows + series.horizon - series.runs[segment, 2]  # rows behind the end of the segment, from 0
    inside = (segment >= 0) & (rows < series.runs[segment, 2])
    table = series.table
    return {
        "rows": rows + series.horizon,
        "times": None if series.times is None else _times_after(series, series.times),
        "zone": series.zone,
        "series": None if table is None else np.repeat(np.array(table.names, object), np.diff(table.edges)),
        "is_future": inside & (behind >= 0) & unknown_after(series)[segment],
        **_samples(series),
    }


def _samples(series: Sequence) -> dict[str, Any]:
    """Where the samples of a sequence end that is scored there, and their ids."""
    if series.score != "last":
        return {}
    ids = series.numbers if series.series_ids is None else np.array(series.series_ids, object)
    return {"ends": series.starts + series.lengths - 1, "ids": ids}


def labels_ahead(series: Sequence, segment: int, steps: int) -> dict[str, Any]:
    """The fields of a `Forecast` of so many rows after the end of a segment."""
    _, start, stop = (int(row) for row in series.runs[segment])
    ids = series.series_ids
    return {
        "rows": np.arange(stop, stop + steps),
        "times": None if series.times is None else later_times(series.times[start:stop], steps),
        "zone": series.zone,
        "series": None if ids is None else np.full(steps, ids[segment], object),
        "is_future": np.ones(steps, bool),
    }


def last_segment(who: str, series: Sequence, only: str | int | None) -> int:
    """The segment that a series ends with, where what comes next can be predicted.

    Warns where the choice of the series, or of the row, may not be the one that is meant.

    Args:
        who: how messages begin.
        series: one, or a table of several.
        only: the id of one of several; None for the last.

    Raises:
        DataError: an id that the sequence has not, or ids where it has none.
    """
    ids = series.series_ids
    if ids is None and only is not None:
        raise DataError(
            f"{who} takes only= to choose one of several series, but {series.name!r} is one; leave it out, or open a "
            f"table with series_id="
        )
    segment = len(series.runs) - 1
    if ids is not None:
        names = list(dict.fromkeys(ids))
        if only is None and len(names) > 1:
            warn(
                f"{who} goes on from {ids[-1]!r}, the last of the {len(names)} series in {series.name!r}; "
                f"choose one with only={names[0]!r}"
            )
        chosen = ids[-1] if only is None else series_named(only, names)
        if chosen is None:
            raise DataError(
                f"{who} expects one of the series of {series.name!r}, {listed(names, 12, 'in all')}; got "
                f"only={only!r}{did_you_mean(str(only), names)}"
            )
        segment -= ids[::-1].index(chosen)
    row, end = int(series.runs[segment, 2]), series_end(series, segment)
    if row < end and unknown_after(series)[segment]:
        time = "" if series.times is None else f" ({write_times(series.times[row - 1 : row], series.zone)[0]})"
        follow = "row after it has" if end - row == 1 else f"{counted(end - row, 'row')} after it have"
        warn(
            f"{who} goes on after row {row - 1:,}{time} of {series.name!r}, the last one without a missing value, as "
            f"the {follow} some; fill them in to go on later, or leave these rows out"
        )
    return segment


def series_end(series: Sequence, segment: int) -> int:
    """The row of the source behind the last one of the series that a segment belongs to."""
    edges = np.array([0, series.rows]) if series.table is None else series.table.edges
    return int(edges[np.searchsorted(edges, series.starts[segment], side="right")])


def unknown_after(series: Sequence) -> np.ndarray:
    """Which segments `(S,)` bool end where no target of their series is known any more: what follows is the future.

    Without targets it is the rows that follow whose inputs are known, or not.
    """
    edges = np.array([0, series.rows]) if series.table is None else series.table.edges
    place, stops = np.searchsorted(edges, series.starts, side="right"), series.runs[:, 2]
    last, ends = np.append(np.diff(place) > 0, True), edges[place]
    unknown = stops == ends
    early = np.flatnonzero(last & (stops < ends))
    if len(early):
        numbers = series.with_scaler(None).as_numbers()
        follows = _known(numbers, stops[early])
        for index in early[~follows]:  # few: most segments of a part are followed by those of the next one
            stop, end = int(stops[index]), int(ends[index])
            slices = (np.arange(first, min(first + SLICE, end)) for first in range(stop, end, SLICE))
            unknown[index] = not any(_known(numbers, rows).any() for rows in slices)
    return unknown


def _known(series: Sequence, rows: np.ndarray) -> np.ndarray:
    """Which rows `(n,)` have all the values that are targets `horizon` rows before; or without targets, all inputs."""
    x, y = series.take(rows - series.tail, np.float64)
    return np.asarray(np.isfinite(y if series.outputs else x).all(-1))


def _times_after(series: Sequence, known: np.ndarray) -> np.ndarray:
    """The times `(N,)` that predictions are for, those behind the end of a segment included."""
    whole = known.dtype.kind in "iu"
    times = known.copy() if whole else np.full(len(known), missing_time(known.dtype), known.dtype)
    ahead = series.horizon
    for _, start, stop in series.runs.tolist():
        later = later_times(known[start:stop], ahead) if ahead else known[:0]
        times[start:stop] = np.concatenate((known[start:stop], later))[ahead:]
    return times
