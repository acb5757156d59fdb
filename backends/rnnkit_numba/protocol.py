"""`forward`, `backward` and `update`: arrays are made plain and flat, one compiled function runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rnnkit.backend import Gradients, check_arguments
from rnnkit.errors import ModelError
from rnnkit.model import Chain, Rule, RuleState, State, initial_state, parameter_shapes, slot_names
from rnnkit_numba.arrays import aligned, common_dtype, plain
from rnnkit_numba.compiled import entry
from rnnkit_numba.layout import (
    BLOCK_LANES,
    WIDTH,
    flatten,
    flatten_slots,
    flatten_state,
    layout,
    unflatten,
    unflatten_state,
)
from rnnkit_numba.packing import add_blocks, derive, move, pack, write_initial
from rnnkit_numba.rules import NO_CLIP, rule_code, stretch_table, update_stretches
from rnnkit_numba.vectors import lanes as lanes_of_a_vector
from rnnkit_numba.views import clear_padding, copy_rows, cube, fill, vector
from rnnkit_numba.window import backward as window_backward
from rnnkit_numba.window import forward as window_forward
from rnnkit_numba.window import read_outputs, read_state, start

PIECE_ROWS = 64
"""Rows of a pass without tape that are computed together, or more of few lanes; they should stay in the cache."""

PIECE_CELLS = 256
"""Rows times lanes of such a piece where that makes it longer: it begins and ends with work of its own."""


class Tape(NamedTuple):
    """What `backward` needs of a forward pass: for every layer the numbers that its module counts.

    Attributes:
        model: the chain.
        reset, valid: `(T, B)` bool.
        values: one block of lanes after the other, see `layout.py`.
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
) -> tuple[np.ndarray, State, Tape]:
    """See `rnnkit.backend.Backend.forward`."""
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
        aligned(plan.scratch(min(lanes, BLOCK_LANES), dtype), dtype),
        plain(x, dtype),
        reset,
        valid,
        flat_state,
        flat_initial(model, params, initial, lanes, dtype),
        y,
        BLOCK_LANES,
    )
    return y, unflatten_state(model, flat_state), Tape(model, reset, valid, tape)


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
    steps, lanes = reset.shape
    here = min(lanes, BLOCK_LANES)
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
        plain(x, dtype),
        plain(reset, np.bool_),
        plain(valid, np.bool_),
        flat_state,
        flat_initial(model, params, initial, lanes, dtype),
        y,
        BLOCK_LANES,
        piece_rows,
    )
    return y, unflatten_state(model, flat_state)


def flat_initial(model: Chain, params: Mapping[str, Any], given: State | None, lanes: int, dtype: Any) -> np.ndarray:
    """What a reset makes of the state of each lane, `(B, S)`."""
    return flatten_state(model, initial_state(model, params, lanes) if given is None else given, lanes, dtype)


