"""The compiled loop over a block's windows, and the way of one lane group through a window.

A window is taken in pieces that share one tape. Rows outside the gradient (`detached`) go first, forward only. The
rest is one piece; or, where the tape would be too long, pieces of `piece_rows` rows: on the way forward the state at
the head of each is kept, on the way back each is computed again from there. Rows behind the last one that is valid,
reset or scored are left out: padding holds the state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rnnkit.backend import FRESH, RECORDED
from rnnkit_numba.compiled import entry, kernel
from rnnkit_numba.kernels.pointers import pointer
from rnnkit_numba.kernels.vectors import W_of
from rnnkit_numba.kernels.views import copy, fill, vector
from rnnkit_numba.layers.given import Back, Piece, net_of
from rnnkit_numba.losses import Targets, add_loss
from rnnkit_numba.packing import add_groups, clear_what_pads, derive, move, read_initial, share, write_initial
from rnnkit_numba.places import keep_apart
from rnnkit_numba.rules import Trained, add_squares, global_norm, may_divide_by_zero, update_stretches
from rnnkit_numba.table import OUTPUT_AT, WIDTH
from rnnkit_numba.threads import meet
from rnnkit_numba.window import backward as window_backward
from rnnkit_numba.window import forward as window_forward
from rnnkit_numba.window import read_state, start

SAME, TRAINED, DRAWN = range(3)
"""Whether the initial state is the same throughout, stands among the parameters, or is drawn for each window."""


class GroupWindow(NamedTuple):
    """A window of one lane group.

    Attributes:
        next_origin_B: the origin of each lane in the next window, which says the row whose state is handed on.
    """

    x_TBI: Any
    y_TBO: Any
    reset_TB: Any
    valid_TB: Any
    weight_TB: Any
    next_origin_B: Any
    at_BR: Any
    write_BR: Any
    reweight_T: Any


class Room(NamedTuple):
    """Where one lane group is computed.

    Attributes:
        tape, work: see `Piece`.
        heads_PBS: states at the head of each piece.
        d_packed: the gradients of the parameters in panels.
    """

    tape: Any
    work: Any
    heads_PBS: Any
    d_packed: Any


class LaneStates(NamedTuple):
    """States of lanes in a window: what they start from, what resets go to, what is handed on and recorded.

    Attributes:
        running_BS: what stands after the last row that has been computed.
        d_state_BS, d_initial_BS: the gradients of the state before row 0, and of what resets go to.
    """

    started_BS: Any
    handed_on_BS: Any
    running_BS: Any
    d_state_BS: Any
    d_initial_BS: Any
    initial_BS: Any
    found_BRS: Any


@kernel
def window_of(windows, edges, k, first, last):
    """Window k for the lanes from `first` to `last - 1`."""
    return GroupWindow(
        windows.x_KTBI[k, :, first:last],
        windows.y_KTBO[k, :, first:last],
        windows.reset_KTB[k, :, first:last],
        windows.valid_KTB[k, :, first:last],
        windows.weight_KTB[k, :, first:last],
        edges.origin_KB[k + 1, first:last],
        edges.at_KBR[k, first:last],
        edges.write_KBR[k, first:last],
        windows.reweight_T,
    )


@kernel
def states_of(scratch, first, last):
    """The states of the lanes from `first` to `last - 1`."""
    states = scratch.states_6BS
    return LaneStates(
        states[0, first:last],
        states[1, first:last],
        states[2, first:last],
        states[3, first:last],
        states[4, first:last],
        states[5, first:last],
        scratch.found_BRS[first:last],
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
def read_states(table, tape, first, rows, used, window, states):
    """The states that somebody asks for, after the rows `first < row <= first + rows` of the window, off their tape."""
    lanes = states.running_BS.shape[0]
    for b in range(lanes):
        row = used if window.next_origin_B[b] < 0 else min(window.next_origin_B[b], used)
        if first < row <= first + rows:
            read_state(table, tape, lanes, b, row - first, states.handed_on_BS[b])
        for r in range(window.write_BR.shape[1]):
            row = min(window.at_BR[b, r], used)
            if window.write_BR[b, r] >= 0 and first < row <= first + rows:
                read_state(table, tape, lanes, b, row - first, states.found_BRS[b, r])
        read_state(table, tape, lanes, b, rows, states.running_BS[b])


@kernel
def losses_of(table, piece, aim, window, first, last, total):
    """Share of some rows in the window's loss, by the predictions on the tape; the gradient goes to `work`."""
    index, lanes = table.shape[0] - 1, window.reset_TB.shape[1]
    width = table[index, WIDTH]
    size = (last - first) * lanes * width
    y, d_y = pointer(piece.tape, lanes * table[index, OUTPUT_AT], size), pointer(piece.work, 0, size)
    targets = Targets(window.y_TBO[first:last], window.weight_TB[first:last], piece.valid_TB)
    return add_loss(aim, y, d_y, width, targets, total, W_of(piece.tape))


