"""Where parameters and state start: drawn in NumPy, once, for every backend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnkit.checks import COUNTED, is_whole
from rnnkit.errors import ModelError, counted
from rnnkit.memory import as_bytes, whole_memory
from rnnkit.model.layers import (
    Chain,
    Given,
    Learned,
    Noise,
    initial_names,
    initial_parameters,
    parameter_shapes,
    state_type,
    zero_state,
)
from rnnkit.model.state import State

DTYPES = ("float32", "float64")


def initial_state(model: Chain, params: Mapping[str, Any], lanes: int, noise: State | None = None) -> State:
    """The initial state of every lane, new NumPy arrays `(B, width)` in the dtype of the parameters.

    Args:
        model: the chain; its `initial` says what the initial state is.
        params: NumPy arrays; those of a learned initial state are read.
        lanes: lanes B.
        noise: what was drawn for `Noise`; left out, zeros.

    Returns:
        A tuple with one entry a layer, the named tuple of its state's arrays or `()`.
    """
    dtype = np.dtype(next(iter(params.values())).dtype)
    state = zero_state(model, lanes, dtype)
    initial = model.initial
    if isinstance(initial, Noise) and noise is not None:
        return noise
    if isinstance(initial, Learned):
        names = (initial_names(state_type(layer)) for layer in model.layers)
        rows = ([params[f"{index}.{name}"] for name in own] for index, own in enumerate(names))
    elif isinstance(initial, Given):
        given = {name: iter(rows) for name, rows in initial.states}
        rows = ([next(given[name]) for name in entry._fields] if entry else [] for entry in state)
    else:
        return state
    return tuple(
        type(entry)(*(np.tile(np.asarray(row, dtype), (lanes, 1)) for row in own)) if entry else ()
        for entry, own in zip(state, rows, strict=True)
    )


def noise_generator(model: Chain, seed: int, epoch: int) -> np.random.Generator | None:
    """From which `Noise` draws the initial states of an epoch; None for every other initial state."""
    if not isinstance(model.initial, Noise):
        return None
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,)))


def draw_noise(model: Chain, rng: np.random.Generator | None, windows: int, lanes: int, dtype: Any) -> State | None:
    """What `Noise` draws for some windows, `(K, B, width)` each; None for every other initial state.

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
        type(entry)(*(next(parts).reshape(windows, *zeros.shape) for zeros in entry)) if entry else ()
        for entry in state
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
        layer, such as `LSTMState(h, c)`, each `(B, H)`, or `()`: the model's initial state (zeros for `Noise`).

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
            f"{model!r} has {counted(count, 'parameter')}, {as_bytes(needed)} as {np.dtype(dtype)}{times}, and this "
            f"machine has {as_bytes(whole_memory())} of memory; take fewer hidden units"
        )
