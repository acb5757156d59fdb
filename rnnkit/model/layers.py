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

LARGEST = 10**12
"""More units than a layer can have; the memory for far fewer is refused when it would be taken."""

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
class Heads:
    """Several outputs on the same layers, the last entry of a `Chain`: data sets share the layers before it.

    Backends run the chain of one head, `model.head(name)`.

    Args:
        **heads: by name, each a `Dense` or a `Chain` of `Dense` layers, all with the same inputs.

    Parameters are those of each head behind its name: `two.weight (O, I)`, `three.0.weight`, `three.1.bias`. There
    is no state.

    Raises:
        ModelError: no head, a name that is empty or has a dot, something else than dense layers, or other inputs.

    Example:
        >>> import rnnkit as rk
        >>> model = rk.Chain(rk.LSTM(1, 16), rk.Heads(two=rk.Dense(16, 2), three=rk.Dense(16, 3)))
        >>> model.heads, model.head("three").outputs
        (('two', 'three'), 3)
    """

    heads: tuple[tuple[str, Dense | Chain], ...]

    def __init__(self, /, **heads: Dense | Chain) -> None:
        object.__setattr__(self, "heads", tuple(heads.items()))
        if not heads:
            raise ModelError("Heads expects at least one head, got none; write Heads(two=Dense(16, 2))")
        for name, head in heads.items():
            if not name or "." in name:
                raise ModelError(f"Heads expects names that are not empty and have no dot, got {name!r}")
            layers = head.layers if isinstance(head, Chain) else (head,)
            if not all(isinstance(layer, Dense) for layer in layers):
                raise ModelError(
                    f"Heads expects each head to be a Dense or a Chain of Dense layers, got {name}={head!r}; "
                    f"let other layers stand before the heads"
                )
            if isinstance(head, Chain) and not isinstance(head.initial, Zeros):
                raise ModelError(f"Heads expects {name} to have no initial state, got one; give it to the outer Chain")
        first = next(iter(heads))
        for name, head in heads.items():
            if head.inputs != heads[first].inputs:
                raise ModelError(
                    f"Heads expects the same inputs for all heads, got {heads[first].inputs} for {first} and "
                    f"{head.inputs} for {name}; make them equal"
                )

    def __repr__(self) -> str:
        plain = all(name.isidentifier() for name, _ in self.heads)
        named = (f"{name}={head!r}" if plain else f"{name!r}: {head!r}" for name, head in self.heads)
        return f"Heads({', '.join(named)})" if plain else f"Heads(**{{{', '.join(named)}}})"

    @property
    def inputs(self) -> int:
        """Features of an input row."""
        return self.heads[0][1].inputs


@dataclass(frozen=True, init=False)
class Chain:
    """Layers in a row, the output of each the input of the next.

    Args:
        *layers: `LSTM` and `Dense` descriptions, at least one, whose sizes fit; `Heads` may stand last.
        initial: what the initial state of its recurrent layers is: `Zeros()`, `Learned()`, `Noise(...)`, `Given(...)`.

    Raises:
        ModelError: no layer, something that is no layer, sizes that do not fit, or an initial state of other sizes.

    Example:
        >>> import rnnkit as rk
        >>> model = rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 5, "tanh"), rk.Dense(5, 1))
        >>> model.inputs, model.outputs
        (1, 1)
    """

    layers: tuple[Layer | Heads, ...]
    initial: Initial

    def __init__(self, *layers: Layer | Heads, initial: Initial = Zeros()) -> None:  # noqa: B008 - frozen
        object.__setattr__(self, "layers", tuple(layers))
        object.__setattr__(self, "initial", initial)
        if not layers:
            raise ModelError("Chain expects at least one layer, got none; write Chain(LSTM(1, 10), Dense(10, 1))")
        for index, layer in enumerate(layers):
            if not isinstance(layer, Layer | Heads):
                raise ModelError(f"Chain expects layers (LSTM, Dense), got {type(layer).__name__} at position {index}")
        for index, (before, after) in enumerate(itertools.pairwise(layers)):
            if isinstance(before, Heads):
                raise ModelError(f"Chain expects Heads as its last entry, got it at position {index} of {len(layers)}")
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
        """Features of an output row.

        Raises:
            ModelError: a chain with heads, whose outputs differ.
        """
        return layers_to_run(self, "Chain.outputs")[-1].outputs

    @property
    def heads(self) -> tuple[str, ...]:
        """The names of its heads; none without `Heads`."""
        last = self.layers[-1]
        return tuple(name for name, _ in last.heads) if isinstance(last, Heads) else ()

    def head(self, name: str) -> Chain:
        """The chain of one head: the layers before the heads, then its own; the initial state is this chain's.

        Raises:
            ModelError: a chain without heads, or without this one.
        """
        last = self.layers[-1]
        if not isinstance(last, Heads):
            raise ModelError(f"Chain.head expects a chain that ends in Heads, got {self!r}; it is the chain to use")
        if name not in self.heads:
            raise ModelError(
                f"Chain.head expects one of {', '.join(self.heads)}, got {name!r}{did_you_mean(str(name), self.heads)}"
            )
        head = dict(last.heads)[name]
        own = head.layers if isinstance(head, Chain) else (head,)
        return Chain(*self.layers[:-1], *own, initial=self.initial)


def layers_to_run(model: Chain, who: str) -> tuple[Layer, ...]:
    """The layers of a chain that a backend can run; one of which no head has been chosen is refused.

    Raises:
        ModelError: a chain with `Heads`, in the name of `who`.
    """
    if model.heads:
        raise ModelError(
            f"{who} expects a chain with one output, got one with the heads {', '.join(model.heads)}; "
            f"choose one with model.head({model.heads[0]!r})"
        )
    return tuple(layer for layer in model.layers if not isinstance(layer, Heads))


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
def _(layer: Heads) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{key}": shape for name, head in layer.heads for key, shape in parameter_shapes(head).items()}


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
        if size > LARGEST:
            raise ModelError(f"{type(layer).__name__} expects {name} of at most {LARGEST:,}, got more; make it smaller")
