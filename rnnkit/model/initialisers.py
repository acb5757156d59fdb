"""Where parameters and state start: drawn in NumPy, once, for every backend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import numpy as np

from rnnkit.checks import COUNTED, is_whole
from rnnkit.errors import ModelError
from rnnkit.memory import as_bytes, whole_memory
from rnnkit.model.initial import Given, Learned, Noise
from rnnkit.model.layers import INITIAL, LSTM, Chain, Dense, Heads, parameter_shapes
from rnnkit.model.state import LSTMState, State

DTYPES = ("float32", "float64")


@singledispatch
def initial_parameters(layer: object, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw the parameters of a layer or a chain in float64, as PyTorch does by default: uniform on ±1/√fan."""
    raise ModelError(f"initial_parameters expects a Chain or a layer, got {type(layer).__name__}")


@initial_parameters.register
def _(layer: LSTM, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return _uniform(layer, rng, layer.hidden)


@initial_parameters.register
def _(layer: Dense, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return _uniform(layer, rng, layer.inputs)


@initial_parameters.register
def _(layer: Heads, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        f"{name}.{key}": value for name, head in layer.heads for key, value in initial_parameters(head, rng).items()
    }


@initial_parameters.register
def _(layer: Chain, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        f"{index}.{name}": value
        for index, inner in enumerate(layer.layers)
        for name, value in initial_parameters(inner, rng).items()
    }


@singledispatch
def zero_state(layer: object, lanes: int, dtype: np.dtype) -> Any:
    """Zeros in the shape of a layer's state, `()` without state; for a chain, an entry a layer.

    What the initial state of a chain is, `initial_state` says.
    """
    raise ModelError(f"zero_state expects a Chain or a layer, got {type(layer).__name__}")


@zero_state.register
def _(layer: LSTM, lanes: int, dtype: np.dtype) -> LSTMState:
    shape = (lanes, layer.hidden)
    return LSTMState(np.zeros(shape, dtype), np.zeros(shape, dtype))


@zero_state.register(Dense)
@zero_state.register(Heads)
def _(layer: Dense | Heads, lanes: int, dtype: np.dtype) -> tuple[()]:
    return ()


@zero_state.register
def _(layer: Chain, lanes: int, dtype: np.dtype) -> State:
    return tuple(zero_state(inner, lanes, dtype) for inner in layer.layers)


def initial_state(model: Chain, params: Mapping[str, Any], lanes: int, noise: State | None = None) -> State:
    """The initial state of every lane, new NumPy arrays `(B, H)` in the dtype of the parameters.

    Args:
        model: the chain; its `initial` says what the initial state is.
        params: NumPy arrays; those of a learned initial state are read.
        lanes: lanes B.
        noise: what was drawn for `Noise`; left out, zeros.

    Returns:
        A tuple with one entry a layer, `LSTMState(h, c)` or `()`.
    """
    dtype = np.dtype(next(iter(params.values())).dtype)
    state = zero_state(model, lanes, dtype)
    initial = model.initial
    if isinstance(initial, Noise) and noise is not None:
        return noise
    if isinstance(initial, Learned):
        rows = ([params[f"{index}.{name}"] for name in INITIAL] if entry else () for index, entry in enumerate(state))
    elif isinstance(initial, Given):
        recurrent = iter(zip(initial.h, initial.c, strict=True))
        rows = (next(recurrent) if entry else () for entry in state)
    else:
        return state
    return tuple(
        LSTMState(*(np.tile(np.asarray(row, dtype), (lanes, 1)) for row in pair)) if entry else ()
        for entry, pair in zip(state, rows, strict=True)
    )


def noise_generator(model: Chain, seed: int, epoch: int) -> np.random.Generator | None:
    """From which `Noise` draws the initial states of an epoch; None for every other initial state."""
    if not isinstance(model.initial, Noise):
        return None
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,)))


def draw_noise(model: Chain, rng: np.random.Generator | None, windows: int, lanes: int, dtype: Any) -> State | None:
    """What `Noise` draws for some windows, `(K, B, H)` each; None for every other initial state.

    Args:
        rng: the epoch's `noise_generator`; its windows are drawn in order.
    """
    if rng is None or not isinstance(model.initial, Noise):
        return None
    state = zero_state(model, lanes, np.dtype(dtype))
    sizes = [zeros.size for entry in state for zeros in entry]
    # window by window, so that it does not matter how many are drawn at a time
    drawn = (model.initial.scale * rng.standard_normal((windows, sum(sizes)))).astype(dtype)
    parts = iter(np.split(drawn, np.cumsum(sizes)[:-1], axis=1))
    return tuple(
        LSTMState(*(next(parts).reshape(windows, *zeros.shape) for zeros in entry)) if entry else () for entry in state
    )


def setup(model: Chain, seed: int = 0, lanes: int = 1, dtype: str = "float32") -> tuple[dict[str, np.ndarray], State]:
    """Draw the parameters of a model and make its initial state.

    Args:
        model: a `Chain`.
        seed: a whole number; the same seed draws the same parameters for every backend and dtype.
        lanes: lanes B of the state.
        dtype: `"float32"` or `"float64"`; float32 parameters are the float64 ones, rounded.

    Returns:
        `(params, state)`: a flat dict of new arrays with keys `"{layer}.{name}"`, and a tuple with one entry a
        layer, `LSTMState(h, c)`, each `(B, H)`, or `()`: the model's initial state (zeros for `Noise`).

    Raises:
        ModelError: a dtype other than the two, no lane, something that is no `Chain`, or one that does not fit into
            memory.

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
    if not is_whole(lanes) or not 1 <= lanes < COUNTED:
        raise ModelError(f"setup expects at least one lane, got lanes={lanes!r}")
    if not is_whole(seed) or seed < 0:  # of any size
        raise ModelError(f"setup expects seed to be a whole number >= 0, got {seed!r}; write seed=0")
    check_memory(model, np.float64)
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    kind = np.dtype(dtype)
    drawn = {key: value.astype(kind) for key, value in initial_parameters(model, rng).items()}
    shapes = parameter_shapes(model)
    params = {key: drawn[key] if key in drawn else np.zeros(shape, kind) for key, shape in shapes.items()}
    return params, initial_state(model, params, lanes)


def check_memory(model: Chain, dtype: Any, copies: int = 1) -> None:
    """Check that the parameters of a model fit into memory.

    Args:
        model: the chain.
        dtype: of the numbers.
        copies: arrays that there will be for each of them.

    Raises:
        ModelError: they do not; it says how many bytes they take.
    """
    count = sum(math.prod(shape) for shape in parameter_shapes(model).values())
    needed = count * np.dtype(dtype).itemsize * copies
    if needed > whole_memory():
        times = f" {copies} times over (gradient and optimizer)" if copies > 1 else ""
        raise ModelError(
            f"{model!r} has {count:,} parameters, {as_bytes(needed)} as {np.dtype(dtype)}{times}, and this machine has "
            f"{as_bytes(whole_memory())} of memory; take fewer hidden units"
        )


def _uniform(layer: LSTM | Dense, rng: np.random.Generator, fan: int) -> dict[str, np.ndarray]:
    bound = fan**-0.5
    return {name: rng.uniform(-bound, bound, shape) for name, shape in parameter_shapes(layer).items()}
