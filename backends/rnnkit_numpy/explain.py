"""Every number of a pass, layer by layer and row by row, for `rk.trace`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from rnnkit.backend import LayerPass
from rnnkit.errors import ModelError
from rnnkit.model import Chain, Dense, Recurrent
from rnnkit_numpy import dense, recurrence
from rnnkit_numpy.chain import layer_params
from rnnkit_numpy.recurrence import Arrays


class BackRow(NamedTuple):
    """One row of a layer on the way back.

    Attributes:
        seen: the derivatives by name, `(..., H)`.
        d_state: with respect to the state before the row, like a state's entry.
        d_x: with respect to what the layer reads.
    """

    seen: Arrays
    d_state: Any
    d_x: np.ndarray


def explain(model: Chain, params: Mapping[str, np.ndarray]) -> tuple[LayerPass, ...]:
    """For each layer of a chain an object with its numbers: `forward` over rows, and `back` through one row.

    `forward(x, state, reset, initial)` takes `x (T, I)`, the state before row 0 and what a reset makes of it, `(1, H)`
    each, and `reset (T,)`, and returns the forward numbers by name, `(T, ...)`, and the output `(T, O)`.

    `back(rows, t, d_y, d_state)` takes what `forward` gave, and the derivatives with respect to the output of row t and
    to the state after it from the rows after it, `(..., H)`: as many side by side as you like. It returns a `BackRow`.
    """
    return tuple(explained(layer, layer_params(dict(params), index)) for index, layer in enumerate(model.layers))


@singledispatch
def explained(layer: object, params: Arrays) -> LayerPass:
    """The numbers of one layer, with its parameters by their bare names."""
    raise ModelError(f"backend 'numpy' cannot run the layer {layer!r}; {recurrence.known()}")


@explained.register
def _(layer: Recurrent, params: Arrays) -> LayerPass:
    return RecurrentNumbers(layer, params)


@explained.register
def _(layer: Dense, params: Arrays) -> LayerPass:
    return DenseNumbers(layer, params)


@dataclass(frozen=True)
class RecurrentNumbers:
    """The numbers of a recurrent layer, those of `rnnkit_numpy.recurrence` and of its cell."""

    layer: Recurrent
    params: Arrays

    def forward(self, x: np.ndarray, state: Any, reset: np.ndarray, initial: Any) -> tuple[Arrays, np.ndarray]:
        """Run the layer over some rows, and give every number by name."""
        layer, lane = self.layer, np.s_[:, None]
        valid = np.ones_like(reset)
        y, _, tape = recurrence.forward(layer, self.params, x[lane], state, reset[lane], valid[lane], initial)
        before = {f"{s}_before": values[:, 0] for s, values in zip(layer.State._fields, tape.before, strict=True)}
        gates = recurrence.products(layer, self.params, x, tape.before[0][:, 0])  # (2)
        pre = {f"{gate}_pre": gates[gate] for gate in layer.gates}
        return {"x": x} | before | pre | {name: values[:, 0] for name, values in tape.seen.items()}, y[:, 0]

    def back(self, rows: Arrays, t: int, d_y: np.ndarray, d_state: Any) -> BackRow:
        """Go back through row t."""
        layer, fields = self.layer, self.layer.State._fields
        if d_y.ndim == 1:
            one = self.back(rows, t, d_y[None], layer.State(*(d[None] for d in d_state)))
            d_before = layer.State(*(d[0] for d in one.d_state))
            return BackRow({name: d[0] for name, d in one.seen.items()}, d_before, one.d_x[0])
        seen = {name: values[t] for name, values in rows.items()}
        before = layer.State(*(seen[f"{s}_before"] for s in fields))
        d_after = layer.State(d_y + d_state[0], *d_state[1:])  # (n')
        d_pre, past, told = recurrence.cell_of(layer).backward(seen, before, d_after)  # (P')
        d_a, d_u = recurrence.side_by_side(layer, d_pre)
        d_x, d_h = d_a @ self.params["weight_ih"], d_u @ self.params["weight_hh"]  # (2')
        others = (np.zeros_like(d) if p is None else p for p, d in zip(past[1:], d_after[1:], strict=True))
        d_before = layer.State(d_h if past[0] is None else past[0] + d_h, *others)
        pre = {f"d_{gate}_pre": d_pre[gate] for gate in layer.gates}
        handed = {f"d_{s}_before": d for s, d in zip(fields, d_before, strict=True)}
        return BackRow({"d_y": d_y} | told | pre | {"d_x": d_x} | handed, d_before, d_x)


@dataclass(frozen=True)
class DenseNumbers:
    """The numbers of a dense layer, those of `rnnkit_numpy.dense`."""

    layer: Dense
    params: Arrays

    def forward(self, x: np.ndarray, state: Any, reset: np.ndarray, initial: Any) -> tuple[Arrays, np.ndarray]:
        """Run the layer over some rows, and give every number by name."""
        y = dense.forward(self.layer, self.params, x[:, None])[0][:, 0]
        return {"x": x, "pre": x @ self.params["weight"].T + self.params["bias"], "y": y}, y  # (1)

    def back(self, rows: Arrays, t: int, d_y: np.ndarray, d_state: Any) -> BackRow:
        """Go back through row t."""
        d_pre = d_y * dense.DERIVATIVE[self.layer.activation](rows["y"][t])  # (2')
        d_x = d_pre @ self.params["weight"]  # (1')
        return BackRow({"d_y": d_y, "d_pre": d_pre, "d_x": d_x}, (), d_x)
