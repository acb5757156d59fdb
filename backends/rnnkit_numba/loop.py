"""The compiled loop over a block's windows, and the way of one block of lanes through a window.

A window is taken in pieces that share one tape. Rows outside the gradient (`detached`) go first, forward only. The
rest is one piece; or, where the tape would be too long, pieces of `piece_rows` rows: on the way forward the state at
the head of each is kept, on the way back each is computed again from there. Rows behind the last one that is valid,
reset or scored are left out: padding holds the state.
"""

from __future__ import annotations

import numpy as np

from rnnkit_numba.compiled import entry, kernel
from rnnkit_numba.layout import OUTPUT, WIDTH
from rnnkit_numba.losses import add_loss
from rnnkit_numba.packing import add_blocks, clear_what_pads, derive, move, read_initial, share, write_initial
from rnnkit_numba.places import keep_apart
from rnnkit_numba.pointers import pointer
from rnnkit_numba.rules import add_squares, global_norm, may_divide_by_zero, update_stretches
from rnnkit_numba.threads import meet
from rnnkit_numba.vectors import lanes as lanes_of_a_vector
from rnnkit_numba.views import copy, fill, vector
from rnnkit_numba.window import backward as window_backward
from rnnkit_numba.window import forward as window_forward
from rnnkit_numba.window import read_state, start

SAME, TRAINED, DRAWN = range(3)
"""Whether the initial state is the same throughout, stands among the parameters, or is drawn for each window."""


@kernel
def weigh(weight_TB):
    """Sum of a window's weights, and whether any row is scored."""
    total, scored = 0.0, False
    for t in range(weight_TB.shape[0]):
        for b in range(weight_TB.shape[1]):
            total += weight_TB[t, b]
            scored = scored or weight_TB[t, b] > 0
    return total, scored


@kernel
def rows_in_use(reset_TB, valid_TB, weight_TB):
    """How many rows there are up to the last one at which something happens; at least 1."""
    for t in range(reset_TB.shape[0] - 1, 0, -1):
        for b in range(reset_TB.shape[1]):
            if valid_TB[t, b] or reset_TB[t, b] or weight_TB[t, b] > 0:
                return t + 1
    return 1


@kernel
def any_valid(valid_TB, b):
    """Whether a lane has a row that is no padding."""
    found = False
    for t in range(valid_TB.shape[0]):
        found = found or valid_TB[t, b]
    return found


@kernel
def read_states(table, tape, first, rows, used, next_origin_B, at_BW, write_BW, handed_on_BS, found_BWS, after_BS):
    """The states that somebody asks for, after the rows `first < row <= first + rows` of the window, off their tape."""
    lanes = after_BS.shape[0]
    for b in range(lanes):
        row = used if next_origin_B[b] < 0 else min(next_origin_B[b], used)
        if first < row <= first + rows:
            read_state(table, tape, rows, lanes, b, row - first, handed_on_BS[b])
        for w in range(write_BW.shape[1]):
            row = min(at_BW[b, w], used)
            if write_BW[b, w] >= 0 and first < row <= first + rows:
                read_state(table, tape, rows, lanes, b, row - first, found_BWS[b, w])
        read_state(table, tape, rows, lanes, b, rows, after_BS[b])


@kernel
def losses_of(table, tape, work, rows, loss, loss_setting, outputs, y_TBO, weight_TB, valid_TB, total):
    """Share of some rows in the window's loss, by the predictions on the tape; the gradient goes to `work`."""
    last, lanes = table.shape[0] - 1, weight_TB.shape[1]
    width = table[last, WIDTH]
    y, d_y = pointer(tape, table[last, OUTPUT] * lanes, rows * lanes * width), pointer(work, 0, rows * lanes * width)
    return add_loss(
        loss, loss_setting, y, d_y, width, outputs, y_TBO, weight_TB, valid_TB, total, lanes_of_a_vector(tape)
    )  # fmt: skip


