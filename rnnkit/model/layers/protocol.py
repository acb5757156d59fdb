"""What a layer is, and the questions that every layer answers: the bottom file.

The questions are functions that each layer answers in its own file; recurrent layers share their answers, see
`rnnkit.model.layers.recurrence`.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np

from rnnkit.errors import ModelError

LARGEST = 10**12
"""More units than a layer can have; the memory for far fewer is refused when it would be taken."""


class Layer:
    """A description in a `Chain`: a frozen dataclass without arrays.

    Attributes:
        inputs: features of an input row.
        outputs: features of an output row.
    """

    inputs: int
    outputs: int


@singledispatch
def parameter_shapes(layer: object) -> dict[str, tuple[int, ...]]:
    """Name and shape of each parameter of a layer, or (keys `"{layer}.{name}"`) of a chain."""
    raise ModelError(f"parameter_shapes expects a Chain or a layer, got {type(layer).__name__}")


@singledispatch
def initial_parameters(layer: object, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw the parameters of a layer or a chain in float64, as PyTorch does by default: uniform on ±1/√fan."""
    raise ModelError(f"initial_parameters expects a Chain or a layer, got {type(layer).__name__}")


@singledispatch
def state_type(layer: object) -> type[Any] | None:
    """The named tuple that holds a layer's state, by its fields `_fields`; None for a layer without state.

    Example:
        >>> import rnnkit as rk
        >>> state_type(rk.LSTM(1, 10))._fields, state_type(rk.Dense(10, 1))
        (('h', 'c'), None)
    """
    return None


@singledispatch
def zero_state(layer: object, lanes: int, dtype: np.dtype) -> Any:
    """Zeros in the shape of a layer's state, `()` without state; for a chain, an entry a layer.

    What the initial state of a chain is, `initial_state` says.
    """
    raise ModelError(f"zero_state expects a Chain or a layer, got {type(layer).__name__}")


@zero_state.register
def _(layer: Layer, lanes: int, dtype: np.dtype) -> tuple[()]:
    return ()


def uniform(layer: Layer, rng: np.random.Generator, fan: int) -> dict[str, np.ndarray]:
    """Draw every parameter of a layer uniformly on ±1/√fan, float64, in the order of `parameter_shapes`."""
    bound = fan**-0.5
    return {name: rng.uniform(-bound, bound, shape) for name, shape in parameter_shapes(layer).items()}


def check_sizes(layer: object, **sizes: int) -> None:
    """Raises ModelError for a size that is not a whole number from 1 to `LARGEST`."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ModelError(f"{type(layer).__name__} expects {name} to be a positive whole number, got {size!r}")
        if size > LARGEST:
            raise ModelError(f"{type(layer).__name__} expects {name} of at most {LARGEST:,}, got more; make it smaller")
