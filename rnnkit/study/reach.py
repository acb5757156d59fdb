"""How far the gradient of a model reaches back on data, whatever a schedule makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rnnkit.backend import Backend, CompleteBackend, check_parameters
from rnnkit.backend import backend as find_backend
from rnnkit.checks import is_whole
from rnnkit.data import Sequence
from rnnkit.errors import DataError, counted
from rnnkit.model.initialisers import initial_state
from rnnkit.model.layers import Chain
from rnnkit.model.losses import Loss, as_loss, row_gradient
from rnnkit.model.state import State
from rnnkit.train.passes import PASS_ROWS
from rnnkit.train.targets import as_trained, check_targets

SAMPLE = 32
"""Rows that a reach is averaged over unless asked otherwise."""


class GradientReach(NamedTuple):
    """How strongly the loss of a row depends on the states before it, in the mean over some rows t.

        norms[k - 1] = mean over t of ‖∂ loss(t) / ∂ state(t - k)‖        k = 1 ... K

    Attributes:
        lags: `(K,)`; 1, 2, ... rows: lag k is the state after row t - k.
        norms: by `"{layer}.h"` and `"{layer}.c"`, and `"all"` for all of them together, `(K,)` float64 each.
        rows: `(n,)`; the rows t of the sequence.
    """

    lags: np.ndarray
    norms: dict[str, np.ndarray]
    rows: np.ndarray

    @property
    def table(self) -> list[dict[str, Any]]:
        """A dict for each lag and each part of the state: `lag`, `state`, `norm`."""
        return [
            {"lag": int(lag), "state": name, "norm": float(norm)}
            for name, norms in self.norms.items()
            for lag, norm in zip(self.lags, norms, strict=True)
        ]


def gradient_reach(
    model: Chain,
    params: Mapping[str, np.ndarray],
    series: Sequence,
    lags: int,
    *,
    sample: int = SAMPLE,
    backend: str | Backend = "numba",
    loss: str | Loss = "mse",
    seed: int = 0,
) -> GradientReach:
    """Back-propagate the losses of single rows, each alone, and look at the gradient on its way back.

    Nothing is cut or reset inside a segment: the states are those of one pass over it.

    Args:
        model: the `Chain`.
        params: NumPy arrays; their dtype is that of everything.
        series: rows with targets.
        lags: how far back, K rows.
        sample: how many rows t, drawn without repetition among those with at least K rows of their segment before
            them; all of these where they are fewer.
        backend: a name or a backend.
        loss: as for `fit`.
        seed: of the sample.

    Raises:
        DataError: no segment with more than K rows, or a number below 1.
        ModelError: a model, loss, target or parameters that do not fit.
    """
    engine, loss = find_backend(backend), as_loss(loss)
    check_parameters(model, params)
    series = as_trained(model, series, loss)
    rows = _sample(series, lags, sample, seed)
    kind = next(iter(params.values())).dtype
    own = engine.from_numpy(dict(params))
    first = rows - lags + 1
    x, _ = series.take(first + np.arange(lags)[:, None], kind)
    target = check_targets(loss, series.take(rows, kind)[1], model.outputs)
    state, tapes, y = engine.from_numpy(_states_before(engine, model, params, series, first)), [], None
    for row in x:
        y, state, tape = engine.forward(model, own, engine.from_numpy(row[None]), state)
        tapes.append(tape)
    d_y = row_gradient(loss, engine.to_numpy(y)[0], target).astype(kind)[None]
    norms: dict[str, list[float]] = {}
    d_state = None
    for tape in reversed(tapes):
        d_state = engine.backward(model, own, tape, engine.from_numpy(d_y), d_state).state
        d_y = np.zeros_like(d_y)  # the losses of the rows before are left out
        for name, norm in _norms(engine.to_numpy(d_state)).items():
            norms.setdefault(name, []).append(norm)
    return GradientReach(np.arange(1, lags + 1), {name: np.array(found) for name, found in norms.items()}, rows)


def _sample(series: Sequence, lags: int, sample: int, seed: int) -> np.ndarray:
    """Rows with at least so many rows of their segment before them, sorted."""
    for name, number in (("lags", lags), ("sample", sample)):
        if not is_whole(number) or number < 1:
            raise DataError(f"gradient_reach expects {name} to be a whole number >= 1, got {number!r}")
    counts = np.maximum(series.lengths - lags, 0)
    total = int(counts.sum())
    if not total:
        longest = int(series.lengths.max())
        raise DataError(
            f"gradient_reach(lags={lags}): the longest segment of {series.name!r} has {counted(longest, 'row')} with "
            f"a target; use lags <= {longest - 1}"
        )
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    nth = np.sort(rng.choice(total, min(sample, total), replace=False))
    segment = np.searchsorted(np.cumsum(counts), nth, side="right")
    return series.starts[segment] + lags + nth - (np.cumsum(counts) - counts)[segment]


def _states_before(
    engine: CompleteBackend, model: Chain, params: Mapping[str, np.ndarray], series: Sequence, rows: np.ndarray
) -> State:
    """The state before each of some sorted rows, a lane each, of a pass over its segment: NumPy arrays `(n, H)`."""
    own = engine.from_numpy(dict(params))
    dtype = next(iter(params.values())).dtype
    cold = initial_state(model, params, 1)
    found: list[State] = []
    state, at, begun = cold, -1, -1
    for row in rows:
        start = int(series.starts[np.searchsorted(series.starts, row, side="right") - 1])
        if start != begun:
            state, at, begun = cold, start, start
        for low in range(at, int(row), PASS_ROWS):
            x = series.read_x(low, min(low + PASS_ROWS, int(row)), dtype)
            _, after = engine.outputs(model, own, engine.from_numpy(x[:, None]), engine.from_numpy(state))
            state = engine.to_numpy(after)
        at = int(row)
        found.append(state)
    return tuple(
        type(entries[0])(*(np.concatenate(arrays) for arrays in zip(*entries, strict=True))) if entries[0] else ()
        for entries in zip(*found, strict=True)
    )


def _norms(d_state: State) -> dict[str, float]:
    """The 2-norm of every part of a gradient with respect to the state, and of all, in the mean over the lanes."""
    squares = {
        f"{index}.{name}": (np.asarray(d, np.float64) ** 2).sum(-1)
        for index, entry in enumerate(d_state)
        for name, d in zip(getattr(entry, "_fields", ()), entry, strict=True)
    }
    together = sum(squares.values()) if squares else np.zeros(1)  # without a recurrent layer nothing reaches back
    return {name: float(np.sqrt(s).mean()) for name, s in {"all": together, **squares}.items()}
