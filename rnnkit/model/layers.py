"""Descriptions of a model: frozen dataclasses without arrays.

A layer says which sizes it has; `parameter_shapes` and `state_shapes` say what that means in arrays. What a layer
computes is each backend's to write; the equations stand in `rnnkit_numpy`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import singledispatch
from typing import Literal, get_args

from rnnkit.errors import ModelError, did_you_mean
from rnnkit.model.initial import Given, Initial, Learned, Zeros

GATES = ("i", "f", "g", "o")
"""The order in which an LSTM's four gates stand along the rows of its weights."""

INITIAL = ("initial_h", "initial_c")
"""What the parameters of a learned initial state are called, in the order of `LSTMState`."""

Activation = Literal["identity", "tanh", "relu", "sigmoid"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)


@dataclass(frozen=True)
class LSTM:
    """Long short-term memory, `inputs -> hidden`, with PyTorch's parameters and its two biases.

    For each row t, with σ the logistic function and ⊙ the elementwise product:

        i, f, g, o = σ, σ, tanh, σ of  weight_ih x[t] + bias_ih + weight_hh h[t-1] + bias_hh
        c[t] = f ⊙ c[t-1] + i ⊙ g
        h[t] = o ⊙ tanh(c[t])

    Args:
        inputs: features of each row, I.
        hidden: hidden units, H.

    Parameters are `weight_ih (4H, I)`, `weight_hh (4H, H)`, `bias_ih (4H,)`, `bias_hh (4H,)`, gates in the
    order i, f, g, o. The state is `LSTMState(h, c)`, each `(B, H)`.

    Raises:
        ModelError: a size that is not a positive whole number.

    Source: Hochreiter and Schmidhuber (1997); forget gate by Gers, Schmidhuber and Cummins (2000).
    """

    inputs: int
    hidden: int

    def __post_init__(self) -> None:
        _check_sizes(self, inputs=self.inputs, hidden=self.hidden)

    @property
    def outputs(self) -> int:
        """Features of each output row: the hidden units."""
        return self.hidden


@dataclass(frozen=True)
class Dense:
    """An affine map of each row and an activation: `y = activation(weight x + bias)`.

    Args:
        inputs: features of each row, I.
        outputs: features of each output row, O.
        activation: `"identity"`, `"tanh"`, `"relu"` or `"sigmoid"`.

    Parameters are `weight (O, I)`, `bias (O,)`. There is no state.

    Raises:
        ModelError: a size that is not a positive whole number, an unknown activation.
    """

    inputs: int
    outputs: int
    activation: Activation = "identity"

    def __post_init__(self) -> None:
        _check_sizes(self, inputs=self.inputs, outputs=self.outputs)
        if self.activation not in ACTIVATIONS:
            raise ModelError(
                f"Dense expects an activation among {', '.join(ACTIVATIONS)}, got {self.activation!r}"
                f"{did_you_mean(str(self.activation), ACTIVATIONS)}"
            )


Layer = LSTM | Dense


@dataclass(frozen=True, init=False)
class Chain:
    """Layers in a row, the output of each the input of the next.

    Args:
        *layers: `LSTM` and `Dense` descriptions, at least one, whose sizes fit.
        initial: what the initial state of its recurrent layers is: `Zeros()`, `Learned()`, `Noise(...)`, `Given(...)`.

    Raises:
        ModelError: no layer, something that is no layer, sizes that do not fit, or an initial state of other sizes.

    Example:
        >>> import rnnkit as rk
        >>> model = rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 5, "tanh"), rk.Dense(5, 1))
        >>> model.inputs, model.outputs
        (1, 1)
    """

    layers: tuple[Layer, ...]
    initial: Initial

    def __init__(self, *layers: Layer, initial: Initial = Zeros()) -> None:  # noqa: B008 - frozen
        object.__setattr__(self, "layers", tuple(layers))
        object.__setattr__(self, "initial", initial)
        if not layers:
            raise ModelError("Chain expects at least one layer, got none; write Chain(LSTM(1, 10), Dense(10, 1))")
        for index, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise ModelError(f"Chain expects layers (LSTM, Dense), got {type(layer).__name__} at position {index}")
        for index, (before, after) in enumerate(itertools.pairwise(layers)):
            if before.outputs != after.inputs:
                raise ModelError(
                    f"Chain: layer {index} gives {before.outputs} features, but layer {index + 1} "
                    f"({after}) expects {after.inputs}; make the two equal"
                )
        if not isinstance(initial, Initial):
            raise ModelError(
                f"Chain expects initial to be Zeros(), Learned(), Noise(...) or Given(...), got {initial!r}"
            )
        sizes = tuple(layer.hidden for layer in layers if isinstance(layer, LSTM))
        if isinstance(initial, Given):
            for name in ("h", "c"):
                got = tuple(len(row) for row in getattr(initial, name))
                if got != sizes:
                    raise ModelError(
                        f"Chain expects initial.{name} to have {sizes} numbers, a tuple for each recurrent layer, "
                        f"got {got}"
                    )

    def __repr__(self) -> str:
        initial = "" if isinstance(self.initial, Zeros) else f", initial={self.initial!r}"
        return f"Chain({', '.join(map(repr, self.layers))}{initial})"

    @property
    def inputs(self) -> int:
        """Features of an input row."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Features of an output row."""
        return self.layers[-1].outputs


@singledispatch
def parameter_shapes(layer: object) -> dict[str, tuple[int, ...]]:
    """Name and shape of each parameter of a layer, or (keys `"{layer}.{name}"`) of a chain."""
    raise ModelError(f"parameter_shapes expects a Chain or a layer, got {type(layer).__name__}")


@parameter_shapes.register
def _(layer: LSTM) -> dict[str, tuple[int, ...]]:
    gates, inputs, hidden = len(GATES) * layer.hidden, layer.inputs, layer.hidden
    return {
        "weight_ih": (gates, inputs),
        "weight_hh": (gates, hidden),
        "bias_ih": (gates,),
        "bias_hh": (gates,),
    }


@parameter_shapes.register
def _(layer: Dense) -> dict[str, tuple[int, ...]]:
    return {"weight": (layer.outputs, layer.inputs), "bias": (layer.outputs,)}


@parameter_shapes.register
def _(layer: Chain) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for index, inner in enumerate(layer.layers):
        shapes |= {f"{index}.{name}": shape for name, shape in parameter_shapes(inner).items()}
        if isinstance(layer.initial, Learned) and isinstance(inner, LSTM):
            shapes |= {f"{index}.{name}": (inner.hidden,) for name in INITIAL}
    return shapes


def _check_sizes(layer: object, **sizes: int) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ModelError(f"{type(layer).__name__} expects {name} to be a positive whole number, got {size!r}")
