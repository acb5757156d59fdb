"""What each kind of layer shows of its rows: forward, one row back, and what every row adds to the gradient.

The numbers are those of the textbook backend, by the names of its equations: see `rnnkit_numpy.recurrence`,
`rnnkit_numpy.lstm` and `rnnkit_numpy.dense`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import singledispatch
from typing import Any

import numpy as np

from rnnkit.backend import TEXTBOOK, LayerPass
from rnnkit.backend import backend as find_backend
from rnnkit.errors import ModelError, counted
from rnnkit.model import Chain, Dense, Recurrent, initial_names, state_type

Arrays = dict[str, np.ndarray]


class LayerTrace(Mapping[str, np.ndarray]):
    """Every number of a layer over T rows by name, float64: `seen["f"]`, or as an attribute, `seen.f`.

    A `d_` is the derivative of the mean loss of all rows, as far as the gradient goes. `x (T, I)` is what the layer
    reads, and `d_x`, `d_y` are the derivatives with respect to that and to what it gives. All others are `(T, H)`.

    Of a recurrent layer with the states h, c and the gates i, f, say:

        h_before, c_before          the state that the row starts from, after a reset where there is one
        i_pre, f_pre                the gates before their activation
        i, f, ..., h, c             all values of the cell, in the order of its equations
        d_y                         what comes back through the layer's output of this row; `d_h - d_y` comes back from
                                    the row after it
        d_h, d_c                    with respect to the state after the row, along every path
        d_i, d_f, d_i_pre, d_f_pre  with respect to the gates, and before their activation
        d_h_before, d_c_before      with respect to the state that the row starts from: what the row before is handed,
                                    or where the gradient is cut, what is lost

    Of a dense layer `pre` is what it gives before its activation, and `y (T, O)` what it gives.
    """

    def __init__(self, values: Mapping[str, np.ndarray], output: str) -> None:
        self._values, self._output = dict(values), output

    @property
    def output(self) -> np.ndarray:
        """What the layer gives, `(T, O)`."""
        return self._values[self._output]

    @property
    def forward(self) -> Arrays:
        """The numbers of the way forward, without derivatives."""
        return {name: values for name, values in self._values.items() if not name.startswith("d_")}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> np.ndarray:
        values = vars(self).get("_values", {})  # none yet while a copy is made
        if name not in values:
            raise AttributeError(f"the trace of a layer has no {name!r}, only {', '.join(values)}")
        return values[name]

    def __repr__(self) -> str:
        return f"LayerTrace({counted(len(self.output), 'row')}: {', '.join(self)})"


def explained(model: Chain, params: Mapping[str, np.ndarray]) -> tuple[LayerPass, ...]:
    """The numbers of each layer of a chain, of the textbook backend."""
    return find_backend(TEXTBOOK).explain(model, params)


def traced(layer: object, values: Mapping[str, np.ndarray]) -> LayerTrace:
    """The trace of a layer from its numbers forward and back."""
    state = state_type(layer)
    return LayerTrace(values, "y" if state is None else state._fields[0])


@singledispatch
def factors(layer: object, seen: LayerTrace, reset: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """What a row adds to the gradient of each parameter of a layer, as an outer product.

    Returns:
        By the parameters' bare names `(left, right)`: row t adds `left[t] right[t]ᵀ`, or `left[t]` where right is None.
    """
    raise ModelError(f"trace knows no parameters of {layer!r}")


@factors.register
def _(layer: Recurrent, seen: LayerTrace, reset: np.ndarray) -> dict[str, Any]:
    d_a, d_u = (
        np.concatenate([seen[f"d_{gate}_pre"] for gate in gates], -1) for gates in (layer.from_x, layer.from_state)
    )
    first, *_ = fields = layer.State._fields
    starts = (np.where(reset[:, None], seen[f"d_{field}_before"], 0) for field in fields)  # (1')
    return {
        "weight_ih": (d_a, seen["x"]),
        "weight_hh": (d_u, seen[f"{first}_before"]),
        "bias_ih": (d_a, None),
        "bias_hh": (d_u, None),
    } | {name: (d, None) for name, d in zip(initial_names(layer.State), starts, strict=True)}


@factors.register
def _(layer: Dense, seen: LayerTrace, reset: np.ndarray) -> dict[str, Any]:
    return {"weight": (seen["d_pre"], seen["x"]), "bias": (seen["d_pre"], None)}
