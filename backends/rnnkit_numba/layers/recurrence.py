"""A recurrent layer over the rows of a piece for a group of B lanes, forward and back, whatever its cell.

A cell has G gates and a state of S arrays, the first of which, h, is what the layer gives out; `cell.py` says how it is
handed in. States have T+1 rows, row t being the state *before* row t is consumed. Forward, for every row t and lane b:

    (1)  s⁻ = s₀ where reset[t], else s[t]                       the initial state, zeros by default
    (2)  a = weight_ih x[t] + bias_ih + weight_hh h⁻ + bias_hh  for each of the gates
    (3)  ... the cell's `activate`: what is saved, and s, from a and s⁻
    (6)  s[t+1] = s where valid[t], else s⁻

Backward, from the last row to the first; the number tells which forward line is inverted:

    (6') d_s = d_s[t+1] where valid[t], with d_y[t] added to d_h;  else d_s⁻ = d_s[t+1], d_a = 0
    (3') ... the cell's `deactivate`: d_a, and d_s⁻ but for what passes through the gates
    (2') d_h⁻ = d_h⁻ + weight_hhᵀ d_a;  and over all rows at once, after the last of them:
         d_x = weight_ihᵀ d_a;  d_weight_ih = Σ d_a xᵀ;  d_weight_hh = Σ d_a h⁻ᵀ
         d_bias_ih = d_bias_hh = Σ d_a
    (1') d_s[t] = 0 where reset[t], else r[t] d_s⁻               r[t] = 1 but where cuts are drawn
         d_s₀ = Σ d_s⁻ where reset[t]                            over t

Tape: G + S vectors a row and lane for every vector of units: what the cell saves of its gates, and its state.
`backward` writes d_a over the former and h⁻ over h, so that it needs no memory of its own that grows with T.

H here is the number of hidden units padded to whole vectors. The units in excess have no weights; their gates come out
of zeros, and their states and all their gradients stay 0. The G H gates of a row stand vector by vector of units: all
gates of the first units, then of the next.
"""

from __future__ import annotations

from typing import Any

from rnnkit_numba.compiled import kernel
from rnnkit_numba.kernels.pointers import further, pointer
from rnnkit_numba.kernels.products import add_rows, add_two_transposed_products, product
from rnnkit_numba.kernels.vectors import W_of
from rnnkit_numba.kernels.views import all_finite, clear_excess, clear_vectors, copy_vectors, vector
from rnnkit_numba.layers.cell import States, activate_at, copy_states, deactivate_at, load_gates, states_at
from rnnkit_numba.layers.given import bounded_inputs, inputs_of, padded
from rnnkit_numba.layers.single_lane import alone, backward_rows, forward_rows, recurrent_rows
from rnnkit_numba.table import (
    APART,
    BOUNDED,
    DERIVED,
    GATES,
    GATES_AT,
    INITIAL_AT,
    INPUTS,
    KIND,
    OUTPUT_AT,
    OUTPUTS,
    PACKED,
    READ,
    STATE,
    STATES,
    STATES_AT,
    WIDTH,
    Extent,
)

GATES_IN_CACHE = 2**18
"""Numbers of gates whose inputs are multiplied ahead of the recurrence, so that they are still in the cache."""


def recurrent_extent(cell: Any, layer: Any, steps: int, W: int) -> Extent:
    """What a recurrent layer takes whose cell is this module: each array of its state is as wide as its outputs."""
    width = padded.py_func(layer.hidden, W)
    columns, apart = cell.GATES * width, width * (steps + 1)
    first_state = columns * steps
    initial_at = first_state + cell.STATES * apart
    return Extent(
        columns={KIND: cell.KIND, GATES: cell.GATES, STATES: cell.STATES, BOUNDED: cell.BOUNDED, APART: apart},
        arrays={GATES_AT: 0, STATES_AT: first_state, OUTPUT_AT: first_state + width, INITIAL_AT: initial_at},
        panels=(columns * layer.inputs, columns * recurrent_rows.py_func(layer.hidden, W), columns, columns),
        derived=columns * (1 + width + padded.py_func(layer.inputs, W)),
        tape=initial_at + cell.STATES * width,
        state=cell.STATES * layer.hidden,
    )


@kernel
def rows_alike(reset_TB, valid_TB, t, last):
    """The end of the rows from t on, at most `last`, that a single lane takes in one go: valid, none reset but t."""
    if not valid_TB[t, 0]:
        return t
    end = t + 1
    while end < last and valid_TB[end, 0] and not reset_TB[end, 0]:
        end += 1
    return end


@kernel
def move_gradients(cell, table, index, d_state_BS, d_states, spread):
    """The gradient of each lane's state from its flat row to where the units are padded (`spread`), or back."""
    first, hidden, width = table[index, STATE], table[index, OUTPUTS], table[index, WIDTH]
    for b in range(d_state_BS.shape[0]):
        for s in range(cell.STATES):
            d_s = further(d_states.h, s * d_states.apart + b * width)
            for j in range(width if spread else hidden):
                if not spread:
                    d_state_BS[b, first + s * hidden + j] = d_s[j]
                elif j < hidden:
                    d_s[j] = d_state_BS[b, first + s * hidden + j]
                else:
                    d_s[j] = 0


