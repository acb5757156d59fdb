"""What all recurrent layers share: parameters, state and its initial values, from the gates and states of the cell.

A *cell* is what a recurrent layer does in a row. For every gate k it takes a product with the row's inputs, one with
the output of the row before, or both, and a pointwise function makes the new state of them:

    a_k = W_k x[t] + b_k  +  R_k h[t-1] + r_k        for each gate k
    state[t] = P(a, state[t-1])                      pointwise over the hidden units

The first array of the state is what the layer gives out. `docs/cells.md` has well-known cells in this form.
"""

from __future__ import annotations

from math import inf
from typing import Any, ClassVar

import numpy as np

from rnnkit.model.layers.labels import Labels
from rnnkit.model.layers.protocol import Layer, initial_parameters, parameter_shapes, state_type, uniform, zero_state
from rnnkit.model.ranges import Range, output_range


class Recurrent(Layer):
    """A layer with a state. Its cell says its gates, its states, and the labels for people; the rest follows.

    Parameters are `weight_ih (X H, I)`, `weight_hh (S H, O)`, `bias_ih (X H,)` and `bias_hh (S H,)`, with X and S the
    numbers of gates in `from_x` and `from_state`, each gate's H rows in their order.

    Attributes:
        inputs: features of each row, I.
        hidden: hidden units, H.
        State: the named tuple of the state's arrays, each `(B, its own width)`; the first is what the layer gives out.
    """

    hidden: int
    State: ClassVar[type[Any]]

    @property
    def gates(self) -> tuple[str, ...]:
        """The names of the gates, in the order of their rows in the weights."""
        raise NotImplementedError

    @property
    def labels(self) -> Labels:
        """What people read about the cell."""
        raise NotImplementedError

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers a lane of each state array."""
        return (self.hidden,) * len(self.State._fields)

    @property
    def from_x(self) -> tuple[str, ...]:
        """The gates that have a product with the row's inputs."""
        return self.gates

    @property
    def from_state(self) -> tuple[str, ...]:
        """The gates that have a product with the output of the row before."""
        return self.gates

    @property
    def outputs(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] - both are read alone
        """Features of each output row: the width of the first state."""
        return self.widths[0]


@parameter_shapes.register
def _(layer: Recurrent) -> dict[str, tuple[int, ...]]:
    from_x, from_state = len(layer.from_x) * layer.hidden, len(layer.from_state) * layer.hidden
    return {
        "weight_ih": (from_x, layer.inputs),
        "weight_hh": (from_state, layer.outputs),
        "bias_ih": (from_x,),
        "bias_hh": (from_state,),
    }


@initial_parameters.register
def _(layer: Recurrent, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return uniform(layer, rng, layer.hidden)


@state_type.register
def _(layer: Recurrent) -> type[Any]:
    return layer.State


@output_range.register
def _(layer: Recurrent) -> Range:
    return Range(-inf, inf)  # unless the cell knows better


@zero_state.register
def _(layer: Recurrent, lanes: int, dtype: np.dtype) -> Any:
    return layer.State(*(np.zeros((lanes, width), dtype) for width in layer.widths))


def initial_names(state: type[Any] | None) -> tuple[str, ...]:
    """What the parameters of a learned initial state are called, in the order of the state's fields.

    Example:
        >>> import rnnkit as rk
        >>> initial_names(rk.LSTMState)
        ('initial_h', 'initial_c')
    """
    return () if state is None else tuple(f"initial_{field}" for field in state._fields)


def initial_shapes(layer: object) -> dict[str, tuple[int, ...]]:
    """Name and shape of each parameter of a layer's learned initial state; none for a layer without state."""
    if not isinstance(layer, Recurrent):
        return {}
    return {name: (width,) for name, width in zip(initial_names(layer.State), layer.widths, strict=True)}
