"""A chain of layers over one window, for one block of lanes; the block's tape is a flat buffer (`layout.py`).

The layers' outputs lie on the tape, each the input of the next. Gradients between layers alternate between
two arrays of the scratch space.
"""

from __future__ import annotations

from rnnkit_numba import dense, layout, lstm
from rnnkit_numba.activations import SIGMOID, TANH
from rnnkit_numba.compiled import kernel
from rnnkit_numba.layout import (
    ACTIVATION,
    CELLS,
    DERIVED,
    GATES,
    HIDDEN,
    INITIAL,
    INPUTS,
    KIND,
    KIND_LSTM,
    OUTPUT,
    OUTPUTS,
    PACKED,
    READ,
    STATE,
    WIDTH,
)
from rnnkit_numba.single_lane import recurrent_rows
from rnnkit_numba.vectors import lanes as lanes_of_a_vector
from rnnkit_numba.views import clear_padding, copy_alike, cube, matrix, vector

lstm_forward, lstm_backward = lstm.forward, lstm.backward
dense_forward, dense_backward = dense.forward, dense.backward
padded = kernel(layout.padded)


@kernel
def widest(table, one):
    """Features of the widest row between two layers, padded."""
    width = 0
    for index in range(table.shape[0]):
        width = max(width, padded(table[index, INPUTS], one), table[index, WIDTH])
    return width


@kernel
def start(table, tape, x_TBI, state_BS, initial_BS, valid_TB):
    """Lay the inputs (zero at padding, whatever stands there), the state before row 0 and the initial state on it."""
    steps, lanes, inputs = x_TBI.shape
    inside_TBI = cube(tape, 0, steps, lanes, inputs)
    copy_alike(x_TBI, inside_TBI)
    clear_padding(valid_TB, inside_TBI)
    for index in range(table.shape[0]):
        if table[index, KIND] == KIND_LSTM:
            hidden, width, s = table[index, OUTPUTS], table[index, WIDTH], table[index, STATE]
            h_BH = matrix(tape, table[index, HIDDEN] * lanes, lanes, width)
            c_BH = matrix(tape, table[index, CELLS] * lanes, lanes, width)
            for b in range(lanes):
                spread(state_BS[b], s, h_BH[b], hidden)
                spread(state_BS[b], s + hidden, c_BH[b], hidden)
            initial_2BH = cube(tape, table[index, INITIAL] * lanes, 2, lanes, width)
            for b in range(lanes):
                spread(initial_BS[b], s, initial_2BH[0, b], hidden)
                spread(initial_BS[b], s + hidden, initial_2BH[1, b], hidden)


@kernel
def spread(source_N, first, a_N, size):
    """`a[:size] = source[first : first + size]`, zero beyond."""
    for j in range(size):
        a_N[j] = source_N[first + j]
    for j in range(size, a_N.size):
        a_N[j] = 0


@kernel
def read_state(table, tape, steps, lanes, b, row, state_S):
    """The state of lane b before row `row`, where no reset of that row has touched it."""
    for index in range(table.shape[0]):
        if table[index, KIND] == KIND_LSTM:
            hidden, width, s = table[index, OUTPUTS], table[index, WIDTH], table[index, STATE]
            h_N = vector(tape, table[index, HIDDEN] * lanes + (row * lanes + b) * width, width)
            c_N = vector(tape, table[index, CELLS] * lanes + (row * lanes + b) * width, width)
            for j in range(hidden):
                state_S[s + j] = h_N[j]
                state_S[s + hidden + j] = c_N[j]


@kernel
def read_outputs(table, tape, valid_TB, y_TBO, outputs):
    """The outputs of the last layer; zero at padding, and in y's columns beyond them."""
    last = table.shape[0] - 1
    steps, lanes, _ = y_TBO.shape
    width = table[last, WIDTH]
    from_TBO = cube(tape, table[last, OUTPUT] * lanes, steps, lanes, width)
    for t in range(steps):
        for b in range(lanes):
            if valid_TB[t, b]:
                for j in range(outputs):
                    y_TBO[t, b, j] = from_TBO[t, b, j]
                for j in range(outputs, y_TBO.shape[2]):
                    y_TBO[t, b, j] = 0
            else:
                for j in range(y_TBO.shape[2]):
                    y_TBO[t, b, j] = 0


