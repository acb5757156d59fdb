"""A trace as the windows of a schedule would see it: the gradient cut at their borders, or reaching back beyond."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from rnnkit.checks import is_whole
from rnnkit.errors import ScheduleError
from rnnkit.model import initial_state, row_gradient, row_loss, window_loss, zero_state
from rnnkit.tracing.layers import Arrays, LayerPass, explained, traced
from rnnkit.tracing.record import Trace
from rnnkit.tracing.walk import forward_pass


def in_windows(trace: Trace, length: int, lookback: int = 0, fresh: bool = False, anew: bool = False) -> Trace:
    """Trace rows again in windows of `length` rows, counted from the first one.

    The loss of a row reaches back to the start of its window, and with `lookback` so many rows further. The rows before
    a window are read again by it, and by others: a derivative is the sum over all windows that reach its row.

    Args:
        trace: any trace of these rows.
        length: rows that each window scores.
        lookback: rows before them that the gradient reaches, too.
        fresh: start every window from the initial state, as `Reset()` does, so that the states are others.
        anew: count anew from each reset, as `Chunked` and `Sliding` do from the start of each segment.

    Returns:
        A `Trace`; with `length` alone the one that `rk.trace(..., truncate=length)` gives.

    Raises:
        ScheduleError: a size that is no number of rows, or `fresh` with `lookback`, where windows overlap and differ
            in their states.
    """
    for name, size, least in (("length", length, 1), ("lookback", lookback, 0)):
        if not is_whole(size) or size < least:
            raise ScheduleError(f"in_windows expects {name} to be a whole number of rows >= {least}, got {size!r}")
    if fresh and lookback:
        raise ScheduleError(
            "in_windows expects lookback=0 with fresh=True: windows that overlap have states of their own"
        )
    passes = explained(trace.model, trace.params)
    begins = _begins(trace, length, anew)
    start = np.flatnonzero(begins)
    cut = begins & (np.arange(len(trace)) > 0)
    forward: list[Arrays] = [seen.forward for seen in trace.layers]
    changed: dict[str, Any] = {"cut": cut, "truncate": int(length)}
    d_y = trace.d_y
    if fresh:
        reset, initial = trace.reset | begins, initial_state(trace.model, trace.params, 1)
        forward, y = forward_pass(passes, trace.x, trace.state, reset, initial)
        _, d_y = window_loss(trace.loss_function, y, trace.target, trace.weight)
        changed |= {"reset": reset, "y": y, "d_y": d_y, "loss": row_loss(trace.loss_function, y, trace.target)}
        changed |= {"d_loss": row_gradient(trace.loss_function, y, trace.target)}
    backward = _walk_back(trace, passes, forward, d_y, changed.get("reset", trace.reset), start, lookback)
    layers = tuple(
        traced(layer, seen | d_seen) for layer, seen, d_seen in zip(trace.model.layers, forward, backward, strict=True)
    )
    return replace(trace, **changed, layers=layers)


def first_reached(trace: Trace, length: int, lookback: int = 0, anew: bool = False) -> np.ndarray:
    """For every row the first place that the gradient of its loss reaches, `(T,)`, resets left out of account."""
    place = np.arange(len(trace))
    start = np.maximum.accumulate(np.where(_begins(trace, length, anew), place, 0))
    return np.maximum(start - lookback, 0)


def _begins(trace: Trace, length: int, anew: bool) -> np.ndarray:
    """Where a window begins, `(T,)` bool."""
    place = np.arange(len(trace))
    counted_from = np.maximum.accumulate(np.where(trace.reset & anew, place, 0))
    return (place - counted_from) % length == 0


def _walk_back(
    trace: Trace,
    passes: tuple[LayerPass, ...],
    forward: list[Arrays],
    d_y: np.ndarray,
    reset: np.ndarray,
    start: np.ndarray,
    lookback: int,
) -> list[Arrays]:
    """From the last row to the first with a lane for each window: what is seen, summed over the windows."""
    model, steps, windows = trace.model, len(d_y), len(start)
    stop, reach = np.append(start[1:], steps), np.maximum(start - lookback, 0)
    backward: list[Arrays] = [{} for _ in model.layers]
    states: list[Any] = list(zero_state(model, windows, d_y.dtype))
    for t in reversed(range(steps)):
        first, last = (int(np.searchsorted(ends, t, side="right")) for ends in (stop, reach))
        d = np.zeros((last - first, d_y.shape[1]))
        d[0] = d_y[t]  # the first window that has not ended before row t is the one that scores it
        for index in reversed(range(len(model.layers))):
            begun = states[index]
            after = type(begun)(*(a[first:last] for a in begun)) if begun else begun
            back = passes[index].back(forward[index], t, d, after)
            for a, b in zip(begun, back.d_state, strict=True):
                a[first:last] = 0 if reset[t] else b
            d = back.d_x
            for name, value in back.seen.items():
                backward[index].setdefault(name, np.empty((steps, value.shape[-1])))[t] = value.sum(0)
    return backward
