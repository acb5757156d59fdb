"""Training through a block of windows in one compiled call, the carried state included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.backend import BlockResult, check_arguments
from rnnkit.errors import ModelError
from rnnkit.model import Chain, Clip, CrossEntropy, Loss, Rule, RuleState, State, parameter_shapes
from rnnkit_numba.arrays import common_dtype, plain
from rnnkit_numba.compiled import entry, kernel
from rnnkit_numba.layout import (
    BLOCK_LANES,
    flatten,
    flatten_slots,
    flatten_state,
    layout,
    unflatten,
    unflatten_state,
)
from rnnkit_numba.losses import add_loss, loss_code
from rnnkit_numba.rules import clip_code, clip_gradients, global_norm, rule_code, step
from rnnkit_numba.views import clear_padding, copy, cube, fill, vector
from rnnkit_numba.window import backward as window_backward
from rnnkit_numba.window import forward as window_forward
from rnnkit_numba.window import pack, read_outputs, read_state, start, unpack

if TYPE_CHECKING:
    from rnnkit.schedule.batch import Block


def train_block(
    model: Chain,
    params: dict[str, Any],
    state: State,
    rule_state: RuleState,
    block: Block,
    *,
    rule: Rule,
    loss: Loss,
    clip: Clip | None,
    learning_rates: np.ndarray,
) -> BlockResult:
    """Train through K batches without returning to Python: see `rnnkit.train.block.train_block`.

    Raises:
        ModelError: arrays that do not fit each other or the model, or labels that are no class.
    """
    (rule_number, settings), (loss_number, setting), (clip_number, limit) = (
        rule_code(rule),
        loss_code(loss),
        clip_code(clip),
    )
    dtype = common_dtype(params)
    check_block(model, params, state, block, loss, learning_rates)
    windows, steps, lanes, _ = block.x.shape
    plan, shapes = layout(model, steps), parameter_shapes(model)
    flat = flatten(shapes, params, dtype)
    slots = flatten_slots(shapes, rule, rule_state, dtype)
    carried = flatten_state(model, state, lanes, dtype)
    losses, norms = np.zeros(windows), np.zeros(windows)
    targets = block.y[..., None] if isinstance(loss, CrossEntropy) else block.y
    done, count = run_block(
        plan.table,
        flat,
        np.empty_like(flat),
        slots,
        np.empty((1 + -(-lanes // BLOCK_LANES), plan.packed), dtype),
        np.empty(lanes * plan.tape, dtype),
        np.empty(lanes * plan.work, dtype),
        np.empty((3, lanes, plan.state), dtype),
        carried,
        model.outputs,
        plain(block.x, dtype),
        plain(targets, dtype),
        plain(block.reset, np.bool_),
        plain(block.valid, np.bool_),
        plain(block.weight, np.float64),
        plain(block.origin, np.int64),
        rule_number,
        settings,
        plain(learning_rates, np.float64),
        rule_state.step,
        loss_number,
        setting,
        clip_number,
        limit,
        losses,
        norms,
        BLOCK_LANES,
    )
    slot_trees = {name: unflatten(shapes, row, params) for name, row in zip(rule_state.slots, slots, strict=True)}
    return BlockResult(
        unflatten(shapes, flat, params),
        RuleState(count, slot_trees),
        unflatten_state(model, carried),
        losses,
        norms,
        done,
    )


def check_block(
    model: Chain, params: dict[str, Any], state: State, block: Block, loss: Loss, learning_rates: np.ndarray
) -> None:
    """Compiled code trusts its arrays; here is where they are looked at."""
    if block.x.ndim != 4:
        raise ModelError(f"train_block expects block.x of shape (K, T, B, {model.inputs}), got {block.x.shape}")
    windows, steps, lanes, _ = block.x.shape
    rows = (windows * steps, lanes)
    check_arguments(
        model, params, block.x.reshape(*rows, -1), state, block.reset.reshape(rows), block.valid.reshape(rows)
    )
    by_row = (windows, steps, lanes)
    labels = isinstance(loss, CrossEntropy)
    for label, array, shape in (
        ("block.y", block.y, by_row if labels else (*by_row, model.outputs)),
        ("block.weight", block.weight, by_row),
        ("block.origin", block.origin, (windows + 1, lanes)),
        ("learning_rates", learning_rates, (windows,)),
    ):
        if np.shape(array) != shape:
            raise ModelError(f"train_block expects {label} of shape {shape}, got {np.shape(array)}")
    if block.origin.size and not (block.origin.min() >= -1 and block.origin.max() <= steps):
        raise ModelError(
            f"train_block expects block.origin between -1 and {steps}, got {block.origin.min()} to {block.origin.max()}"
        )
    if labels:
        scored = block.y[block.weight > 0]
        if scored.dtype.kind not in "iu" or (scored.size and not 0 <= scored.min() <= scored.max() < model.outputs):
            raise ModelError(
                f"CrossEntropy expects integer labels from 0 to {model.outputs - 1}, "
                f"got {scored.dtype}{f' {scored.min()} to {scored.max()}' if scored.size else ''}"
            )


@kernel
def weigh(weight_TB):
    """Sum of a window's weights, and whether any row is scored."""
    total, scored = 0.0, False
    for t in range(weight_TB.shape[0]):
        for b in range(weight_TB.shape[1]):
            total += weight_TB[t, b]
            scored = scored or weight_TB[t, b] > 0
    return total, scored


