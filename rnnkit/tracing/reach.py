"""How strongly the loss of every row depends on the state after every row before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnkit.errors import ModelError
from rnnkit.model import Chain, state_type, zero_state
from rnnkit.tracing.layers import Arrays, LayerPass

FAINT = 1e-100
"""A gradient all of whose numbers are smaller has died away: it is followed no further, and zero from there on."""


@dataclass(frozen=True, eq=False)
class TraceReach:
    """The reach of the losses of n rows t over the states of T rows s, nothing cut but at resets.

        norms["h"][k, s] = ‖∂ loss(t) / ∂ h(s)‖ with t = at[k],    0 where s > t

    Attributes:
        layer: whose state it is.
        at: `(n,)`; places, from 0, of the rows t among the traced rows.
        since: `(n,)`; the first row since which the state was not reset before row t: no loss reaches further.
        norms: by state array, `(n, T)` float64: 2-norms over the units; attributes, too, such as `reach.h`. The loss is
            that of the row, without its weight.
    """

    layer: int
    at: np.ndarray
    since: np.ndarray
    norms: Arrays

    def __getattr__(self, name: str) -> np.ndarray:
        norms = vars(self).get("norms", {})  # none yet while a copy is made
        if name not in norms:
            raise AttributeError(f"the reach has no {name!r}, only {', '.join(norms)}")
        return norms[name]

    def by_lag(self, part: str | None = None) -> np.ndarray:
        """Mean over the rows t by lag t - s, `(T,)` from lag 0: over the rows whose state goes so far back.

        NaN at lags that no row has. `part` is one of the state arrays; left out, the first, which the layer gives out.
        """
        matrix = self.norms[next(iter(self.norms)) if part is None else part]
        sums, counts = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1])
        for row, t, first in zip(matrix, self.at, self.since, strict=True):
            sums[: t + 1 - first] += row[first : t + 1][::-1]
            counts[: t + 1 - first] += 1
        return np.where(counts > 0, sums, np.nan) / np.maximum(counts, 1)


def reach_of(
    model: Chain,
    passes: tuple[LayerPass, ...],
    forward: list[Arrays],
    d_loss: np.ndarray,
    reset: np.ndarray,
    layer: int,
    at: np.ndarray,
) -> TraceReach:
    """Walk back once with the gradients of all n losses side by side: T steps on arrays `(n, H)`.

    Args:
        passes: the numbers of each layer.
        forward: what the `forward` of each gave.
        d_loss: `(T, O)`, the derivative of each row's loss with respect to its output.
        reset: `(T,)` bool; no gradient goes from there to the row before.
        layer: whose state; a recurrent layer.
        at: `(n,)` sorted places of the losses.
    """
    steps, count = len(reset), len(at)
    since = np.maximum.accumulate(np.where(reset, np.arange(steps), 0))[at]
    state: Any = state_type(model.layers[layer])
    found = TraceReach(layer, at, since, {part: np.zeros((count, steps)) for part in state._fields})
    above = range(layer, len(model.layers))
    d_states: dict[int, Any] = {k: zero_state(model.layers[k], count, d_loss.dtype) for k in above}
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
                back = passes[k].back(forward[k], s, d, after)
                for a, b in zip(begun, back.d_state, strict=True):
                    a[lanes] = b
                d = back.d_x
                if k == layer:
                    for part, norm in found.norms.items():
                        norm[lanes, s] = np.sqrt((back.seen[f"d_{part}"] ** 2).sum(-1))
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
    recurrent = [index for index, inner in enumerate(model.layers) if state_type(inner) is not None]
    chosen = recurrent[0] if layer is None else layer
    if chosen not in recurrent:
        raise ModelError(f"{who} expects a recurrent layer, one of {', '.join(map(str, recurrent))}, got {layer!r}")
    return chosen
