"""How far recorded states are from what the parameters of the day would make of the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnkit.errors import ScheduleError, counted
from rnnkit.model.initialisers import initial_state
from rnnkit.model.state import State
from rnnkit.schedule import Schedule
from rnnkit.train.run import Run


@dataclass(frozen=True, eq=False)
class RecordedDistance:
    """The distance of each recorded state from the state computed anew.

    Attributes:
        rows: `(M,)`, the row of the sequence before which each state stands.
        distance: `(M,)`, 2-norm of the difference over all layers, h and c, relative to the norm of the state
            computed anew.
        age: `(M,)`, how many steps before the end of the last epoch each was recorded.
    """

    rows: np.ndarray
    distance: np.ndarray
    age: np.ndarray

    def __str__(self) -> str:
        low, middle, high = np.quantile(self.distance, [0, 0.5, 1])
        return (
            f"{len(self.rows):,} recorded states, {int(self.age.min()):,} ... {np.median(self.age):,.6g} ... "
            f"{counted(int(self.age.max()), 'step')} old, are {low:.2g} ... {middle:.2g} ... {high:.2g} of their "
            "norm away from those of the final parameters (minimum, median, maximum)"
        )


def recorded_distance(run: Run, schedule: Schedule) -> RecordedDistance:
    """Compare the states that a run has recorded with those that its final parameters give for the same rows.

    Every segment is run through once, from the initial state.

    Args:
        run: what `fit` returned, of at least one whole epoch.
        schedule: what it was trained on, with the policy `Stored`.

    Raises:
        ScheduleError: a schedule that records nothing, or a run of another schedule.

    Example:
        >>> import numpy as np, rnnkit as rk
        >>> series = rk.Sequence(np.sin(np.arange(200) / 5))
        >>> schedule = rk.Schedule(series, rk.Chunked(length=16, shuffle=True), rk.Stored())
        >>> run = rk.fit(rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1)), schedule, backend="numpy", epochs=2)
        >>> len(rk.recorded_distance(run, schedule).rows)
        12
    """
    if not isinstance(run, Run) or not isinstance(schedule, Schedule):
        raise ScheduleError(
            f"recorded_distance expects a Run and a Schedule, got {type(run).__name__} and {type(schedule).__name__}; "
            f"give the run and the schedule that it was trained on"
        )
    last = len(run.history.epochs["loss"]) - 1
    table = schedule.slots(max(last if run.epoch is None else run.epoch, 0))
    if table is None or not len(table):
        raise ScheduleError(f"recorded_distance expects a schedule that records states, got {schedule!r}; use Stored()")
    if run.store is None or len(_vectors(run.store)) != len(table):
        raise ScheduleError(
            f"recorded_distance expects the run of a schedule with {counted(len(table), 'recorded row')}, got one with "
            f"{0 if run.store is None else len(_vectors(run.store))}; give the schedule that the run was trained on"
        )
    engine, series = run.backend, schedule.series
    params = engine.from_numpy(run.params)
    anew = np.empty_like(_vectors(run.store))
    for segment in np.unique(table.segment):
        state, row = engine.from_numpy(initial_state(run.model, run.params, 1)), 0
        start = int(series.starts[segment])
        for slot in np.flatnonzero(table.segment == segment):
            stop = int(table.offset[slot])
            x = series.read_x(start + row, start + stop, np.dtype(run.dtype))
            _, state, _ = engine.forward(run.model, params, engine.from_numpy(x[:, None]), state)
            anew[slot], row = _vectors(engine.to_numpy(state))[0], stop
    kept = (table.last >= 0) & _vectors(run.store).any(axis=1)  # the others have never been recorded
    if not kept.any():
        raise ScheduleError(f"recorded_distance expects a run that has recorded states, got none in {run!r}; train on")
    difference = np.linalg.norm(_vectors(run.store) - anew, axis=1)
    distance = difference / np.maximum(np.linalg.norm(anew, axis=1), np.finfo(float).tiny)
    rows = series.starts[table.segment] + table.offset
    return RecordedDistance(rows[kept], distance[kept], (len(table.start) - table.last)[kept])


def _vectors(state: State) -> np.ndarray:
    """A state as one vector for each lane or slot, float64 `(B, S)`."""
    return np.concatenate([np.asarray(a, np.float64) for entry in state for a in entry], axis=1)
