"""Passes over contiguous rows with carried state, in bounded memory: what prediction and validation share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rnnkit.backend import CompleteBackend
from rnnkit.checks import check_count
from rnnkit.data import Sequence
from rnnkit.errors import DataError
from rnnkit.model.initialisers import initial_state
from rnnkit.model.layers import Chain
from rnnkit.model.losses import Loss, row_loss
from rnnkit.schedule.batch import BLOCK_ROWS
from rnnkit.schedule.splitters import Continuation
from rnnkit.train.targets import check_targets

PASS_ROWS = 4096
"""Rows that a pass hands at a time to a backend that keeps their tape, and to whoever scores them."""

WARM_ROWS = 1024
"""Rows before a part that its state is warmed over unless asked otherwise."""


def outputs(
    backend: CompleteBackend,
    model: Chain,
    params: Mapping[str, Any],
    series: Sequence,
    warm: int = WARM_ROWS,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Run a model once over every row of a series, state carried within each run of rows.

    Args:
        backend: any backend.
        model: the `Chain`.
        params: the backend's arrays.
        series: its `runs` are walked, in order; scaled by its own scaler.
        warm: rows before each run, where the source has them, that warm the state; their outputs are left out.

    Yields:
        `(rows, y)`: rows of the sequence `(n,)`, increasing, and the outputs there `(n, O)`.
    """
    for rows, y, warming in _walk(backend, model, params, series, warm):
        yield (rows, y) if warming is None else (rows[~warming], y[~warming])


def scored_outputs(
    backend: CompleteBackend,
    model: Chain,
    params: Mapping[str, Any],
    series: Sequence,
    warm: int = WARM_ROWS,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Like `outputs`, for the rows that have a target alone.

    Yields:
        `(rows, y, target)`, the target as `Sequence.take` gives it.
    """
    for rows, y, _ in _walk(backend, model, params, series, warm):
        scored = series.scored(rows)  # rows before a part are not
        for first in range(0, len(rows), PASS_ROWS):
            here = np.flatnonzero(scored[first : first + PASS_ROWS]) + first
            yield rows[here], y[here], series.take(rows[here], y.dtype)[1]


@np.errstate(all="ignore")  # what is not finite shows in the loss
def mean_loss(
    engine: CompleteBackend,
    model: Chain,
    params: Mapping[str, Any],
    series: Sequence,
    loss: Loss,
    warm: int = WARM_ROWS,
) -> float:
    """Mean loss over the rows of a series that have a target, state carried, parameters the backend's arrays."""
    total, count = 0.0, 0
    for _, y, target in scored_outputs(engine, model, params, series, warm):
        check_targets(loss, target, model.outputs)
        total += float(row_loss(loss, y, target).sum(dtype=np.float64))
        count += len(y)
    return total / count


@np.errstate(all="ignore")
def read_through(
    backend: CompleteBackend,
    model: Chain,
    params: Mapping[str, Any],
    series: Sequence,
    start: int,
    stop: int,
    kept: int = 0,
) -> tuple[Any, np.ndarray]:
    """Let one lane read rows start to stop of a series, from the initial state.

    Args:
        backend, model, params: as for `outputs`.
        series: scaled by its own scaler.
        start, stop: rows of one run.
        kept: how many of the last outputs are wanted.

    Returns:
        `(state, y)`: the backend's state after the last row, and the last outputs `(n, O)`, `kept` at most.
    """
    length = _rows_at_once(backend, series, model)
    dtype = next(iter(backend.to_numpy(params).values())).dtype
    state = backend.from_numpy(initial_state(model, backend.to_numpy(params), 1))
    last = np.empty((0, model.outputs), dtype)
    for first in range(start, stop, length):
        x = series.read_x(first, min(first + length, stop), dtype)
        y, state = backend.outputs(model, params, backend.from_numpy(x[:, None]), state, None, None)
        if kept:
            last = np.concatenate((last, backend.to_numpy(y)[-kept:, 0]))[-kept:]
    return state, last


def _rows_at_once(backend: CompleteBackend, series: Sequence, model: Chain) -> int:
    """How many rows a backend is handed at a time."""
    if backend.keeps_tape:
        return PASS_ROWS
    return PASS_ROWS * max(1, BLOCK_ROWS // (PASS_ROWS * max(series.features, model.outputs)))


def _walk(
    backend: CompleteBackend, model: Chain, params: Mapping[str, Any], series: Sequence, warm: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Every row that a pass reads: `(rows, y, warming)`, the last `(n,)` true where a row only warms the state up.

    It is None where none does. A backend that keeps no tape takes a whole number of `PASS_ROWS` at a time, the fewer
    the wider they are.
    """
    check_count("a pass", "warm", warm, 0, DataError)
    first = np.maximum(series.runs[:, 0], series.runs[:, 1] - warm)
    length = _rows_at_once(backend, series, model)
    grid_of = Continuation(length=length).grid
    grid = grid_of(series.runs[:, 2] - first, np.random.default_rng(0), series.name)
    dtype = next(iter(backend.to_numpy(params).values())).dtype
    state = backend.from_numpy(initial_state(model, backend.to_numpy(params), 1))
    for step in range(grid.steps):
        pieces = grid.pieces(step, step + 1)
        starts = first[pieces.segment] + pieces.offset
        spans = list(zip(starts, starts + pieces.rows, strict=True))
        x = np.concatenate([series.read_x(int(a), int(b), dtype) for a, b in spans])
        rows = np.concatenate([np.arange(a, b) for a, b in spans])
        reset = np.zeros((len(rows), 1), bool)
        reset[pieces.at[pieces.offset == 0]] = True
        y, state = backend.outputs(model, params, backend.from_numpy(x[:, None]), state, reset, None)
        begin = series.runs[pieces.segment, 1]
        warming = rows < np.repeat(begin, pieces.rows) if (starts < begin).any() else None
        yield rows, backend.to_numpy(y)[:, 0], warming