def backward(
    model: Chain,
    params: Mapping[str, Any],
    tape: Tape,
    d_y: Any,
    d_state: State | None = None,
) -> Gradients:
    """See `rnnkit.backend.Backend.backward`."""
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
    run_backward(
        plan.table,
        flatten(parameter_shapes(model), params, dtype),
        aligned(plan.packed, dtype, zeros=True),
        values,
        aligned(plan.scratch(min(lanes, BLOCK_LANES), dtype), dtype),
        tape.reset,
        tape.valid,
        np.ones(steps, dtype),
        plain(d_y, dtype),
        d_flat,
        np.zeros_like(d_flat),
        aligned((-(-lanes // BLOCK_LANES), plan.gradients), dtype),
        grad,
        d_x,
        BLOCK_LANES,
    )
    return Gradients(unflatten(parameter_shapes(model), grad, params), unflatten_state(model, d_flat), d_x)


def update(
    rule: Rule, params: Mapping[str, Any], grads: Mapping[str, Any], rule_state: RuleState
) -> tuple[dict[str, np.ndarray], RuleState]:
    """See `rnnkit.backend.Backend.update`."""
    code, settings = rule_code(rule)
    dtype = common_dtype(dict(params))
    shapes = {key: tuple(p.shape) for key, p in params.items()}
    flat, grad = flatten(shapes, params, dtype), flatten(shapes, grads, dtype)
    slots = flatten_slots(shapes, rule, rule_state, dtype)
    count = rule_state.step + 1
    stretches = stretch_table(shapes, rule_state)
    run_update(stretches, code, settings, float(rule.learning_rate), count, flat, grad, slots)
    return unflatten(shapes, flat, params), RuleState(
        count,
        {name: unflatten(shapes, row, params) for name, row in zip(slot_names(rule), slots, strict=True)},
        rule_state.lag,
    )


@entry
def run_update(stretches, code, settings, learning_rate, count, params, grad, slots):
    """Make update number `count`, from 1, of all parameters."""
    size = params.size
    update_stretches(stretches, code, settings, learning_rate, count, NO_CLIP, 0.0, 0.0, params, grad, slots, 0, size)


@entry
def run_forward(table, params, packed, tape, work, x_TBI, reset_TB, valid_TB, state_BS, initial_BS, y_TBO, block_lanes):
    """A window of all lanes; `state` is what stands before row 0 and leaves as that after row T-1."""
    steps, lanes = reset_TB.shape
    tape_lane = tape.size // lanes
    pack(table, params, packed)
    for first in range(0, lanes, block_lanes):
        last = min(first + block_lanes, lanes)
        here = last - first
        block_tape = vector(tape, first * tape_lane, here * tape_lane)
        reset, valid = reset_TB[:, first:last], valid_TB[:, first:last]
        start(table, block_tape, x_TBI[:, first:last], state_BS[first:last], initial_BS[first:last], valid)
        window_forward(table, packed, block_tape, work, reset, valid)
        read_outputs(table, block_tape, valid, y_TBO[:, first:last], y_TBO.shape[2])
        for b in range(first, last):
            read_state(table, block_tape, steps, here, b - first, steps, state_BS[b])


@entry
def run_outputs(
    table, params, packed, tape, work, x_TBI, reset_TB, valid_TB, state_BS, initial_BS, y_TBO, block_lanes, piece_rows
):
    """A window of all lanes, a piece of its rows after the other on one small tape."""
    steps, lanes = reset_TB.shape
    tape_lane = tape.size // min(lanes, block_lanes)
    pack(table, params, packed)
    for first in range(0, lanes, block_lanes):
        last = min(first + block_lanes, lanes)
        here = last - first
        block_tape = vector(tape, 0, here * tape_lane)
        for t in range(0, steps, piece_rows):
            end = min(t + piece_rows, steps)
            reset, valid = reset_TB[t:end, first:last], valid_TB[t:end, first:last]
            start(table, block_tape, x_TBI[t:end, first:last], state_BS[first:last], initial_BS[first:last], valid)
            window_forward(table, packed, block_tape, work, reset, valid)
            read_outputs(table, block_tape, valid, y_TBO[t:end, first:last], y_TBO.shape[2])
            for b in range(first, last):
                read_state(table, block_tape, end - t, here, b - first, end - t, state_BS[b])


@entry
def run_backward(
    table,
    params,
    packed,
    tape,
    work,
    reset_TB,
    valid_TB,
    reweight_T,
    d_y_TBO,
    d_state_BS,
    d_initial_BS,
    d_packs,
    grad,
    d_x_TBI,
    block_lanes,
):
    """A window of all lanes, back; `grad` is written, `tape` used up, `d_state` becomes that before row 0."""
    steps, lanes = reset_TB.shape
    one = lanes_of_a_vector(tape)
    tape_lane = tape.size // lanes
    move(table, params, packed, True, 0, 1)
    derive(table, packed, lanes > 1, True, 0, 1)
    for first in range(0, lanes, block_lanes):
        last = min(first + block_lanes, lanes)
        here = last - first
        reset, valid = reset_TB[:, first:last], valid_TB[:, first:last]
        d_y = cube(work, 0, steps, here, table[table.shape[0] - 1, WIDTH])
        fill(vector(work, 0, d_y.size), 0)
        copy_rows(d_y_TBO[:, first:last], d_y)
        clear_padding(valid, d_y)
        block_tape = vector(tape, first * tape_lane, here * tape_lane)
        d_packed = d_packs[first // block_lanes]
        fill(d_packed, 0)
        offset = window_backward(
            table,
            packed,
            block_tape,
            work,
            reset,
            valid,
            reweight_T,
            d_state_BS[first:last],
            d_initial_BS[first:last],
            d_packed,
            True,
        )
        width = -(-d_x_TBI.shape[2] // one) * one
        copy_rows(cube(work, offset, steps, here, width), d_x_TBI[:, first:last])
    write_initial(table, d_initial_BS, d_packs[0])
    add_blocks(d_packs, 0, 1)
    move(table, grad, d_packs[0], False, 0, 1)