@kernel
def run_piece(net, room, window, first, last, state_BS, initial_BS):
    """Rows `first` to `last - 1` of a window forward, from a state; they stand on the tape."""
    piece = Piece(room.tape, room.work, window.reset_TB[first:last], window.valid_TB[first:last])
    start(net.table, piece, window.x_TBI[first:last], state_BS, initial_BS)
    window_forward(net, piece)
    return piece


@kernel
def go_through(net, room, window, states, way, aim, total, scored):
    """One lane group through one window and back.

    Writes what is handed on and found, and where the window is scored the gradients: of the parameters, of what
    resets go to, and of the state before row 0.

    Returns:
        The group's share of the window's loss.
    """
    lanes = window.reset_TB.shape[1]
    used = rows_in_use(window.reset_TB, window.valid_TB, window.weight_TB)
    head = min(way.detached, used)
    pieces = -(-(used - head) // way.piece_rows)
    value = 0.0
    for b in range(lanes):
        copy(states.started_BS[b], states.running_BS[b])
        copy(states.started_BS[b], states.handed_on_BS[b])
        fill(states.d_state_BS[b], 0)  # no gradient from the window after
        fill(states.d_initial_BS[b], 0)
        for r in range(window.write_BR.shape[1]):
            copy(states.started_BS[b], states.found_BRS[b, r])
    if head > 0:
        piece = run_piece(net, room, window, 0, head, states.running_BS, states.initial_BS)
        read_states(net.table, room.tape, 0, head, used, window, states)
        if scored and weigh(window.weight_TB[:head])[1]:
            value += losses_of(net.table, piece, aim, window, 0, head, total)
    for p in range(pieces):
        first, last = head + p * way.piece_rows, min(head + (p + 1) * way.piece_rows, used)
        if pieces > 1:
            for b in range(lanes):
                copy(states.running_BS[b], room.heads_PBS[p, b])
        run_piece(net, room, window, first, last, states.running_BS, states.initial_BS)
        read_states(net.table, room.tape, first, last - first, used, window, states)
    if not scored:
        return value
    fill(room.d_packed, 0)
    for p in range(pieces - 1, -1, -1):
        first, last = head + p * way.piece_rows, min(head + (p + 1) * way.piece_rows, used)
        piece = Piece(room.tape, room.work, window.reset_TB[first:last], window.valid_TB[first:last])
        if p < pieces - 1:
            run_piece(net, room, window, first, last, room.heads_PBS[p], states.initial_BS)
        value += losses_of(net.table, piece, aim, window, first, last, total)
        back = Back(window.reweight_T[first:last], states.d_state_BS, states.d_initial_BS, room.d_packed)
        window_backward(net, piece, back, False)
    return value


@kernel
def start_lanes(net, edges, k, initial_kind, kept, states, first, last):
    """What each lane from `first` to `last - 1` starts window k from, and what a reset makes of it."""
    for b in range(first, last):
        if initial_kind == TRAINED:
            read_initial(net.table, net.packed, states.initial_BS[b])
        elif initial_kind == DRAWN:
            copy(edges.noise_KBS[k, b], states.initial_BS[b])
        if edges.origin_KB[k, b] >= 0:
            copy(kept.carried_BS[b], states.started_BS[b])
        elif edges.origin_KB[k, b] == RECORDED:
            copy(kept.store_MS[edges.read_KB[k, b]], states.started_BS[b])
        else:
            copy(states.initial_BS[b], states.started_BS[b])


@kernel
def hand_on(write_BR, handed_on_BS, found_BRS, kept, first, last):
    """After a window: what the next one goes on from, and what is recorded, for lanes from `first` to `last - 1`."""
    for b in range(first, last):
        copy(handed_on_BS[b], kept.carried_BS[b])
        for r in range(write_BR.shape[1]):
            if write_BR[b, r] >= 0:
                copy(found_BRS[b, r], kept.store_MS[write_BR[b, r]])


@kernel
def add_initial(table, origin_B, valid_TB, d_state_BS, d_initial_BS, d_packed):
    """The gradient of a learned initial state: of all that was reset, and of lanes that start from it.

    `valid_TB` are the rows outside the gradient, of which a single valid one keeps it from what stands before.
    """
    for b in range(origin_B.size):
        if origin_B[b] == FRESH and not any_valid(valid_TB, b):
            for j in range(d_state_BS.shape[1]):
                d_initial_BS[b, j] += d_state_BS[b, j]
    write_initial(table, d_initial_BS, d_packed)


@entry
def run_block(team, buffers, windows, edges, way, aim, updating, count, scratch, kept, measured):
    """Train through a block of windows; what `buffers`, `kept` and `measured` say changes in place.

    Every thread calls this with its own number. It takes whole lane groups through a window, then its share of the
    parameters through the update; the threads meet in between.

    Args:
        count: updates made since the rule's start.

    Returns:
        `(done, count)`: the windows trained, and the updates made since the rule's start.
    """
    thread, threads, table, packed = team.thread, team.threads, buffers.table, buffers.packed
    last_window, steps, lanes = windows.reset_KTB.shape
    W, groups = W_of(packed), scratch.d_packs.shape[0]
    tape_lane = scratch.tapes.shape[1] // min(lanes, way.group_lanes)
    first_group, last_group = share(groups, thread, threads)
    first_lane, last_lane = first_group * way.group_lanes, min(last_group * way.group_lanes, lanes)
    net, all_states = net_of(table, packed, W), states_of(scratch, 0, lanes)
    trained = Trained(vector(packed, 0, scratch.d_packs.shape[1]), scratch.d_packs[0], buffers.slots)
    first_vector, last_vector = share(trained.params.size // W, thread, threads)
    move(table, buffers.params, packed, True, thread, threads)
    for slot in range(buffers.moments.shape[0]):
        move(table, buffers.moments[slot], buffers.slots[slot], True, thread, threads)
    if not meet(team):
        return 0, count
    keep_apart(team.places, thread, threads)
    done, changed = last_window, True
    for k in range(last_window):
        total, scored = weigh(windows.weight_KTB[k])
        if changed:
            derive(table, packed, lanes, False, thread, threads)
            changed = False
        # after this, what the window before has recorded is there, and the parameters in panels
        if not meet(team):
            return k, count
        start_lanes(net, edges, k, way.initial_kind, kept, all_states, first_lane, last_lane)
        for group in range(first_group, last_group):
            first, last = group * way.group_lanes, min((group + 1) * way.group_lanes, lanes)
            tape = vector(scratch.tapes, thread * scratch.tapes.shape[1], (last - first) * tape_lane)
            room = Room(tape, scratch.works[thread], scratch.heads_NPBS[thread], scratch.d_packs[group])
            window, states = window_of(windows, edges, k, first, last), states_of(scratch, first, last)
            scratch.group_losses[group] = go_through(
                net, room, window, states, way, aim, total / windows.scale_K[k], scored
            )
            if scored and way.initial_kind == TRAINED:
                origin_B, before_TB = edges.origin_KB[k, first:last], window.valid_TB[: way.detached]
                add_initial(table, origin_B, before_TB, states.d_state_BS, states.d_initial_BS, room.d_packed)
        if scored:
            if not meet(team):
                return k, count
            if groups > 1:
                add_groups(scratch.d_packs, thread, threads)
                if not meet(team):
                    return k, count
            add_squares(updating.stretches, trained.grad, scratch.squares, thread, threads)
            if not meet(team):
                return k, count
            norm, value = global_norm(scratch.squares), 0.0
            for group in range(groups):
                value += scratch.group_losses[group]
            value /= windows.scale_K[k]
            if thread == 0:
                measured.losses_K[k], measured.norms_K[k] = value, norm
            if way.detached < steps:  # else there is no gradient
                if not (np.isfinite(value) and np.isfinite(norm)):
                    done = k
                    break
                count += 1
                update_stretches(updating, windows.rate_K[k], count, norm, trained, first_vector * W, last_vector * W)
                changed = True
                if may_divide_by_zero(updating.rule, updating.settings, trained.params):
                    if not meet(team):
                        return k, count
                    if thread == 0:
                        clear_what_pads(table, buffers.params, trained.params)  # moments there are read by nothing else
        recording = edges.write_KBR.shape[2] > 0  # before that, everyone must have started this window
        if (scored or recording) and not meet(team):
            return k, count
        hand_on(edges.write_KBR[k], all_states.handed_on_BS, all_states.found_BRS, kept, first_lane, last_lane)
    move(table, buffers.params, packed, False, thread, threads)
    for slot in range(buffers.moments.shape[0]):
        move(table, buffers.moments[slot], buffers.slots[slot], False, thread, threads)
    return done, count