@kernel
def forward(table, packed, tape, work, reset_TB, valid_TB):
    """Run the chain over a tape that `start` has prepared."""
    steps, lanes = reset_TB.shape
    one = lanes_of_a_vector(tape)
    before = 2 * steps * lanes * widest(table, one)
    x_offset, bounded = 0, False
    for index in range(table.shape[0]):
        inputs, outputs, width = table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
        q, d = table[index, PACKED], table[index, DERIVED]
        x_RN = matrix(tape, x_offset, steps * lanes, table[index, READ])
        if table[index, KIND] == KIND_LSTM:
            lstm_forward(
                x_RN,
                inputs,
                vector(packed, q, 4 * width * (inputs + recurrent_rows(outputs, one))),
                vector(packed, d, 4 * width),
                cube(tape, table[index, GATES] * lanes, steps, lanes, 4 * width),
                cube(tape, table[index, HIDDEN] * lanes, steps + 1, lanes, width),
                cube(tape, table[index, CELLS] * lanes, steps + 1, lanes, width),
                cube(tape, table[index, INITIAL] * lanes, 2, lanes, width),
                matrix(work, before, lanes, width),
                outputs,
                reset_TB,
                valid_TB,
                bounded,
            )
            bounded = True
        else:
            dense_forward(
                x_RN,
                inputs,
                vector(packed, q, width * (inputs + 1)),
                matrix(tape, table[index, OUTPUT] * lanes, steps * lanes, width),
                outputs,
                table[index, ACTIVATION],
                bounded,
            )
            bounded = table[index, ACTIVATION] == TANH or table[index, ACTIVATION] == SIGMOID
        x_offset = table[index, OUTPUT] * lanes


@kernel
def backward(table, packed, tape, work, reset_TB, valid_TB, reweight_T, d_state_BS, d_initial_BS, d_packed, wants_d_x):
    """Back-propagate through the chain; the tape is used up.

    Args:
        work: holds `d_y (T, B, O)` at its start, O padded, zero at padding.
        reweight_T: what the gradient is multiplied by that crosses from row t to the row before it.
        d_state_BS: the gradient of the state after the last row; leaves as that of the state before row 0.
        d_initial_BS: that of what resets went to; added to.
        d_packed: gradients of the parameters in panels; added to.
        wants_d_x: compute the gradient of the inputs, too.

    Returns:
        Where in `work` the gradient of the inputs `(T, B, I)`, I padded, starts.
    """
    steps, lanes = reset_TB.shape
    rows, one = steps * lanes, lanes_of_a_vector(tape)
    width_of_all = widest(table, one)
    here, there = 0, rows * width_of_all
    d_state = 2 * rows * width_of_all
    panel_at = d_state + 3 * lanes * width_of_all
    panel = vector(work, panel_at, work.size - panel_at)
    zeros = vector(packed, packed.size - width_of_all, width_of_all)
    for index in range(table.shape[0] - 1, -1, -1):
        inputs, outputs, width = table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
        columns, q, d = padded(inputs, one), table[index, PACKED], table[index, DERIVED]
        x_RN = matrix(tape, table[index - 1, OUTPUT] * lanes if index > 0 else 0, rows, table[index, READ])
        d_x_RI = matrix(work, there, rows, columns)
        onward = wants_d_x or index > 0
        if table[index, KIND] == KIND_LSTM:
            gates, s = 4 * width, table[index, STATE]
            d_h_BH = matrix(work, d_state, lanes, width)
            d_c_BH = matrix(work, d_state + lanes * width, lanes, width)
            for b in range(lanes):
                spread(d_state_BS[b], s, d_h_BH[b], outputs)
                spread(d_state_BS[b], s + outputs, d_c_BH[b], outputs)
            lstm_backward(
                cube(work, here, steps, lanes, width),
                x_RN,
                inputs,
                vector(packed, q, gates * (inputs + recurrent_rows(outputs, one))),
                vector(packed, d + gates, gates * (width + columns)),
                zeros,
                cube(tape, table[index, GATES] * lanes, steps, lanes, gates),
                cube(tape, table[index, HIDDEN] * lanes, steps + 1, lanes, width),
                cube(tape, table[index, CELLS] * lanes, steps + 1, lanes, width),
                cube(tape, table[index, INITIAL] * lanes, 2, lanes, width),
                d_initial_BS,
                s,
                reweight_T,
                d_h_BH,
                d_c_BH,
                vector(d_packed, q, gates * (inputs + recurrent_rows(outputs, one) + 2)),
                d_x_RI,
                panel,
                outputs,
                reset_TB,
                valid_TB,
                onward,
            )
            for b in range(lanes):
                for j in range(outputs):
                    d_state_BS[b, s + j] = d_h_BH[b, j]
                    d_state_BS[b, s + outputs + j] = d_c_BH[b, j]
        else:
            dense_backward(
                matrix(work, here, rows, width),
                x_RN,
                inputs,
                outputs,
                vector(packed, d, outputs * columns),
                zeros,
                matrix(tape, table[index, OUTPUT] * lanes, rows, width),
                vector(d_packed, q, width * (inputs + 1)),
                d_x_RI,
                panel,
                table[index, ACTIVATION],
                onward,
            )
        here, there = there, here
    return here
