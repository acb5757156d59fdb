"""Layers in a row."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rnnkit.errors import ModelError, counted, did_you_mean
from rnnkit.model.layers.heads import Heads
from rnnkit.model.layers.initial import Given, Initial, Learned, Zeros
from rnnkit.model.layers.kinds import LAYERS
from rnnkit.model.layers.protocol import Layer, initial_parameters, parameter_shapes, zero_state
from rnnkit.model.layers.recurrence import Recurrent, initial_shapes
from rnnkit.model.ranges import Range, linear_end, named_last, output_range
from rnnkit.model.state import State


@dataclass(frozen=True, init=False)
class Chain:
    """Layers in a row, the output of each the input of the next.

    Args:
        *layers: descriptions such as `LSTM` and `Dense`, at least one, whose sizes fit; `Heads` may stand last.
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
                known = ", ".join(kind.__name__ for kind in LAYERS)
                raise ModelError(f"Chain expects layers ({known}), got {type(layer).__name__} at position {index}")
        for index, (before, after) in enumerate(itertools.pairwise(layers)):
            if isinstance(before, Heads):
                raise ModelError(f"Chain expects Heads as its last entry, got it at position {index} of {len(layers)}")
            if before.outputs != after.inputs:
                raise ModelError(
                    f"Chain: layer {index} gives {counted(before.outputs, 'feature')}, but layer {index + 1} "
                    f"({after}) expects {after.inputs}; make the two equal"
                )
        if not isinstance(initial, Initial):
            raise ModelError(
                f"Chain expects initial to be Zeros(), Learned(), Noise(...) or Given(...), got {initial!r}"
            )
        if isinstance(initial, Given):
            _check_given(initial, self.layers)

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


@parameter_shapes.register
def _(layer: Chain) -> dict[str, tuple[int, ...]]:
    return dict(_chain_shapes(layer))


@lru_cache(maxsize=64)
def _chain_shapes(layer: Chain) -> dict[str, tuple[int, ...]]:
    """Name and shape of each parameter of a chain, asked for at every call of a backend."""
    shapes = {}
    for index, inner in enumerate(layer.layers):
        own = parameter_shapes(inner) | (initial_shapes(inner) if isinstance(layer.initial, Learned) else {})
        shapes |= {f"{index}.{name}": shape for name, shape in own.items()}
    return shapes


@initial_parameters.register
def _(layer: Chain, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        f"{index}.{name}": value
        for index, inner in enumerate(layer.layers)
        for name, value in initial_parameters(inner, rng).items()
    }


@zero_state.register
def _(layer: Chain, lanes: int, dtype: np.dtype) -> State:
    return tuple(zero_state(inner, lanes, dtype) for inner in layer.layers)


@output_range.register
def _(layer: Chain) -> Range:
    return output_range(layers_to_run(layer, "output_range")[-1])


@named_last.register
def _(layer: Chain) -> str:
    return named_last(layers_to_run(layer, "output_range")[-1])


@linear_end.register
def _(layer: Chain) -> str:
    return linear_end(layers_to_run(layer, "output_range")[-1])


def _check_given(initial: Given, layers: tuple[Layer | Heads, ...]) -> None:
    """Raises ModelError for fixed numbers that are not as many as the recurrent layers' states have."""
    widths: dict[str, list[int]] = {}
    for layer in layers:
        if isinstance(layer, Recurrent):
            for name, width in zip(layer.State._fields, layer.widths, strict=True):
                widths.setdefault(name, []).append(width)
    given = dict(initial.states)
    for name in {**widths, **given}:
        sizes, got = tuple(widths.get(name, ())), tuple(len(row) for row in given.get(name, ()))
        if got != sizes:
            raise ModelError(
                f"Chain expects initial.{name} to have {sizes} numbers, a tuple for each recurrent layer, got {got}"
            )
