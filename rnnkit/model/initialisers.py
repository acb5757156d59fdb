"""Where parameters and state start: drawn in NumPy, once, for every backend."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np

from rnnkit.errors import ModelError
from rnnkit.model.layers import LSTM, Chain, Dense, parameter_shapes
from rnnkit.model.state import LSTMState, State

DTYPES = ("float32", "float64")


@singledispatch
def initial_parameters(layer: object, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw a layer's parameters in float64, as PyTorch does by default: uniform on ±1/√fan."""
    raise ModelError(f"initial_parameters expects a layer, got {type(layer).__name__}")


@initial_parameters.register
def _(layer: LSTM, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return _uniform(layer, rng, layer.hidden)


@initial_parameters.register
def _(layer: Dense, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return _uniform(layer, rng, layer.inputs)


@singledispatch
def initial_state(layer: object, lanes: int, dtype: np.dtype) -> Any:
    """A layer's state before its first row: zeros for an LSTM, `()` without state; for a chain, an entry a layer."""
    raise ModelError(f"initial_state expects a Chain or a layer, got {type(layer).__name__}")


@initial_state.register
def _(layer: LSTM, lanes: int, dtype: np.dtype) -> LSTMState:
    shape = (lanes, layer.hidden)
    return LSTMState(np.zeros(shape, dtype), np.zeros(shape, dtype))


@initial_state.register
def _(layer: Dense, lanes: int, dtype: np.dtype) -> tuple[()]:
    return ()


@initial_state.register
def _(layer: Chain, lanes: int, dtype: np.dtype) -> State:
    return tuple(initial_state(inner, lanes, dtype) for inner in layer.layers)


def setup(model: Chain, seed: int = 0, lanes: int = 1, dtype: str = "float32") -> tuple[dict[str, np.ndarray], State]:
    """Draw the parameters of a model and make its initial state.

    Args:
        model: a `Chain`.
        seed: a whole number; the same seed draws the same parameters for every backend and dtype.
        lanes: lanes B of the state.
        dtype: `"float32"` or `"float64"`; float32 parameters are the float64 ones, rounded.

    Returns:
        `(params, state)`: a flat dict of new arrays with keys `"{layer}.{name}"`, and a tuple with one entry a
        layer, `LSTMState(h, c)` of zeros `(B, H)` or `()`.

    Raises:
        ModelError: a dtype other than the two, no lane, or something that is no `Chain`.

    Example:
        >>> import rnnkit as rk
        >>> params, state = rk.setup(rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1)), seed=0, lanes=2)
        >>> params["0.weight_hh"].shape, state[0].h.shape, state[1]
        ((12, 3), (2, 3), ())
    """
    if not isinstance(model, Chain):
        raise ModelError(f"setup expects a Chain, got {type(model).__name__}; wrap the layer: Chain({model!r})")
    if dtype not in DTYPES:
        raise ModelError(f"setup expects dtype 'float32' or 'float64', got {dtype!r}")
    if lanes < 1:
        raise ModelError(f"setup expects at least one lane, got lanes={lanes}")
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    kind = np.dtype(dtype)
    params = {
        f"{index}.{name}": value.astype(kind)
        for index, layer in enumerate(model.layers)
        for name, value in initial_parameters(layer, rng).items()
    }
    return params, initial_state(model, lanes, kind)


def _uniform(layer: LSTM | Dense, rng: np.random.Generator, fan: int) -> dict[str, np.ndarray]:
    bound = fan**-0.5
    return {name: rng.uniform(-bound, bound, shape) for name, shape in parameter_shapes(layer).items()}
