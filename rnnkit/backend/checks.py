"""Checks of what a backend is handed: names, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from rnnkit.errors import ModelError, counted
from rnnkit.model.layers import Chain, Learned, layers_to_run, parameter_shapes, zero_state


def check_arguments(
    model: Chain,
    params: Mapping[str, Any],
    x: Any,
    state: Sequence[Any],
    reset: np.ndarray | None,
    valid: np.ndarray | None,
    initial: Sequence[Any] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What every backend's `forward` checks first.

    Returns:
        `(reset, valid)`, bool `(T, B)`, filled in where they were left out.

    Raises:
        ModelError: a model with heads; parameters, x, state, reset or valid whose names or shapes do not fit it.
    """
    if not isinstance(model, Chain):
        raise ModelError(f"forward expects a Chain, got {type(model).__name__}; write rk.Chain(rk.LSTM(1, 10), ...)")
    layers_to_run(model, "forward")
    check_parameters(model, params)
    if not hasattr(x, "shape") or not isinstance(state, tuple):
        raise ModelError(
            f"forward expects x and state as the backend's arrays, got {type(x).__name__} and {type(state).__name__}; "
            f"make them with from_numpy(...) and rk.setup(model)"
        )
    dtypes = {array.dtype for array in (*params.values(), x)}
    if len(dtypes) > 1:
        raise ModelError(f"forward expects x and all parameters of one dtype, got {' and '.join(map(str, dtypes))}")
    if len(x.shape) != 3 or x.shape[2] != model.inputs:
        raise ModelError(
            f"forward expects x of shape (T, B, {model.inputs}) for {model}, got {tuple(x.shape)}; "
            f"arrays are time-major: rows, lanes, features"
        )
    steps, lanes = int(x.shape[0]), int(x.shape[1])
    if steps < 1 or lanes < 1:
        raise ModelError(f"forward expects at least one row and one lane, got x of shape {tuple(x.shape)}")
    expected, got = state_shapes(model, lanes), shapes_in(state)
    if got != expected:
        raise ModelError(
            f"forward expects a state of shapes {expected} for {counted(lanes, 'lane')}, got {got}; "
            f"make one with rk.setup(model, lanes={lanes})"
        )
    if initial is not None and isinstance(model.initial, Learned):
        raise ModelError("forward expects no initial state for a model with initial=Learned(): it stands in params")
    if initial is not None and shapes_in(initial) != expected:
        raise ModelError(f"forward expects an initial state of shapes {expected}, got {shapes_in(initial)}")
    masks = []
    for label, mask, default in (("reset", reset, False), ("valid", valid, True)):
        mask = np.full((steps, lanes), default) if mask is None else np.asarray(mask)
        if mask.shape != (steps, lanes) or mask.dtype != np.bool_:
            raise ModelError(
                f"forward expects {label} to be bool of shape {(steps, lanes)}, got {mask.dtype} {mask.shape}"
            )
        masks.append(mask)
    return masks[0], masks[1]


@lru_cache(maxsize=64)
def state_shapes(model: Chain, lanes: int) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """The shapes of a model's state, an entry a layer."""
    return shapes_of(zero_state(model, lanes, np.dtype(bool)))


def shapes_of(state: Sequence[Any]) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """The shapes of a state's arrays, an entry a layer."""
    return tuple(tuple(tuple(array.shape) for array in entry) for entry in state)


def shapes_in(state: Any) -> Any:
    """The shapes of whatever stands for a state; where it is none, what stands there, in words."""
    try:
        return shapes_of(state)
    except (AttributeError, TypeError):
        return "None" if state is None else f"{type(state).__name__} {state!r}"[:200]


def check_gradients(model: Chain, window: tuple[int, ...], d_y: Any, d_state: Sequence[Any] | None) -> None:
    """What every backend's `backward` checks first, for a window of `(T, B)`.

    Raises:
        ModelError: gradients whose shapes are not those of the outputs and of the state.
    """
    steps, lanes = window
    if tuple(d_y.shape) != (steps, lanes, model.outputs):
        raise ModelError(f"backward expects d_y of shape {(steps, lanes, model.outputs)}, got {tuple(d_y.shape)}")
    expected = state_shapes(model, lanes)
    if d_state is not None and shapes_in(d_state) != expected:
        raise ModelError(f"backward expects d_state of shapes {expected}, got {shapes_in(d_state)}")


def check_parameters(model: Chain, params: Mapping[str, Any]) -> None:
    """Check that parameters have the names and shapes that a model expects.

    Raises:
        ModelError: naming the first that does not.
    """
    expected = parameter_shapes(model)
    if not isinstance(params, Mapping):
        raise ModelError(
            f"the model expects its parameters as a dict of arrays, got {type(params).__name__}; "
            f"make them with rk.setup(model)"
        )
    for key, shape in expected.items():
        if key not in params:
            raise ModelError(
                f"the model expects a parameter {key!r} of shape {shape}, got none; make them with rk.setup(model)"
            )
        got = tuple(params[key].shape) if hasattr(params[key], "shape") else type(params[key]).__name__
        if got != shape:
            raise ModelError(
                f"the model expects parameter {key!r} of shape {shape}, got {got}; take those of "
                f"the same model, or make them with rk.setup(model)"
            )
    extra = [key for key in params if key not in expected]
    if extra:
        raise ModelError(f"the model expects no parameter {extra[0]!r}, got one; leave it out")
