"""A model as the kernels see it: a table of layers, and flat buffers for parameters, state and tape.

Every row of the table is one layer; its columns say what the layer is and where its numbers stand:

    KIND, INPUTS, OUTPUTS, ACTIVATION    what it computes; OUTPUTS are the hidden units of an LSTM
    READ, WIDTH                          numbers of a row of its inputs and of its outputs on the tape
    PARAMETERS                           its first parameter in the flat buffers
    LEARNED                              numbers of its learned initial state, which stands behind its biases
    PACKED, DERIVED                      its parameters in panels, and what is derived from them (`packing.py`)
    STATE                                its first number in a lane's row of the state `(B, S)`
    GATES, CELLS, HIDDEN, OUTPUT         its arrays on the tape, in numbers a lane
    INITIAL                              h₀ and c₀ of each lane, what a reset goes to, on the tape, too

Rows of every layer's outputs are padded to a whole number of vectors, so that no loop has a remainder: hidden
units that have no weights and stay zero. A tape holds one block of lanes after the other. Within a block of B lanes
every array is `(rows, B, width)`, so that an array which starts at n numbers a lane starts at n B.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, singledispatch
from typing import Any

import numpy as np

from rnnkit.backend import map_arrays
from rnnkit.errors import ModelError
from rnnkit.model import (
    ACTIVATIONS,
    LSTM,
    Chain,
    Dense,
    Learned,
    LSTMState,
    Rule,
    RuleState,
    State,
    layers_to_run,
    parameter_shapes,
    slot_names,
)
from rnnkit_numba.products import summing_scratch
from rnnkit_numba.single_lane import recurrent_rows
from rnnkit_numba.vectors import lanes_of

KIND, INPUTS, OUTPUTS, ACTIVATION, READ, WIDTH, PARAMETERS, LEARNED, PACKED, DERIVED, STATE = range(11)
GATES, CELLS, HIDDEN, OUTPUT, INITIAL = range(11, 16)
COLUMNS = 16

KIND_LSTM, KIND_DENSE = 0, 1

BLOCK_LANES = 16
"""Lanes that go through a window together; a constant, so that no sum depends on the number of threads."""


@dataclass(frozen=True)
class Layout:
    """Where everything stands.

    Attributes:
        table: `(layers, COLUMNS)` int64, read-only.
        parameters: numbers of all parameters, P.
        packed: numbers of the parameters in panels and of what is derived from them, all of which begin as zeros.
        panels: numbers of each parameter in its panels; all of them stand one after the other, at the start of those.
        state: numbers of one lane's state, S.
        tape: numbers of one lane's tape.
        work: numbers of one lane's scratch space.
        flops: multiplications and additions of one lane's forward pass.
    """

    table: np.ndarray
    parameters: int
    packed: int
    panels: dict[str, int]
    state: int
    tape: int
    work: int
    flops: int

    @property
    def gradients(self) -> int:
        """Numbers of all parameters in panels, and so of their gradients."""
        return sum(self.panels.values())

    def scratch(self, lanes: int, dtype: Any) -> int:
        """Numbers of scratch space for a block of so many lanes: rows of them, and that of the products."""
        return lanes * self.work + summing_scratch(int(self.table[:, [INPUTS, OUTPUTS]].sum(1).max()), lanes_of(dtype))


@dataclass(frozen=True)
class Extent:
    """What one layer takes: lengths, those of each parameter in its panels, and where its arrays on the tape start.

    These are counted from its own start.
    """

    kind: int
    activation: int
    panels: tuple[int, ...]
    derived: int
    state: int
    tape: int
    arrays: dict[int, int]


def padded(features: int, vector: int) -> int:
    """Features rounded up to a whole number of vectors."""
    return -(-features // vector) * vector


@singledispatch
def extent(layer: Any, steps: int, vector: int) -> Extent:
    """What a layer takes for a window of `steps` rows and vectors of so many numbers."""
    raise ModelError(f"backend 'numba' cannot run the layer {layer!r}; it knows LSTM and Dense")


@extent.register
def _(layer: LSTM, steps: int, vector: int) -> Extent:
    width = padded(layer.hidden, vector)
    gates = 4 * width
    cells = gates * steps
    hidden = cells + width * (steps + 1)
    return Extent(
        kind=KIND_LSTM,
        activation=0,
        panels=(gates * layer.inputs, gates * recurrent_rows.py_func(layer.hidden, vector), gates, gates),
        derived=gates * (1 + width + padded(layer.inputs, vector)),
        state=2 * layer.hidden,
        tape=hidden + width * (steps + 1) + 2 * width,
        arrays={GATES: 0, CELLS: cells, HIDDEN: hidden, OUTPUT: hidden + width, INITIAL: hidden + width * (steps + 1)},
    )


@extent.register
def _(layer: Dense, steps: int, vector: int) -> Extent:
    width = padded(layer.outputs, vector)
    return Extent(
        kind=KIND_DENSE,
        activation=ACTIVATIONS.index(layer.activation),
        panels=(width * layer.inputs, width),
        derived=layer.outputs * padded(layer.inputs, vector),
        state=0,
        tape=width * steps,
        arrays={GATES: 0, CELLS: 0, HIDDEN: 0, OUTPUT: 0, INITIAL: 0},
    )


@lru_cache(maxsize=64)
def layout(model: Chain, steps: int, dtype: Any) -> Layout:
    """The layout of a model for windows of `steps` rows.

    Raises:
        ModelError: a layer that this backend does not know, or heads.
    """
    layers = layers_to_run(model, "backend 'numba'")
    vector = lanes_of(dtype)
    table = np.zeros((len(layers), COLUMNS), np.int64)
    parameters = derived = state = flops = 0
    panels: dict[str, int] = {}
    read = model.inputs
    tape = padded(steps * read, vector)  # the inputs stand first; every array begins with a whole vector
    shapes = parameter_shapes(model)
    for index, (row, layer) in enumerate(zip(table, layers, strict=True)):
        taken = extent(layer, steps, vector)
        width = padded(layer.outputs, vector)
        learned = taken.state if isinstance(model.initial, Learned) else 0
        row[[KIND, INPUTS, OUTPUTS, ACTIVATION]] = taken.kind, layer.inputs, layer.outputs, taken.activation
        row[[READ, WIDTH, PARAMETERS, LEARNED]] = read, width, parameters, learned
        row[[PACKED, DERIVED, STATE]] = sum(panels.values()), derived, state
        for column, offset in taken.arrays.items():
            row[column] = tape + offset
        lengths = (*taken.panels, layer.outputs, padded(learned, vector) - layer.outputs)
        names = [key for key in shapes if key.startswith(f"{index}.")]
        panels |= dict(zip(names, lengths, strict=False))
        size = sum(math.prod(shape) for shape in parameter_shapes(layer).values())
        parameters += size + learned
        derived += taken.derived
        state += taken.state
        tape += taken.tape
        flops += 2 * size * steps
        read = width
    table[:, DERIVED] += sum(panels.values())
    table.flags.writeable = False
    widest = padded(int(table[:, [INPUTS, OUTPUTS]].max()), vector)
    work = (2 * steps + 3) * widest  # two gradients of a layer's rows; d_h, d_c or h⁻
    return Layout(table, parameters, sum(panels.values()) + derived + widest, panels, state, tape, work, flops)


Shapes = dict[str, tuple[int, ...]]


def flatten(shapes: Shapes, values: Mapping[str, Any], dtype: np.dtype) -> np.ndarray:
    """Parameters, or anything shaped like them, as one new buffer `(P,)`.

    Raises:
        ModelError: names or shapes other than those expected.
    """
    got = {key: tuple(value.shape) for key, value in values.items()}
    if got != shapes:
        raise ModelError(f"backend 'numba' expects arrays like the parameters, {shapes}, got {got}")
    return np.concatenate([np.ravel(values[key]) for key in shapes]).astype(dtype, copy=False)


def unflatten(shapes: Shapes, flat: np.ndarray, keys: Iterable[str]) -> dict[str, np.ndarray]:
    """Views of a flat buffer, in the order of `keys`."""
    views, offset = {}, 0
    for key, shape in shapes.items():
        size = math.prod(shape)
        views[key] = flat[offset : offset + size].reshape(shape)
        offset += size
    return {key: views[key] for key in keys}


def flatten_slots(shapes: Shapes, rule: Rule, rule_state: RuleState, dtype: np.dtype) -> np.ndarray:
    """What a rule remembers as one new array, a row of P numbers for each moment.

    Raises:
        ModelError: moments other than the rule's.
    """
    names = slot_names(rule)
    if set(rule_state.slots) != set(names):
        raise ModelError(
            f"update expects a rule state with the moments {names} for {rule}, "
            f"got {tuple(rule_state.slots)}; make one with initial_rule_state(rule, params)"
        )
    size = sum(math.prod(shape) for shape in shapes.values())
    slots = np.empty((len(names), size), dtype)
    for row, name in zip(slots, names, strict=True):
        row[:] = flatten(shapes, rule_state.slots[name], dtype)
    return slots


def flatten_state(model: Chain, state: State, lanes: int, dtype: np.dtype) -> np.ndarray:
    """A state, or its gradient, as one new array `(B, S)`, a row for each lane.

    Raises:
        ModelError: shapes that are not those of the model's state.
    """
    expected = [(lanes, layer.hidden) for layer in model.layers if isinstance(layer, LSTM) for _ in range(2)]
    arrays = [np.asarray(array, dtype) for entry in state for array in entry]
    if len(state) != len(model.layers) or [array.shape for array in arrays] != expected:
        raise ModelError(
            f"backend 'numba' expects a state of arrays {expected} for {model}, got {[array.shape for array in arrays]}"
        )
    return np.concatenate([np.empty((lanes, 0), dtype), *arrays], axis=1)


def unflatten_state(model: Chain, flat_BS: np.ndarray) -> State:
    """New arrays: the state of each layer."""
    return map_arrays(np.copy, state_views(model, flat_BS))


def state_views(model: Chain, flat_BS: np.ndarray) -> State:
    """The state of each layer, as views."""
    entries: list[Any] = []
    offset = 0
    for layer in model.layers:
        if not isinstance(layer, LSTM):
            entries.append(())
            continue
        entries.append(LSTMState(*(flat_BS[:, offset + k * layer.hidden :][:, : layer.hidden] for k in range(2))))
        offset += 2 * layer.hidden
    return tuple(entries)
