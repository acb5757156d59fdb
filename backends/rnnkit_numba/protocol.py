"""`forward`, `backward` and `update`: arrays are made plain and flat, one compiled function runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rnnkit.backend import Gradients, check_arguments
from rnnkit.errors import ModelError
from rnnkit.model import Chain, Rule, RuleState, State, initial_state, parameter_shapes, slot_names
from rnnkit_numba.arguments import Pass
from rnnkit_numba.arrays import aligned, common_dtype, plain
from rnnkit_numba.compiled import entry, kernel
from rnnkit_numba.kernels.vectors import W_of
from rnnkit_numba.kernels.views import clear_padding, copy_rows, cube, fill, vector
from rnnkit_numba.layers.given import Back, Piece, net_of, padded
from rnnkit_numba.layout import (
    GROUP_LANES,
    WIDTH,
    flatten,
    flatten_slots,
    flatten_state,
    layout,
    unflatten,
    unflatten_state,
)
from rnnkit_numba.packing import add_groups, derive, move, pack, write_initial
from rnnkit_numba.rules import NO_CLIP, Trained, Updating, rule_code, stretch_table, update_stretches
from rnnkit_numba.window import backward as window_backward
from rnnkit_numba.window import forward as window_forward
from rnnkit_numba.window import read_outputs, read_state, start

PIECE_ROWS = 64
"""Rows of a pass without tape that are computed together, or more of few lanes; they should stay in the cache."""

PIECE_CELLS = 256
"""Rows times lanes of such a piece where that makes it longer: it begins and ends with work of its own."""


class FlatTape(NamedTuple):
    """What `backward` needs of a forward pass: for every layer the numbers that its module counts.

    Attributes:
        model: the chain.
        reset, valid: `(T, B)` bool.
        values: one lane group after the other, see `layout.py`.
    """

    model: Chain
    reset: np.ndarray
    valid: np.ndarray
    values: np.ndarray


def forward(
    model: Chain,
    params: Mapping[str, Any],
    x: Any,
    state: State,
    reset: np.ndarray | None = None,
    valid: np.ndarray | None = None,
    initial: State | None = None,
) -> tuple[np.ndarray, State, FlatTape]:
    """Run a chain over a window and keep the tape: see `rnnkit.backend.Backend.forward`."""
    reset, valid = check_arguments(model, params, x, state, reset, valid, initial)
    reset, valid = plain(reset, np.bool_), plain(valid, np.bool_)
    dtype = common_dtype(dict(params))
    steps, lanes = reset.shape
    plan = layout(model, steps, dtype)
    flat_state = flatten_state(model, state, lanes, dtype)
    y = np.empty((steps, lanes, model.outputs), dtype)
    tape = aligned(lanes * plan.tape, dtype)
    run_forward(
        plan.table,
        flatten(parameter_shapes(model), params, dtype),
        aligned(plan.packed, dtype, zeros=True),
        tape,
        aligned(plan.scratch(min(lanes, GROUP_LANES), dtype), dtype),
        Pass(plain(x, dtype), reset, valid, flat_state, flat_initial(model, params, initial, lanes, dtype)),
        y,
        GROUP_LANES,
    )
    return y, unflatten_state(model, flat_state), FlatTape(model, reset, valid, tape)


def outputs(
    model: Chain,
    params: Mapping[str, Any],
    x: Any,
    state: State,
    reset: np.ndarray | None = None,
    valid: np.ndarray | None = None,
    initial: State | None = None,
) -> tuple[np.ndarray, State]:
    """`forward` without its tape, in memory that does not grow with the rows: see `rnnkit.backend.Backend`."""
    reset, valid = check_arguments(model, params, x, state, reset, valid, initial)
    dtype = common_dtype(dict(params))
    reset, valid = plain(reset, np.bool_), plain(valid, np.bool_)
    steps, lanes = reset.shape
    here = min(lanes, GROUP_LANES)
    piece_rows = max(PIECE_ROWS, PIECE_CELLS // here)
    plan = layout(model, piece_rows, dtype)
    flat_state = flatten_state(model, state, lanes, dtype)
    y = np.empty((steps, lanes, model.outputs), dtype)
    run_outputs(
        plan.table,
        flatten(parameter_shapes(model), params, dtype),
        aligned(plan.packed, dtype, zeros=True),
        aligned(here * plan.tape, dtype),
        aligned(plan.scratch(here, dtype), dtype),
        Pass(plain(x, dtype), reset, valid, flat_state, flat_initial(model, params, initial, lanes, dtype)),
        y,
        GROUP_LANES,
        piece_rows,
    )
    return y, unflatten_state(model, flat_state)


def flat_initial(model: Chain, params: Mapping[str, Any], given: State | None, lanes: int, dtype: Any) -> np.ndarray:
    """What a reset makes of the state of each lane, `(B, S)`."""
    return flatten_state(model, initial_state(model, params, lanes) if given is None else given, lanes, dtype)


def backward(
    model: Chain,
    params: Mapping[str, Any],
    tape: FlatTape,
    d_y: Any,
    d_state: State | None = None,
) -> Gradients:
    """Back-propagate through the window of a tape: see `rnnkit.backend.Backend.backward`."""
    dtype = common_dtype(dict(params))
    steps, lanes = tape.reset.shape
    if tape.model != model or tape.values.dtype != dtype:
        raise ModelError(
            f"backward expects a tape of {model} in {dtype}, got one of {tape.model} in {tape.values.dtype}"
        )
    if tuple(d_y.shape) != (steps, lanes, model.outputs):
        raise ModelError(f"backward expects d_y of shape {(steps, lanes, model.outputs)}, got {tuple(d_y.shape)}")
    plan = layout(model, steps, dtype)
    d_flat = np.zeros((lanes, plan.state), dtype)
    if d_state is not None:
        d_flat = flatten_state(model, d_state, lanes, dtype)
    grad = np.empty(plan.parameters, dtype)
    d_x = np.empty((steps, lanes, model.inputs), dtype)
    values = aligned(tape.values.size, dtype)
    values[:] = tape.values  # the kernel uses its tape up
    d_packs = aligned((-(-lanes // GROUP_LANES), plan.gradients), dtype)
    run_backward(
        plan.table,
        flatten(parameter_shapes(model), params, dtype),
        aligned(plan.packed, dtype, zeros=True),
        Piece(values, aligned(plan.scratch(min(lanes, GROUP_LANES), dtype), dtype), tape.reset, tape.valid),
        plain(d_y, dtype),
        Back(np.ones(steps, dtype), d_flat, np.zeros_like(d_flat), d_packs[0]),
        d_packs,
        grad,
        d_x,
        GROUP_LANES,
    )
    return Gradients(unflatten(parameter_shapes(model), grad, params), unflatten_state(model, d_flat), d_x)


def update(
    rule: Rule, params: Mapping[str, Any], grads: Mapping[str, Any], rule_state: RuleState
) -> tuple[dict[str, np.ndarray], RuleState]:
    """Make one update of all parameters: see `rnnkit.backend.Backend.update`."""
    code, settings = rule_code(rule)
    dtype = common_dtype(dict(params))
    shapes = {key: tuple(p.shape) for key, p in params.items()}
    flat, grad = flatten(shapes, params, dtype), flatten(shapes, grads, dtype)
    slots = flatten_slots(shapes, rule, rule_state, dtype)
    count = rule_state.step + 1
    updating = Updating(code, settings, NO_CLIP, 0.0, stretch_table(shapes, rule_state))
    run_update(updating, float(rule.learning_rate), count, Trained(flat, grad, slots))
    return unflatten(shapes, flat, params), RuleState(
        count,
        {name: unflatten(shapes, row, params) for name, row in zip(slot_names(rule), slots, strict=True)},
        rule_state.lag,
    )


@entry
def run_update(updating, learning_rate, count, trained):
    """Make update number `count`, from 1, of all parameters."""
    update_stretches(updating, learning_rate, count, 0.0, trained, 0, trained.params.size)


@kernel
def lanes_of(rows, t, end, first, last):
    """Rows `t` to `end - 1` of the lanes from `first` to `last - 1`."""
    return Pass(
        rows.x_TBI[t:end, first:last],
        rows.reset_TB[t:end, first:last],
        rows.valid_TB[t:end, first:last],
        rows.state_BS[first:last],
        rows.initial_BS[first:last],
    )


@kernel
def run_rows(net, tape, work, rows, y_TBO):
    """Rows of one lane group forward, from and to `rows.state_BS`."""
    piece = Piece(tape, work, rows.reset_TB, rows.valid_TB)
    steps, lanes = rows.reset_TB.shape
    start(net.table, piece, rows.x_TBI, rows.state_BS, rows.initial_BS)
    window_forward(net, piece)
    read_outputs(net.table, piece, y_TBO)
    for b in range(lanes):
        read_state(net.table, tape, lanes, b, steps, rows.state_BS[b])


@entry
def run_forward(table, params, packed, tape, work, rows, y_TBO, group_lanes):
    """A window of all lanes."""
    steps, lanes = rows.reset_TB.shape
    tape_lane = tape.size // lanes
    pack(table, params, packed)
    net = net_of(table, packed, W_of(packed))
    for first in range(0, lanes, group_lanes):
        last = min(first + group_lanes, lanes)
        group_tape = vector(tape, first * tape_lane, (last - first) * tape_lane)
        run_rows(net, group_tape, work, lanes_of(rows, 0, steps, first, last), y_TBO[:, first:last])


@entry
def run_outputs(table, params, packed, tape, work, rows, y_TBO, group_lanes, piece_rows):
    """A window of all lanes, a piece of its rows after the other on one small tape."""
    steps, lanes = rows.reset_TB.shape
    tape_lane = tape.size // min(lanes, group_lanes)
    pack(table, params, packed)
    net = net_of(table, packed, W_of(packed))
    for first in range(0, lanes, group_lanes):
        last = min(first + group_lanes, lanes)
        group_tape = vector(tape, 0, (last - first) * tape_lane)
        for t in range(0, steps, piece_rows):
            end = min(t + piece_rows, steps)
            run_rows(net, group_tape, work, lanes_of(rows, t, end, first, last), y_TBO[t:end, first:last])


@entry
def run_backward(table, params, packed, piece, d_y_TBO, back, d_packs, grad, d_x_TBI, group_lanes):
    """A window of all lanes, back; `grad` is written, the tape used up, `d_state_BS` becomes that before row 0.

    Args:
        piece: of all lanes.
        back: of all lanes; for `d_packed` stand the gradients of the first group.
        d_packs: `(groups, P)`, those of all groups.
    """
    steps, lanes = piece.reset_TB.shape
    tape_lane = piece.tape.size // lanes
    move(table, params, packed, True, 0, 1)
    derive(table, packed, lanes, True, 0, 1)
    net, width = net_of(table, packed, W_of(packed)), table[table.shape[0] - 1, WIDTH]
    for first in range(0, lanes, group_lanes):
        last = min(first + group_lanes, lanes)
        here, d_packed = last - first, d_packs[first // group_lanes]
        tape = vector(piece.tape, first * tape_lane, here * tape_lane)
        part = Piece(tape, piece.work, piece.reset_TB[:, first:last], piece.valid_TB[:, first:last])
        d_y = cube(piece.work, 0, steps, here, width)
        fill(vector(piece.work, 0, d_y.size), 0)
        copy_rows(d_y_TBO[:, first:last], d_y)
        clear_padding(part.valid_TB, d_y)
        fill(d_packed, 0)
        d_states = Back(back.reweight_T, back.d_state_BS[first:last], back.d_initial_BS[first:last], d_packed)
        offset = window_backward(net, part, d_states, True)
        columns = padded(d_x_TBI.shape[2], W_of(packed))
        copy_rows(cube(piece.work, offset, steps, here, columns), d_x_TBI[:, first:last])
    write_initial(table, back.d_initial_BS, d_packs[0])
    add_groups(d_packs, 0, 1)
    move(table, grad, d_packs[0], False, 0, 1)
