"""What a trained model remembers after a row of a series."""

from __future__ import annotations

import numpy as np

from rnnkit.checks import is_whole
from rnnkit.data import Sequence
from rnnkit.errors import DataError
from rnnkit.model.state import State
from rnnkit.train.labels import last_segment
from rnnkit.train.passes import read_through
from rnnkit.train.predict import seen_by
from rnnkit.train.run import Run


def state_after(run: Run, series: Sequence, row: int | None = None, *, only: str | int | None = None) -> State:
    """The state after a row of a series: where to go on from, with `Stream.state`, or to train with `Given.of`.

    One lane reads every row from the beginning of the row's segment, with the parameters as they are, so that the
    lanes in training do not matter; `run.state` is that of each lane there, of which lane 0 walks the oldest rows. In
    a part that `split` made it reads the rows before the part, too.

    Args:
        run: a trained model.
        series: in the data's own units; targets do not matter.
        row: which one, from 0, as the source counts them; left out, the last one that can be read.
        only: of a table of several series, the id of the one whose last row is meant; left out, that of the last one,
            with a warning.

    Returns:
        An entry a layer, NumPy arrays `(1, H)` in the run's dtype.

    Raises:
        ModelError: features that do not fit the model.
        DataError: a row that is in no segment, or no such series.

    Example:
        >>> import numpy as np, rnnkit as rk
        >>> series = rk.Sequence(np.sin(np.arange(100) / 5))
        >>> schedule = rk.Schedule(series, rk.Continuation(length=16), rk.Carry())
        >>> run = rk.fit(rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1)), schedule, backend="numpy", epochs=1)
        >>> stream = rk.Stream(run)
        >>> stream.state = rk.state_after(run, series)
        >>> stream.step([[0.5]]).shape
        (1, 1)
    """
    series = seen_by("state_after", run, series)
    segment = last_segment("state_after", series, only) if row is None else _segment(series, row, only)
    first, _, stop = (int(place) for place in series.runs[segment])
    end = stop if row is None else int(row) + 1
    params = run.backend.from_numpy(run.params)
    state, _ = read_through(run.backend, run.model, params, series, first, end)
    return run.backend.to_numpy(state)


def _segment(series: Sequence, row: int, only: str | int | None) -> int:
    """The segment that a row lies in."""
    if not is_whole(row):
        raise DataError(f"state_after expects row to be a whole number, got {row!r}")
    if only is not None:
        raise DataError(
            f"state_after takes row= or only=, got both; leave only= out: row {row} says which series, or leave row= "
            f"out for the last row of {only!r}"
        )
    segment = int(np.searchsorted(series.starts, row, side="right")) - 1
    if segment < 0 or row >= series.runs[segment, 2]:
        runs = [f"{start} to {stop - 1}" for _, start, stop in series.runs[:8].tolist()]
        more = f", ... ({len(series.runs)} in all)" if len(series.runs) > 8 else ""
        raise DataError(
            f"state_after expects a row of {series.name!r} that is in a segment, rows {', '.join(runs)}{more}; "
            f"got {row}"
        )
    return segment
