"""How strongly the loss of every row depends on the state after every row before it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rnnkit.errors import ModelError
from rnnkit.model import LSTM, Chain, LSTMState
from rnnkit.tracing.layers import Arrays, step_back

FAINT = 1e-100
"""A gradient all of whose numbers are smaller has died away: it is followed no further, and zero from there on."""


class Reach(NamedTuple):
    """The reach of the losses of n rows t over the states of T rows s, nothing cut but at resets.

        h[k, s] = ‖∂ loss(t) / ∂ h(s)‖ with t = at[k],    0 where s > t

    Attributes:
        layer: whose state it is.
        at: `(n,)`; places, from 0, of the rows t among the traced rows.
        since: `(n,)`; the first row since which the state was not reset before row t: no loss reaches further.
        h, c: `(n, T)` float64: 2-norms over the units. The loss is that of the row, without its weight.
    """

    layer: int
    at: np.ndarray
    since: np.ndarray
    h: np.ndarray
    c: np.ndarray

    def by_lag(self, part: str = "h") -> np.ndarray:
        """Mean over the rows t by lag t - s, `(T,)` from lag 0: over the rows whose state goes so far back.

        NaN at lags that no row has. `part` is `"h"` or `"c"`.
        """
        matrix = getattr(self, part)
        sums, counts = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1])
        for row, t, first in zip(matrix, self.at, self.since, strict=True):
            sums[: t + 1 - first] += row[first : t + 1][::-1]
            counts[: t + 1 - first] += 1
        return np.where(counts > 0, sums, np.nan) / np.maximum(counts, 1)


def reach_of(
    model: Chain,
    layer_params: list[Arrays],
    forward: list[Arrays],
    d_loss: np.ndarray,
    reset: np.ndarray,
    layer: int,
    at: np.ndarray,
) -> Reach:
    """Walk back once with the gradients of all n losses side by side: T steps on arrays `(n, H)`.

    Args:
        layer_params: of each layer, by their bare names.
        forward: what `forward_rows` gave for each layer.
        d_loss: `(T, O)`, the derivative of each row's loss with respect to its output.
        reset: `(T,)` bool; no gradient goes from there to the row before.
        layer: whose state; a recurrent layer.
        at: `(n,)` sorted places of the losses.
    """
    steps, count = len(reset), len(at)
    since = np.maximum.accumulate(np.where(reset, np.arange(steps), 0))[at]
    found = Reach(layer, at, since, np.zeros((count, steps)), np.zeros((count, steps)))
    zeros = lambda width: np.zeros((count, width))  # noqa: E731
    above = range(layer, len(model.layers))
    d_states: dict[int, Any] = {k: _entry(model.layers[k], zeros) for k in above}
    stop = count
    for s in reversed(range(steps)):
        first = int(np.searchsorted(at, s))  # earlier losses know nothing of row s
        lanes = slice(first, stop)
        if first < stop:
            d = np.zeros((stop - first, d_loss.shape[1]))
            if at[first] == s:
                d[0] = d_loss[s]
            for k in reversed(above):
                begun = d_states[k]
                after = type(begun)(*(a[lanes] for a in begun)) if begun else begun
                back = step_back(model.layers[k], layer_params[k], forward[k], s, d, after)
                for a, b in zip(begun, back.d_state, strict=True):
                    a[lanes] = b
                d = back.d_x
                if k == layer:
                    found.h[lanes, s] = np.sqrt((back.seen["d_h"] ** 2).sum(-1))
                    found.c[lanes, s] = np.sqrt((back.seen["d_c"] ** 2).sum(-1))
        if reset[s]:
            stop = min(stop, first)
        while stop > first and all(np.abs(a[stop - 1]).max() < FAINT for entry in d_states.values() for a in entry):
            stop -= 1
    return found


def check_recurrent(who: str, model: Chain, layer: int | None) -> int:
    """The recurrent layer that is meant: the only one, or the first where none is named.

    Raises:
        ModelError: a layer that is not recurrent.
    """
    recurrent = [index for index, inner in enumerate(model.layers) if isinstance(inner, LSTM)]
    chosen = recurrent[0] if layer is None else layer
    if chosen not in recurrent:
        raise ModelError(f"{who} expects a recurrent layer, one of {', '.join(map(str, recurrent))}, got {layer!r}")
    return chosen


def _entry(layer: object, zeros: Any) -> Any:
    return LSTMState(zeros(layer.hidden), zeros(layer.hidden)) if isinstance(layer, LSTM) else ()
