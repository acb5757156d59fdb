"""One row at a time with as little as possible around it: what `rk.Stream` runs on.

Everything that a step needs is made once, most of it in one buffer: unpacking arrays for compiled code takes a while,
and to find out their types as long as a small layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rnnkit.backend import check_parameters
from rnnkit.model import Chain, State, parameter_shapes
from rnnkit_numba.arrays import aligned, common_dtype
from rnnkit_numba.compiled import compiled_for, entry
from rnnkit_numba.kernels.vectors import W_for, W_of
from rnnkit_numba.kernels.views import cube, matrix, vector
from rnnkit_numba.layers.given import Piece, net_of
from rnnkit_numba.layout import flatten, flatten_state, layout, unflatten_state
from rnnkit_numba.packing import pack
from rnnkit_numba.table import padded
from rnnkit_numba.window import forward as window_forward
from rnnkit_numba.window import read_outputs, read_state, start


class Sizes(NamedTuple):
    """Numbers of each part of the one buffer, in the order in which they stand there."""

    parameters: int
    packed: int
    tape: int
    work: int
    state: int
    x: int


class Stepper:
    """A model that reads one row a lane at a time and keeps its state.

    Args:
        model: the chain.
        params: its parameters; copied, so that later changes of them are not seen.
        lanes: independent streams side by side, B.
        state: what stands before the first row.

    Example:
        >>> import rnnkit as rk
        >>> model = rk.Chain(rk.LSTM(1, 3))
        >>> params, state = rk.setup(model)
        >>> Stepper(model, params, 1, state).step([[0.5]]).shape
        (1, 3)
    """

    def __init__(self, model: Chain, params: Mapping[str, Any], lanes: int, state: State) -> None:
        check_parameters(model, params)
        dtype = common_dtype(dict(params))
        plan = layout(model, 1, dtype)
        sizes = Sizes(
            padded(plan.parameters, W_for(dtype)),  # so that all that follows begins with a whole vector
            plan.packed,
            lanes * plan.tape,
            plan.scratch(lanes, dtype),
            lanes * plan.state,
            lanes * model.inputs,
        )
        buffer = aligned(sum(sizes), dtype, zeros=True)
        parts = np.split(buffer, np.cumsum(sizes)[:-1])
        parts[0][: plan.parameters] = flatten(parameter_shapes(model), params, dtype)
        masks = np.zeros((2, 1, lanes), np.bool_)
        masks[1] = True
        y_1BO = np.empty((1, lanes, model.outputs))
        self._model, self._lanes = model, lanes
        self._state, self._x = parts[4].reshape(lanes, plan.state), parts[5].reshape(lanes, model.inputs)
        self._y = y_1BO[0]
        self.state = state
        arguments = (plan.table, buffer, masks, y_1BO, sizes)
        run_step(*arguments, True)
        self._arguments = (*arguments, False)
        self._run = compiled_for(run_step, self._arguments)

    @property
    def state(self) -> State:
        """What the model remembers, a copy; replace it to continue from elsewhere."""
        return unflatten_state(self._model, self._state)

    @state.setter
    def state(self, state: State) -> None:
        self._state[:] = flatten_state(self._model, state, self._lanes, self._state.dtype)

    def step(self, x: Any) -> np.ndarray:
        """Read `(B, I)` of any float dtype, return `(B, O)` in float64, a new array."""
        self._x[...] = x
        self._run(*self._arguments)
        return self._y.copy()


@entry
def run_step(table, buffer, masks_21B, y_1BO, sizes, packing):
    """One row for all lanes, or, where `packing`, the weights from the parameters once for all rows."""
    q = sizes.parameters
    t = q + sizes.packed
    w = t + sizes.tape
    s = w + sizes.work
    x = s + sizes.state
    packed, tape = vector(buffer, q, sizes.packed), vector(buffer, t, sizes.tape)
    if packing:
        pack(table, vector(buffer, 0, sizes.parameters), packed)
        return
    lanes = masks_21B.shape[2]
    piece = Piece(tape, vector(buffer, w, sizes.work), masks_21B[0], masks_21B[1])
    state_BS = matrix(buffer, s, lanes, sizes.state // lanes)
    start(table, piece, cube(buffer, x, 1, lanes, sizes.x // lanes), state_BS, state_BS)
    window_forward(net_of(table, packed, W_of(packed)), piece)
    for b in range(lanes):
        read_state(table, tape, lanes, b, 1, state_BS[b])
    read_outputs(table, piece, y_1BO)
