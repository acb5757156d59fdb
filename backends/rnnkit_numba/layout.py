"""Where everything of a model stands: its table of layers, and flat buffers for parameters, state and tape."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from rnnkit.backend import map_arrays
from rnnkit.errors import ModelError
from rnnkit.model import (
    Chain,
    Learned,
    Recurrent,
    Rule,
    RuleState,
    State,
    layers_to_run,
    parameter_shapes,
    slot_names,
    state_type,
)
from rnnkit_numba.kernels.products import summing_scratch
from rnnkit_numba.kernels.vectors import W_for
from rnnkit_numba.layers import extent
from rnnkit_numba.table import (
    COLUMNS,
    DERIVED,
    INPUTS,
    LEARNED,
    OUTPUTS,
    PACKED,
    PARAMETERS,
    READ,
    STATE,
    STATES,
    WIDTH,
    padded,
)

GROUP_LANES = 16
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
        """Numbers of scratch space for a group of so many lanes: rows of them, and that of the products."""
        return lanes * self.work + summing_scratch(int(self.table[:, [INPUTS, OUTPUTS]].sum(1).max()), W_for(dtype))


@lru_cache(maxsize=64)
def layout(model: Chain, steps: int, dtype: Any) -> Layout:
    """The layout of a model for windows of `steps` rows.

    Raises:
        ModelError: a layer that this backend does not know, or heads.
    """
    layers, W = layers_to_run(model, "backend 'numba'"), W_for(dtype)
    table = np.zeros((len(layers), COLUMNS), np.int64)
    parameters = derived = state = flops = 0
    panels: dict[str, int] = {}
    read = model.inputs
    tape = padded(steps * read, W)  # the inputs stand first; every array begins with a whole vector
    shapes = parameter_shapes(model)
    for index, (row, layer) in enumerate(zip(table, layers, strict=True)):
        taken = extent(layer, steps, W)
        width = padded(layer.outputs, W)
        learned = taken.state if isinstance(model.initial, Learned) else 0
        row[[INPUTS, OUTPUTS, READ, WIDTH]] = layer.inputs, layer.outputs, read, width
        row[[PARAMETERS, LEARNED, PACKED, DERIVED, STATE]] = parameters, learned, sum(panels.values()), derived, state
        row[list(taken.columns)] = list(taken.columns.values())
        for column, offset in taken.arrays.items():
            row[column] = tape + offset
        lengths = list(taken.panels)
        if learned:
            lengths += [layer.outputs] * int(row[STATES])
            lengths[-1] += padded(learned, W) - learned
        names = [key for key in shapes if key.startswith(f"{index}.")]
        panels |= dict(zip(names, lengths, strict=True))
        size = sum(math.prod(shape) for shape in parameter_shapes(layer).values())
        parameters += size + learned
        derived += taken.derived
        state += taken.state
        tape += taken.tape
        flops += 2 * size * steps
        read = width
    table[:, DERIVED] += sum(panels.values())
    table.flags.writeable = False
    widest = padded(int(table[:, [INPUTS, OUTPUTS]].max()), W)
    most = 1 + int(table[:, STATES].max())
    work = (2 * steps + most) * widest  # two gradients of a layer's rows; those of a state, or h⁻
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
    expected = [(lanes, width) for layer in model.layers for width in state_widths(layer)]
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
    first = 0
    for layer in model.layers:
        arrays = []
        for width in state_widths(layer):
            arrays.append(flat_BS[:, first : first + width])
            first += width
        kind = state_type(layer)
        entries.append(() if kind is None else kind(*arrays))
    return tuple(entries)


def state_widths(layer: Any) -> tuple[int, ...]:
    """Numbers a lane of each array of a layer's state."""
    return layer.widths if isinstance(layer, Recurrent) else ()
