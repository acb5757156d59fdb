"""Layers in a row: `forward` hands each layer's output to the next, `backward` walks back."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np

from rnnkit.backend import Gradients, check_arguments, check_gradients
from rnnkit.errors import ModelError
from rnnkit.model import Chain, Dense, Recurrent, State, initial_state, zero_state
from rnnkit_numpy import dense, recurrence


def forward(
    model: Chain,
    params: dict[str, np.ndarray],
    x: np.ndarray,
    state: State,
    reset: np.ndarray | None = None,
    valid: np.ndarray | None = None,
    initial: State | None = None,
) -> tuple[np.ndarray, State, Any]:
    """Run a chain over a window: `Backend.forward` of `rnnkit.backend` says what goes in and comes out."""
    reset, valid = check_arguments(model, params, x, state, reset, valid, initial)
    initial = initial_state(model, params, x.shape[1]) if initial is None else initial
    x = np.where(valid[..., None], x, 0)  # what stands at padding has no influence, NaN neither
    new_state, tapes = [], []
    for index, layer in enumerate(model.layers):
        x, after, tape = run_layer(layer, layer_params(params, index), x, state[index], reset, valid, initial[index])
        new_state.append(after)
        tapes.append(tape)
    return np.where(valid[..., None], x, 0), tuple(new_state), (valid, tapes)


def backward(
    model: Chain,
    params: dict[str, np.ndarray],
    tape: Any,
    d_y: np.ndarray,
    d_state: State | None = None,
) -> Gradients:
    """Walk back through a window: `Backend.backward` of `rnnkit.backend` says what goes in and comes out."""
    valid, tapes = tape
    check_gradients(model, valid.shape, d_y, d_state)
    d_x = np.where(valid[..., None], d_y, 0)
    d_params: dict[str, np.ndarray] = {}
    d_before: list[Any] = []
    for index in reversed(range(len(model.layers))):
        d_after = None if d_state is None else d_state[index]
        d_layer, d_entry, d_x = run_layer_back(
            model.layers[index], layer_params(params, index), tapes[index], d_x, d_after
        )
        d_params |= {f"{index}.{name}": gradient for name, gradient in d_layer.items()}
        d_before.append(d_entry)
    return Gradients({key: d_params[key] for key in params}, tuple(reversed(d_before)), d_x)


def layer_params(params: dict[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
    """The parameters of one layer, by their bare names."""
    prefix = f"{index}."
    return {key.removeprefix(prefix): value for key, value in params.items() if key.startswith(prefix)}


@singledispatch
def run_layer(layer: object, params, x, state, reset, valid, initial) -> tuple[np.ndarray, Any, Any]:
    """Forward pass of one layer: outputs, state after the last row, tape."""
    raise ModelError(f"backend 'numpy' cannot run the layer {layer!r}; {recurrence.known()}")


@run_layer.register
def _(layer: Recurrent, params, x, state, reset, valid, initial) -> tuple[np.ndarray, Any, Any]:
    return recurrence.forward(layer, params, x, state, reset, valid, initial)


@run_layer.register
def _(layer: Dense, params, x, state, reset, valid, initial) -> tuple[np.ndarray, Any, Any]:
    y, tape = dense.forward(layer, params, x)
    return y, (), tape


@singledispatch
def run_layer_back(layer: object, params, tape, d_y, d_after) -> tuple[dict[str, np.ndarray], Any, np.ndarray]:
    """Backward pass of one layer: gradients of its parameters, of the state before row 0, and of its inputs."""
    raise ModelError(f"backend 'numpy' cannot run the layer {layer!r}; {recurrence.known()}")


@run_layer_back.register
def _(layer: Recurrent, params, tape, d_y, d_after) -> tuple[dict[str, np.ndarray], Any, np.ndarray]:
    d_after = zero_state(layer, d_y.shape[1], d_y.dtype) if d_after is None else d_after
    return recurrence.backward(layer, params, tape, d_y, d_after)


@run_layer_back.register
def _(layer: Dense, params, tape, d_y, d_after) -> tuple[dict[str, np.ndarray], Any, np.ndarray]:
    d_params, d_x = dense.backward(layer, params, tape, d_y)
    return d_params, (), d_x
