"""Several outputs on the same layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rnnkit.errors import ModelError
from rnnkit.model.layers.dense import Dense
from rnnkit.model.layers.initial import Zeros
from rnnkit.model.layers.protocol import initial_parameters, parameter_shapes, zero_state

if TYPE_CHECKING:
    from rnnkit.model.layers.chain import Chain


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
        from rnnkit.model.layers.chain import Chain  # which knows heads

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


@parameter_shapes.register
def _(layer: Heads) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{key}": shape for name, head in layer.heads for key, shape in parameter_shapes(head).items()}


@initial_parameters.register
def _(layer: Heads, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        f"{name}.{key}": value for name, head in layer.heads for key, value in initial_parameters(head, rng).items()
    }


@zero_state.register
def _(layer: Heads, lanes: int, dtype: np.dtype) -> tuple[()]:
    return ()
