"""`trace`: forward over some rows of a series and back again, with every number kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnkit.backend import TEXTBOOK, check_parameters
from rnnkit.backend import backend as find_backend
from rnnkit.checks import is_whole
from rnnkit.data import Sequence
from rnnkit.errors import DataError, ModelError, ScheduleError
from rnnkit.model import (
    Chain,
    Loss,
    State,
    as_loss,
    initial_state,
    layers_to_run,
    row_gradient,
    row_loss,
    state_type,
    window_loss,
    zero_state,
)
from rnnkit.tracing.layers import Arrays, LayerPass, LayerTrace, explained, traced
from rnnkit.tracing.record import Trace
from rnnkit.tracing.rows import choose_rows, state_before
from rnnkit.train.passes import WARM_ROWS
from rnnkit.train.predict import seen_by
from rnnkit.train.run import Run
from rnnkit.train.targets import as_trained, check_targets

Rows = tuple[int, int] | range | slice


def trace(
    model: Run | Chain,
    series: Sequence,
    rows: Rows,
    *,
    params: Mapping[str, Any] | None = None,
    loss: str | Loss | None = None,
    warm: int = WARM_ROWS,
    truncate: int | None = None,
) -> Trace:
    """Every number of a forward pass over some rows and of back-propagation through them, in float64.

    What is derived is the mean loss of the rows that are scored. The equations are those of the backend `numpy`; the
    gradient of every parameter is the one that any backend computes in float64 over a window of the same rows.

    Args:
        model: a trained run, or a `Chain` with `params` and, by choice, `loss`.
        series: for a run in the data's own units, as for `rk.predict`; for a chain, it is read as it is.
        rows: `(start, stop)`, a range, or a slice, of rows of the source. Those that have a target are traced; state
            becomes the initial state where a segment begins.
        params: for a chain: its parameters, NumPy arrays or what NumPy can read.
        loss: for a chain; left out, `"mse"`.
        warm: rows before the first one that warm the state, as far as its run of rows goes; 0 starts cold.
        truncate: cut the gradient as windows of so many rows would, counted from the first row; None: nowhere.

    Returns:
        A `Trace`; about `8 T (24 H + 2 I)` bytes for each LSTM layer.

    Raises:
        ModelError: a model without recurrent layer, or parameters, loss, or series that do not fit it.
        DataError: rows that the series does not have, or none with a target.
        ScheduleError: `truncate` that is no number of rows.

    Example:
        >>> import numpy as np
        >>> import rnnkit as rk
        >>> model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))
        >>> series = rk.Sequence(np.sin(np.arange(40.0)), name="sine")
        >>> seen = rk.trace(model, series, (10, 16), params=rk.setup(model)[0])
        >>> seen.layers[0].f.shape, seen.contribution("0.weight_hh").shape
        ((6, 3), (6, 12, 3))

    Source: Werbos, "Backpropagation through time: what it does and how to do it" (1990).
    """
    model, series, kept, objective = _what_is_traced(model, series, params, loss)
    if truncate is not None and (not is_whole(truncate) or truncate < 1):
        raise ScheduleError(f"trace expects truncate to be a whole number of rows >= 1, or None, got {truncate!r}")
    chosen = choose_rows(series, rows, warm)
    state = state_before(find_backend(TEXTBOOK), model, kept, series, chosen)
    x, target = series.take(chosen.rows, np.float64)
    check_targets(objective, target, model.outputs)
    passes = explained(model, kept)
    forward, y = forward_pass(passes, x, state, chosen.reset, initial_state(model, kept, 1))
    weight = series.scored(chosen.rows).astype(np.float64)
    if not weight.any():
        raise DataError(
            f"trace: none of the rows {chosen.rows[0]} to {chosen.rows[-1]} of {series.name!r} counts in the loss, "
            f"which looks at the last row of each segment alone; let the rows hold the end of one"
        )
    cut = np.zeros(len(x), bool) if truncate is None else np.arange(len(x)) % truncate == 0
    cut[0] = False  # what stands before the first row is a value anyway
    _, d_y = window_loss(objective, y, target, weight)
    return Trace(
        model=model,
        params=kept,
        loss_function=objective,
        name=series.name,
        horizon=series.horizon,
        scaler=series.scaler,
        rows=chosen.rows,
        times=None if series.times is None else series.times[chosen.rows],
        zone=series.zone,
        reset=chosen.reset,
        cut=cut,
        truncate=None if truncate is None else int(truncate),
        warmed=chosen.warmed,
        state=state,
        x=x,
        y=y,
        target=target,
        weight=weight,
        loss=row_loss(objective, y, target),
        d_loss=row_gradient(objective, y, target),
        d_y=d_y,
        layers=_walk_back(model, passes, forward, d_y, chosen.reset | cut),
    )


def forward_pass(
    passes: tuple[LayerPass, ...], x: np.ndarray, state: State, reset: np.ndarray, initial: State
) -> tuple[list[Arrays], np.ndarray]:
    """The forward numbers of every layer, and the model's output `(T, O)`."""
    forward = []
    for layer, before, cold in zip(passes, state, initial, strict=True):
        seen, x = layer.forward(x, before, reset, cold)
        forward.append(seen)
    return forward, x