@entry
def run_block(
    table,
    params,
    grad,
    slots,
    packs,
    tape,
    work,
    states_3BS,
    carried_BS,
    outputs,
    x_KTBI,
    y_KTBO,
    reset_KTB,
    valid_KTB,
    weight_KTB,
    origin_KB,
    rule,
    rule_settings,
    learning_rates,
    count,
    loss,
    loss_setting,
    clip,
    clip_limit,
    losses,
    norms,
    block_lanes,
):
    """Train; `params`, `slots`, `carried`, `losses` and `norms` change in place.

    Returns:
        `(done, count)`: the windows trained, and the updates made since the rule's start.
    """
    windows, steps, lanes = reset_KTB.shape
    tape_lane, work_lane = tape.size // lanes, work.size // lanes
    packed, d_packs = packs[0], packs[1:]
    started_BS, handed_on_BS, d_state_BS = states_3BS[0], states_3BS[1], states_3BS[2]
    for k in range(windows):
        total, scored = weigh(weight_KTB[k])
        pack(table, params, packed)
        for b in range(lanes):
            if origin_KB[k, b] >= 0:
                copy(carried_BS[b], started_BS[b])
            else:
                fill(started_BS[b], 0)
        losses[k] = 0
        fill(vector(d_state_BS, 0, d_state_BS.size), 0)  # no gradient from the window after
        for first in range(0, lanes, block_lanes):
            last = min(first + block_lanes, lanes)
            here = last - first
            block_tape = vector(tape, first * tape_lane, here * tape_lane)
            block_work = vector(work, first * work_lane, here * work_lane)
            reset, valid = reset_KTB[k, :, first:last], valid_KTB[k, :, first:last]
            start(table, block_tape, x_KTBI[k, :, first:last], started_BS[first:last], valid)
            window_forward(table, packed, block_tape, block_work, reset, valid)
            for b in range(first, last):
                row = origin_KB[k + 1, b]
                read_state(table, block_tape, steps, here, b - first, steps if row < 0 else row, handed_on_BS[b])
            if not scored:
                continue
            y = cube(block_work, 0, steps, here, outputs)
            read_outputs(table, block_tape, valid, y)
            losses[k] += add_loss(loss, loss_setting, y, y_KTBO[k, :, first:last], weight_KTB[k, :, first:last], total)
            clear_padding(valid, y)
            d_packed = d_packs[first // block_lanes]
            fill(d_packed, 0)
            window_backward(
                table, params, block_tape, block_work, reset, valid, d_state_BS[first:last], d_packed, False
            )
        if scored:
            fill(grad, 0)
            for first in range(0, lanes, block_lanes):
                unpack(table, d_packs[first // block_lanes], grad)
            norms[k] = global_norm(grad)
            if not (np.isfinite(losses[k]) and np.isfinite(norms[k])):
                return k, count
            clip_gradients(clip, clip_limit, norms[k], grad)
            count += 1
            step(rule, rule_settings, learning_rates[k], count, params, grad, slots)
        copy(vector(handed_on_BS, 0, handed_on_BS.size), vector(carried_BS, 0, carried_BS.size))
    return windows, count