@kernel
def go_through(
    table,
    packed,
    tape,
    work,
    x_TBI,
    y_TBO,
    reset_TB,
    valid_TB,
    weight_TB,
    reweight_T,
    next_origin_B,
    at_BW,
    write_BW,
    detached,
    piece_rows,
    started_BS,
    initial_BS,
    handed_on_BS,
    found_BWS,
    running_BS,
    heads_PBS,
    d_state_BS,
    d_initial_BS,
    d_packed,
    outputs,
    loss,
    loss_setting,
    total,
    scored,
):
    """One block of lanes through one window and back.

    Writes `handed_on` and `found`, and where the window is scored `d_packed`, `d_initial` and, as the gradient of the
    state before row 0, `d_state`.

    Returns:
        The block's share of the window's loss.
    """
    lanes = reset_TB.shape[1]
    used = rows_in_use(reset_TB, valid_TB, weight_TB)
    head = min(detached, used)
    pieces = -(-(used - head) // piece_rows)
    value = 0.0
    for b in range(lanes):
        copy(started_BS[b], running_BS[b])
        copy(started_BS[b], handed_on_BS[b])
        fill(d_state_BS[b], 0)  # no gradient from the window after
        fill(d_initial_BS[b], 0)
        for w in range(write_BW.shape[1]):
            copy(started_BS[b], found_BWS[b, w])
    if head > 0:
        reset, valid = reset_TB[:head], valid_TB[:head]
        start(table, tape, x_TBI[:head], running_BS, initial_BS, valid)
        window_forward(table, packed, tape, work, reset, valid)
        read_states(
            table, tape, 0, head, used, next_origin_B, at_BW, write_BW, handed_on_BS, found_BWS, running_BS
        )  # fmt: skip
        if scored and weigh(weight_TB[:head])[1]:
            value += losses_of(
                table, tape, work, head, loss, loss_setting, outputs, y_TBO[:head], weight_TB[:head], valid, total
            )  # fmt: skip
    for p in range(pieces):
        first, last = head + p * piece_rows, min(head + (p + 1) * piece_rows, used)
        if pieces > 1:
            for b in range(lanes):
                copy(running_BS[b], heads_PBS[p, b])
        reset, valid = reset_TB[first:last], valid_TB[first:last]
        start(table, tape, x_TBI[first:last], running_BS, initial_BS, valid)
        window_forward(table, packed, tape, work, reset, valid)
        read_states(
            table, tape, first, last - first, used, next_origin_B, at_BW, write_BW, handed_on_BS, found_BWS, running_BS
        )  # fmt: skip
    if not scored:
        return value
    fill(d_packed, 0)
    for p in range(pieces - 1, -1, -1):
        first, last = head + p * piece_rows, min(head + (p + 1) * piece_rows, used)
        reset, valid = reset_TB[first:last], valid_TB[first:last]
        if p < pieces - 1:
            start(table, tape, x_TBI[first:last], heads_PBS[p], initial_BS, valid)
            window_forward(table, packed, tape, work, reset, valid)
        targets, weights = y_TBO[first:last], weight_TB[first:last]
        value += losses_of(
            table, tape, work, last - first, loss, loss_setting, outputs, targets, weights, valid, total
        )  # fmt: skip
        window_backward(
            table, packed, tape, work, reset, valid, reweight_T[first:last], d_state_BS, d_initial_BS, d_packed, False
        )
    return value


@entry
def run_block(
    thread,
    threads,
    barrier,
    places,
    table,
    params,
    moments,
    packed,
    slots,
    d_packs,
    block_losses,
    squares,
    tapes,
    works,
    states_6BS,
    found_BWS,
    heads_NPBS,
    carried_BS,
    store_MS,
    outputs,
    x_KTBI,
    y_KTBO,
    reset_KTB,
    valid_KTB,
    weight_KTB,
    origin_KB,
    read_KB,
    at_KBW,
    write_KBW,
    noise_KBS,
    reweight_T,
    scale_K,
    detached,
    piece_rows,
    initial_kind,
    rule,
    rule_settings,
    learning_rates,
    count,
    stretches,
    loss,
    loss_setting,
    clip,
    clip_limit,
    losses,
    norms,
    block_lanes,
):
    """Train; `params`, `moments`, `carried`, `store`, `losses` and `norms` change in place.

    Every thread calls this with its own number. It takes whole blocks of lanes through a window, then its share of
    the parameters through the update; the threads meet in between.

    Args:
        places: where the threads tell each other their processors, see `places.py`.
        packed, slots: zeros; the parameters, what is derived from them, and the moments in panels.
        d_packs: scratch for each block's gradients, in panels.
        states_6BS: scratch but for its last entry, which holds the initial state of each lane.
        stretches: `(S, 3)`, which parameters in panels are trained and how many of the `count` updates they have
            missed; see `rules.py`.

    Returns:
        `(done, count)`: the windows trained, and the updates made since the rule's start.
    """
    windows, steps, lanes = reset_KTB.shape
    blocks = d_packs.shape[0]
    tape_lane = tapes.shape[1] // min(lanes, block_lanes)
    started_BS, handed_on_BS, running_BS = states_6BS[0], states_6BS[1], states_6BS[2]
    d_state_BS, d_initial_BS, initial_BS = states_6BS[3], states_6BS[4], states_6BS[5]
    first_block, last_block = share(blocks, thread, threads)
    first_lane, last_lane = first_block * block_lanes, min(last_block * block_lanes, lanes)
    one = lanes_of_a_vector(packed)
    trained, grad = vector(packed, 0, d_packs.shape[1]), d_packs[0]
    first_vector, last_vector = share(trained.size // one, thread, threads)
    move(table, params, packed, True, thread, threads)
    for slot in range(moments.shape[0]):
        move(table, moments[slot], slots[slot], True, thread, threads)
    if not meet(barrier, places, thread, threads):
        return 0, count
    keep_apart(places, thread, threads)
    done, changed = windows, True
    for k in range(windows):
        total, scored = weigh(weight_KTB[k])
        if changed:
            derive(table, packed, lanes > 1, False, thread, threads)
            changed = False
        # after this, what the window before has recorded is there, and the parameters in panels
        if not meet(barrier, places, thread, threads):
            return k, count
        for b in range(first_lane, last_lane):
            if initial_kind == TRAINED:
                read_initial(table, packed, initial_BS[b])
            elif initial_kind == DRAWN:
                copy(noise_KBS[k, b], initial_BS[b])
            if origin_KB[k, b] >= 0:
                copy(carried_BS[b], started_BS[b])
            elif origin_KB[k, b] == -2:
                copy(store_MS[read_KB[k, b]], started_BS[b])
            else:
                copy(initial_BS[b], started_BS[b])
        for block in range(first_block, last_block):
            first, last = block * block_lanes, min((block + 1) * block_lanes, lanes)
            block_losses[block] = go_through(
                table,
                packed,
                vector(tapes, thread * tapes.shape[1], (last - first) * tape_lane),
                works[thread],
                x_KTBI[k, :, first:last],
                y_KTBO[k, :, first:last],
                reset_KTB[k, :, first:last],
                valid_KTB[k, :, first:last],
                weight_KTB[k, :, first:last],
                reweight_T,
                origin_KB[k + 1, first:last],
                at_KBW[k, first:last],
                write_KBW[k, first:last],
                detached,
                piece_rows,
                started_BS[first:last],
                initial_BS[first:last],
                handed_on_BS[first:last],
                found_BWS[first:last],
                running_BS[first:last],
                heads_NPBS[thread],
                d_state_BS[first:last],
                d_initial_BS[first:last],
                d_packs[block],
                outputs,
                loss,
                loss_setting,
                total / scale_K[k],
                scored,
            )
            if scored and initial_kind == TRAINED:
                for b in range(first, last):
                    if origin_KB[k, b] == -1 and not any_valid(valid_KTB[k, :detached], b):
                        for j in range(d_state_BS.shape[1]):
                            d_initial_BS[b, j] += d_state_BS[b, j]
                write_initial(table, d_initial_BS[first:last], d_packs[block])
        if scored:
            if not meet(barrier, places, thread, threads):
                return k, count
            if blocks > 1:
                add_blocks(d_packs, thread, threads)
                if not meet(barrier, places, thread, threads):
                    return k, count
            add_squares(stretches, grad, squares, thread, threads)
            if not meet(barrier, places, thread, threads):
                return k, count
            norm, value = global_norm(squares), 0.0
            for block in range(blocks):
                value += block_losses[block]
            value /= scale_K[k]
            if thread == 0:
                losses[k], norms[k] = value, norm
            if detached < steps:  # else there is no gradient
                if not (np.isfinite(value) and np.isfinite(norm)):
                    done = k
                    break
                count += 1
                update_stretches(
                    stretches,
                    rule,
                    rule_settings,
                    learning_rates[k],
                    count,
                    clip,
                    clip_limit,
                    norm,
                    trained,
                    grad,
                    slots,
                    first_vector * one,
                    last_vector * one,
                )
                changed = True
                if may_divide_by_zero(rule, rule_settings, trained):
                    if not meet(barrier, places, thread, threads):
                        return k, count
                    if thread == 0:
                        clear_what_pads(table, params, trained)  # moments there are read by nothing else
        recording = write_KBW.shape[2] > 0  # before that, everyone must have started this window
        if (scored or recording) and not meet(barrier, places, thread, threads):
            return k, count
        for b in range(first_lane, last_lane):
            copy(handed_on_BS[b], carried_BS[b])
            for w in range(write_KBW.shape[2]):
                if write_KBW[k, b, w] >= 0:
                    copy(found_BWS[b, w], store_MS[write_KBW[k, b, w]])
    move(table, params, packed, False, thread, threads)
    for slot in range(moments.shape[0]):
        move(table, moments[slot], slots[slot], False, thread, threads)
    return done, count
