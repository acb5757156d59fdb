"""Training through a block of windows in one compiled call, the carried state included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.backend import BlockResult, check_arguments
from rnnkit.errors import ModelError
from rnnkit.model import Chain, Clip, CrossEntropy, Loss, Rule, RuleState, State, parameter_shapes, slot_names
from rnnkit_numba.arrays import aligned, common_dtype, plain
from rnnkit_numba.compiled import entry, kernel
from rnnkit_numba.layout import (
    BLOCK_LANES,
    OUTPUT,
    WIDTH,
    flatten,
    flatten_slots,
    flatten_state,
    layout,
    unflatten,
    unflatten_state,
)
from rnnkit_numba.losses import add_loss, loss_code
from rnnkit_numba.packing import pack, share, unpack
from rnnkit_numba.pointers import pointer
from rnnkit_numba.rules import (
    NORM_NUMBERS,
    add_squares,
    clip_code,
    clip_gradients,
    global_norm,
    rule_code,
    step,
)
from rnnkit_numba.threads import SMALL_FLOPS, meet, new_barrier, processors, run_threads
from rnnkit_numba.vectors import lanes as lanes_of_a_vector
from rnnkit_numba.views import copy, fill, vector
from rnnkit_numba.window import backward as window_backward
from rnnkit_numba.window import forward as window_forward
from rnnkit_numba.window import read_state, start

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
    return train_on(
        0, model, params, state, rule_state, block, rule=rule, loss=loss, clip=clip, learning_rates=learning_rates
    )


def train_on(
    threads: int,
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
    """`train_block` on at most so many threads; 0: one for each processor.

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
    plan, shapes = layout(model, steps, dtype), parameter_shapes(model)
    flat = flatten(shapes, params, dtype)
    slots = flatten_slots(shapes, rule, rule_state, dtype)
    carried = flatten_state(model, state, lanes, dtype)
    losses, norms = np.zeros(windows), np.zeros(windows)
    targets = block.y[..., None] if isinstance(loss, CrossEntropy) else block.y
    blocks = -(-lanes // BLOCK_LANES)
    team = min(threads or processors(), blocks)
    if 3 * plan.flops * lanes < SMALL_FLOPS:
        team = 1
    barrier = new_barrier()
    arguments = (
        plan.table,
        flat,
        np.empty_like(flat),
        slots,
        aligned(plan.packed, dtype, zeros=True),
        aligned((blocks, plan.gradients), dtype),
        np.empty(blocks),
        np.empty(-(-plan.parameters // NORM_NUMBERS)),
        aligned((team, min(lanes, BLOCK_LANES) * plan.tape), dtype),
        aligned((team, plan.scratch(min(lanes, BLOCK_LANES), dtype)), dtype),
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
    done, count = run_threads(team, barrier, lambda thread: run_block(thread, team, barrier, *arguments))
    slot_trees = {name: unflatten(shapes, row, params) for name, row in zip(slot_names(rule), slots, strict=True)}
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
    thread,
    threads,
    barrier,
    table,
    params,
    grad,
    slots,
    packed,
    d_packs,
    block_losses,
    squares,
    tapes,
    works,
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

    Every thread calls this with its own number. It takes whole blocks of lanes through a window, then its share of
    the parameters through the update; the threads meet in between.

    Returns:
        `(done, count)`: the windows trained, and the updates made since the rule's start.
    """
    windows, steps, lanes = reset_KTB.shape
    blocks = d_packs.shape[0]
    tape_lane = tapes.shape[1] // min(lanes, block_lanes)
    work = works[thread]
    width = table[table.shape[0] - 1, WIDTH]
    started_BS, handed_on_BS, d_state_BS = states_3BS[0], states_3BS[1], states_3BS[2]
    first_block, last_block = share(blocks, thread, threads)
    first_parameter, last_parameter = share(params.size, thread, threads)
    for k in range(windows):
        total, scored = weigh(weight_KTB[k])
        pack(table, params, packed, thread, threads)
        if not meet(barrier, threads):
            return k, count
        for block in range(first_block, last_block):
            first, last = block * block_lanes, min((block + 1) * block_lanes, lanes)
            here = last - first
            tape = vector(tapes, thread * tapes.shape[1], here * tape_lane)
            reset, valid = reset_KTB[k, :, first:last], valid_KTB[k, :, first:last]
            for b in range(first, last):
                if origin_KB[k, b] >= 0:
                    copy(carried_BS[b], started_BS[b])
                else:
                    fill(started_BS[b], 0)
                fill(d_state_BS[b], 0)  # no gradient from the window after
            start(table, tape, x_KTBI[k, :, first:last], started_BS[first:last], valid)
            window_forward(table, packed, tape, work, reset, valid)
            for b in range(first, last):
                row = origin_KB[k + 1, b]
                read_state(table, tape, steps, here, b - first, steps if row < 0 else row, handed_on_BS[b])
            if not scored:
                continue
            numbers = steps * here * width
            y, d_y = pointer(tape, table[table.shape[0] - 1, OUTPUT] * here, numbers), pointer(work, 0, numbers)
            targets, weights = y_KTBO[k, :, first:last], weight_KTB[k, :, first:last]
            block_losses[block] = add_loss(
                loss, loss_setting, y, d_y, width, outputs, targets, weights, valid, total, lanes_of_a_vector(tape)
            )
            window_backward(table, packed, tape, work, reset, valid, d_state_BS[first:last], d_packs[block], False)
        if scored:
            if not meet(barrier, threads):
                return k, count
            unpack(table, d_packs, grad, thread, threads)
            if not meet(barrier, threads):
                return k, count
            add_squares(grad, squares, thread, threads)
            if not meet(barrier, threads):
                return k, count
            norm, value = global_norm(squares), 0.0
            for block in range(blocks):
                value += block_losses[block]
            if thread == 0:
                losses[k], norms[k] = value, norm
            if not (np.isfinite(value) and np.isfinite(norm)):
                return k, count
            clip_gradients(clip, clip_limit, norm, grad, first_parameter, last_parameter)
            count += 1
            step(rule, rule_settings, learning_rates[k], count, params, grad, slots, first_parameter, last_parameter)
            if not meet(barrier, threads):
                return k, count
        for b in range(first_block * block_lanes, min(last_block * block_lanes, lanes)):
            copy(handed_on_BS[b], carried_BS[b])
    return windows, count