@kernel
def hand_to_initial(cell, table, index, d_states, d_initial_S):
    """(1') of one lane at a reset: what has come to s⁻ belongs to s₀, and nothing goes on."""
    first, hidden = table[index, STATE], table[index, OUTPUTS]
    for s in range(cell.STATES):
        d_s = further(d_states.h, s * d_states.apart)
        for j in range(hidden):
            d_initial_S[first + s * hidden + j] += d_s[j]
        clear_vectors(d_s, table[index, WIDTH], W_of(d_s))


@kernel
def forward(cell, net, index, piece):
    """Fill what the gates save and rows 1 to T of the state; row 0 holds the state before."""
    table, tape, reset_TB, valid_TB = net.table, piece.tape, piece.reset_TB, piece.valid_TB
    steps, lanes = reset_TB.shape
    W, inputs, hidden, width = W_of(tape), table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
    columns, rows_hh = cell.GATES * width, recurrent_rows(hidden, W)
    row, state_row, apart = lanes * columns, lanes * width, lanes * table[index, APART]
    weights = vector(net.packed, table[index, PACKED], columns * (inputs + rows_hh))
    weight_ih = pointer(weights, 0, inputs * columns)
    weight_hh = pointer(weights, inputs * columns, rows_hh * columns)
    bias = pointer(vector(net.packed, table[index, DERIVED], columns), 0, columns)
    gates_N = vector(tape, lanes * table[index, GATES_AT], steps * row)
    states_N = vector(tape, lanes * table[index, STATES_AT], cell.STATES * apart)
    initial_N = vector(tape, lanes * table[index, INITIAL_AT], cell.STATES * state_row)
    before_N = vector(piece.work, 2 * steps * lanes * net.widest, state_row)  # h⁻, where some lanes are reset
    initial, before = States(pointer(initial_N, 0, initial_N.size), state_row), pointer(before_N, 0, state_row)
    x_all, x_row = inputs_of(net, index, piece), table[index, READ]
    ahead = max(1, GATES_IN_CACHE // row)
    for first in range(0, steps, ahead):
        last = min(first + ahead, steps)
        rows, x = (last - first) * lanes, further(x_all, first * lanes * x_row)
        a = pointer(gates_N, first * row, (last - first) * row)
        product(x, x_row, weight_ih, inputs, bias, 0, a, columns, rows, columns, inputs, W)  # (2)
        if hidden < width and not bounded_inputs(net, index) and not all_finite(x, rows * x_row, W):
            clear_excess(a, columns, rows, columns, hidden, cell.GATES, W)
        t = first
        while t < last:
            a = pointer(gates_N, t * row, row)
            states = States(pointer(states_N, t * state_row, (cell.STATES - 1) * apart + 2 * state_row), apart)
            end = rows_alike(reset_TB, valid_TB, t, last) if alone(cell.GATES, lanes) else t
            if end > t:
                after = states_at(states, width)
                states = initial if reset_TB[t, 0] else states  # (1)
                forward_rows(cell, states, weight_hh, rows_hh, a, after, end - t, width)  # (2) to (6)
                t = end
                continue
            anyone_cold = False
            for b in range(lanes):
                anyone_cold = anyone_cold or reset_TB[t, b]
            h_before = states.h
            if anyone_cold:
                for b in range(lanes):
                    h_b = further(initial.h if reset_TB[t, b] else states.h, b * width)
                    copy_vectors(h_b, further(before, b * width), width, W)  # (1)
                h_before = before
            product(h_before, width, weight_hh, rows_hh, a, columns, a, columns, lanes, columns, hidden, W)  # (2)
            for b in range(lanes):
                a_b, after = further(a, b * columns), states_at(states, state_row + b * width)
                states_b = states_at(initial if reset_TB[t, b] else states, b * width)  # (1)
                if valid_TB[t, b]:
                    for j in range(0, width, W):
                        gates = load_gates(cell, further(a_b, cell.GATES * j), W)
                        activate_at(cell, j, gates, a_b, states_b, after)  # (3), (6)
                else:
                    copy_states(cell, states_b, after, width)  # (6)
            t += 1


@kernel
def backward(cell, net, index, piece, back, here, there, onward):
    """Back-propagate; what the gates saved and h are used up.

    Args:
        here: where in the scratch space the gradient of the outputs stands.
        there: where that of the inputs is written, if it is wanted `onward`.
    """
    table, tape, reset_TB, valid_TB = net.table, piece.tape, piece.reset_TB, piece.valid_TB
    steps, lanes = reset_TB.shape
    W, inputs, hidden, width = W_of(tape), table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
    columns, rows_hh = cell.GATES * width, recurrent_rows(hidden, W)
    row, state_row, apart = lanes * columns, lanes * width, lanes * table[index, APART]
    rows, x_columns = steps * lanes, padded(inputs, W)
    weights = vector(net.packed, table[index, PACKED], columns * (inputs + rows_hh))
    turned = vector(net.packed, table[index, DERIVED] + columns, columns * (width + x_columns))
    weight_hh, back_hh = pointer(weights, inputs * columns, rows_hh * columns), pointer(turned, 0, columns * width)
    gates_N = vector(tape, lanes * table[index, GATES_AT], steps * row)
    states_N = vector(tape, lanes * table[index, STATES_AT], cell.STATES * apart)
    initial_N = vector(tape, lanes * table[index, INITIAL_AT], cell.STATES * state_row)
    d_y_N = vector(piece.work, here, steps * state_row)
    d_states_N = vector(piece.work, 2 * rows * net.widest, cell.STATES * state_row)
    initial = States(pointer(initial_N, 0, initial_N.size), state_row)
    d_states = States(pointer(d_states_N, 0, d_states_N.size), state_row)
    move_gradients(cell, table, index, back.d_state_BS, d_states, True)
    t = steps
    while t > 0:
        end, t = t, t - 1
        if alone(cell.GATES, lanes):  # as many rows as can be taken in one go
            while t > 0 and valid_TB[t, 0] and not reset_TB[t, 0] and valid_TB[t - 1, 0] and back.reweight_T[t] == 1:
                t -= 1
        d_a, d_y = pointer(gates_N, t * row, (end - t) * row), pointer(d_y_N, t * state_row, (end - t) * state_row)
        size = (cell.STATES - 1) * apart + (end - t + 1) * state_row
        states = States(pointer(states_N, t * state_row, size), apart)
        for b in range(lanes):
            d_a_b, d_y_b = further(d_a, b * columns), further(d_y, b * width)
            states_b = states_at(initial if reset_TB[t, b] else states, b * width)  # (1)
            if not valid_TB[t, b]:
                clear_vectors(d_a_b, columns, W)  # (6') d_s pass unchanged
            elif alone(cell.GATES, lanes):
                backward_rows(
                    cell, d_a, d_y, d_states, states, states_b, weight_hh, rows_hh, end - t, width
                )  # (6') to (2')
            else:
                after = states_at(states, state_row + b * width)
                for j in range(0, width, W):
                    deactivate_at(cell, j, d_a_b, d_y_b, states_at(d_states, b * width), states_b, after)  # (6'), (3')
        if not alone(cell.GATES, lanes):
            d_h = d_states.h
            product(d_a, columns, back_hh, columns, d_h, width, d_h, width, lanes, width, columns, W)  # (2')
        for b in range(lanes):
            if reset_TB[t, b]:
                hand_to_initial(cell, table, index, states_at(d_states, b * width), back.d_initial_BS[b])  # (1')
        if back.reweight_T[t] != 1:
            for j in range(d_states_N.size):
                d_states_N[j] *= back.reweight_T[t]  # (1')
    move_gradients(cell, table, index, back.d_state_BS, d_states, False)
    for t in range(steps):
        for b in range(lanes):
            if reset_TB[t, b]:
                h = pointer(states_N, t * state_row + b * width, width)
                copy_vectors(further(initial.h, b * width), h, width, W)  # (1) h, not needed any more, becomes h⁻
    d_weights = vector(back.d_packed, table[index, PACKED], columns * (inputs + rows_hh + 2))
    d_weight_ih = pointer(d_weights, 0, inputs * columns)
    d_weight_hh = pointer(d_weights, inputs * columns, rows_hh * columns)
    d_biases = pointer(d_weights, (inputs + rows_hh) * columns, 2 * columns)
    x, d_a, h = inputs_of(net, index, piece), pointer(gates_N, 0, rows * columns), pointer(states_N, 0, rows * width)
    panel_at = (2 * rows + (cell.STATES + 1) * lanes) * net.widest
    panel = pointer(vector(piece.work, panel_at, piece.work.size - panel_at), 0, piece.work.size - panel_at)
    add_two_transposed_products(
        x, table[index, READ], inputs, d_weight_ih, inputs, h, width, hidden, d_weight_hh, rows_hh, d_a, columns, rows,
        columns, W, panel,
    )  # (2')  # fmt: skip
    add_rows(d_a, d_biases, rows, columns, W)  # (2')
    copy_vectors(d_biases, further(d_biases, columns), columns, W)  # (2')
    if onward:
        d_x = pointer(vector(piece.work, there, rows * x_columns), 0, rows * x_columns)
        zeros = pointer(net.packed, net.packed.size - net.widest, x_columns)
        product(
            d_a, columns, pointer(turned, columns * width, columns * x_columns), columns, zeros, 0, d_x, x_columns,
            rows, x_columns, columns, W,
        )  # (2')  # fmt: skip