def _walk_back(
    model: Chain, passes: tuple[LayerPass, ...], forward: list[Arrays], d_y: np.ndarray, ends: np.ndarray
) -> tuple[LayerTrace, ...]:
    """From the last row to the first, in each from the last layer to the first; no gradient leaves a row that ends."""
    backward: list[Arrays] = [{} for _ in model.layers]
    zeros = tuple(_without_lanes(entry) for entry in zero_state(model, 1, d_y.dtype))
    d_states = list(zeros)
    for t in reversed(range(len(d_y))):
        d = d_y[t]
        for index in reversed(range(len(model.layers))):
            back = passes[index].back(forward[index], t, d, d_states[index])
            d_states[index], d = back.d_state, back.d_x
            for name, value in back.seen.items():
                backward[index].setdefault(name, np.empty((len(d_y), len(value))))[t] = value
        if ends[t]:
            d_states = list(zeros)
    return tuple(
        traced(layer, seen | d_seen) for layer, seen, d_seen in zip(model.layers, forward, backward, strict=True)
    )


def _without_lanes(entry: Any) -> Any:
    return type(entry)(*(a[0] for a in entry)) if entry else entry


def _what_is_traced(
    model: Run | Chain, series: Sequence, params: Mapping[str, Any] | None, loss: str | Loss | None
) -> tuple[Chain, Sequence, Arrays, Loss]:
    """The chain, the series as it was trained on, the parameters in float64, and the loss."""
    if not isinstance(model, Run | Chain):
        raise ModelError(f"trace expects a Run, or a Chain with params, got {type(model).__name__}")
    if not isinstance(series, Sequence):
        raise ModelError(
            f"trace expects the Sequence whose rows are traced, got {type(series).__name__}; a run keeps no rows: open "
            f"them with rk.Sequence.open(...), or wrap values: rk.Sequence(values)"
        )
    if isinstance(model, Run):
        if params is not None or loss is not None:
            raise ModelError("trace expects params and loss with a Chain alone: a Run has its own; leave them out")
        series, params, loss, model = seen_by("trace", model, series, ahead=True), model.params, model.loss, model.model
    elif params is None:
        raise ModelError("trace expects params with a Chain, got none; make them with rk.setup(model), or give a Run")
    if all(state_type(layer) is None for layer in layers_to_run(model, "trace")):
        raise ModelError(f"trace expects a model with a recurrent layer, got {model!r}: no gradient goes back in time")
    if not isinstance(params, Mapping):
        raise ModelError(f"trace expects params as a dict of arrays, got {type(params).__name__}; see rk.setup(model)")
    try:
        kept = {key: np.asarray(value).astype(np.float64) for key, value in params.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"trace expects parameters that NumPy can read: {error}; convert them with the backend's to_numpy(params)"
        ) from error
    check_parameters(model, kept)
    objective = as_loss("mse" if loss is None else loss)
    return model, as_trained(model, series, objective), kept, objective
