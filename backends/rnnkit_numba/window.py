"""A chain of layers over one window, for one block of lanes; the block's tape is a flat buffer (`layout.py`).

The layers' outputs lie on the tape, each the input of the next. Gradients between layers alternate between
two arrays of the scratch space.
"""

from __future__ import annotations

from rnnkit_numba import dense, lstm
from rnnkit_numba.compiled import kernel
from rnnkit_numba.layout import (
    ACTIVATION,
    CELLS,
    GATES,
    HIDDEN,
    INPUTS,
    KIND,
    KIND_LSTM,
    OUTPUT,
    OUTPUTS,
    PACKED,
    PARAMETERS,
    STATE,
)
from rnnkit_numba.views import clear_padding, copy_rows, cube, matrix, vector

lstm_pack, lstm_unpack, lstm_forward, lstm_backward = lstm.pack, lstm.unpack, lstm.forward, lstm.backward
dense_pack, dense_unpack, dense_forward, dense_backward = (
    dense.pack,
    dense.unpack,
    dense.forward,
    dense.backward,
)


@kernel
def widest(table):
    """Features of the widest row between two layers."""
    width = 0
    for index in range(table.shape[0]):
        width = max(width, table[index, INPUTS], table[index, OUTPUTS])
    return width


@kernel
def pack(table, params, packed):
    """Write the parameters as the forward pass reads them."""
    for index in range(table.shape[0]):
        inputs, outputs = table[index, INPUTS], table[index, OUTPUTS]
        p, q = table[index, PARAMETERS], table[index, PACKED]
        if table[index, KIND] == KIND_LSTM:
            gates = 4 * outputs
            bias = p + gates * (inputs + outputs)
            lstm_pack(
                matrix(params, p, gates, inputs),
                matrix(params, p + gates * inputs, gates, outputs),
                vector(params, bias, gates),
                vector(params, bias + gates, gates),
                matrix(packed, q, inputs, gates),
                matrix(packed, q + gates * inputs, outputs, gates),
                vector(packed, q + gates * (inputs + outputs), gates),
            )
        else:
            size = inputs * outputs
            dense_pack(
                matrix(params, p, outputs, inputs),
                vector(params, p + size, outputs),
                matrix(packed, q, inputs, outputs),
                vector(packed, q + size, outputs),
            )


@kernel
def unpack(table, d_packed, grad):
    """Add one block's gradients, which stand as the packed parameters do, to those of the parameters."""
    for index in range(table.shape[0]):
        inputs, outputs = table[index, INPUTS], table[index, OUTPUTS]
        p, q = table[index, PARAMETERS], table[index, PACKED]
        if table[index, KIND] == KIND_LSTM:
            gates = 4 * outputs
            bias = p + gates * (inputs + outputs)
            lstm_unpack(
                matrix(d_packed, q, inputs, gates),
                matrix(d_packed, q + gates * inputs, outputs, gates),
                vector(d_packed, q + gates * (inputs + outputs), gates),
                matrix(grad, p, gates, inputs),
                matrix(grad, p + gates * inputs, gates, outputs),
                vector(grad, bias, gates),
                vector(grad, bias + gates, gates),
            )
        else:
            size = inputs * outputs
            dense_unpack(
                matrix(d_packed, q, inputs, outputs),
                vector(d_packed, q + size, outputs),
                matrix(grad, p, outputs, inputs),
                vector(grad, p + size, outputs),
            )


@kernel
def start(table, tape, x_TBI, state_BS, valid_TB):
    """Lay the inputs (zero at padding, whatever stands there) and the state before row 0 on the tape."""
    steps, lanes, inputs = x_TBI.shape
    inside_TBI = cube(tape, 0, steps, lanes, inputs)
    copy_rows(x_TBI, inside_TBI)
    clear_padding(valid_TB, inside_TBI)
    for index in range(table.shape[0]):
        if table[index, KIND] == KIND_LSTM:
            hidden, s = table[index, OUTPUTS], table[index, STATE]
            h_BH = matrix(tape, table[index, HIDDEN] * lanes, lanes, hidden)
            c_BH = matrix(tape, table[index, CELLS] * lanes, lanes, hidden)
            for b in range(lanes):
                for j in range(hidden):
                    h_BH[b, j] = state_BS[b, s + j]
                    c_BH[b, j] = state_BS[b, s + hidden + j]


@kernel
def read_state(table, tape, steps, lanes, b, row, state_S):
    """The state of lane b before row `row`, where no reset of that row has touched it."""
    for index in range(table.shape[0]):
        if table[index, KIND] == KIND_LSTM:
            hidden, s = table[index, OUTPUTS], table[index, STATE]
            h_TBH = cube(tape, table[index, HIDDEN] * lanes, steps + 1, lanes, hidden)
            c_TBH = cube(tape, table[index, CELLS] * lanes, steps + 1, lanes, hidden)
            for j in range(hidden):
                state_S[s + j] = h_TBH[row, b, j]
                state_S[s + hidden + j] = c_TBH[row, b, j]


@kernel
def read_outputs(table, tape, valid_TB, y_TBO):
    """The outputs of the last layer, zero at padding."""
    steps, lanes, outputs = y_TBO.shape
    copy_rows(cube(tape, table[table.shape[0] - 1, OUTPUT] * lanes, steps, lanes, outputs), y_TBO)
    clear_padding(valid_TB, y_TBO)


@kernel
def forward(table, packed, tape, work, reset_TB, valid_TB):
    """Run the chain over a tape that `start` has prepared."""
    steps, lanes = reset_TB.shape
    before = 2 * steps * lanes * widest(table)
    x_offset = 0
    for index in range(table.shape[0]):
        inputs, outputs, q = table[index, INPUTS], table[index, OUTPUTS], table[index, PACKED]
        if table[index, KIND] == KIND_LSTM:
            gates = 4 * outputs
            lstm_forward(
                matrix(tape, x_offset, steps * lanes, inputs),
                matrix(packed, q, inputs, gates),
                matrix(packed, q + gates * inputs, outputs, gates),
                vector(packed, q + gates * (inputs + outputs), gates),
                cube(tape, table[index, GATES] * lanes, steps, lanes, gates),
                cube(tape, table[index, HIDDEN] * lanes, steps + 1, lanes, outputs),
                cube(tape, table[index, CELLS] * lanes, steps + 1, lanes, outputs),
                matrix(work, before, lanes, outputs),
                reset_TB,
                valid_TB,
            )
        else:
            dense_forward(
                matrix(tape, x_offset, steps * lanes, inputs),
                matrix(packed, q, inputs, outputs),
                vector(packed, q + inputs * outputs, outputs),
                matrix(tape, table[index, OUTPUT] * lanes, steps * lanes, outputs),
                table[index, ACTIVATION],
            )
        x_offset = table[index, OUTPUT] * lanes


@kernel
def backward(table, params, tape, work, reset_TB, valid_TB, d_state_BS, d_packed, wants_d_x):
    """Back-propagate through the chain; the tape is used up.

    Args:
        work: holds `d_y (T, B, O)` at its start, zero at padding.
        d_state_BS: the gradient of the state after the last row; leaves as that of the state before row 0.
        d_packed: gradients of the parameters, as `pack` orders them; added to.
        wants_d_x: compute the gradient of the inputs, too.

    Returns:
        Where in `work` the gradient of the inputs `(T, B, I)` starts.
    """
    steps, lanes = reset_TB.shape
    width = widest(table)
    here, there = 0, steps * lanes * width
    d_state = 2 * steps * lanes * width
    for index in range(table.shape[0] - 1, -1, -1):
        inputs, outputs = table[index, INPUTS], table[index, OUTPUTS]
        p, q = table[index, PARAMETERS], table[index, PACKED]
        x_offset = table[index - 1, OUTPUT] * lanes if index > 0 else 0
        onward = wants_d_x or index > 0
        if table[index, KIND] == KIND_LSTM:
            gates, s = 4 * outputs, table[index, STATE]
            d_h_BH = matrix(work, d_state, lanes, outputs)
            d_c_BH = matrix(work, d_state + lanes * outputs, lanes, outputs)
            for b in range(lanes):
                for j in range(outputs):
                    d_h_BH[b, j] = d_state_BS[b, s + j]
                    d_c_BH[b, j] = d_state_BS[b, s + outputs + j]
            lstm_backward(
                cube(work, here, steps, lanes, outputs),
                matrix(tape, x_offset, steps * lanes, inputs),
                matrix(params, p, gates, inputs),
                matrix(params, p + gates * inputs, gates, outputs),
                cube(tape, table[index, GATES] * lanes, steps, lanes, gates),
                cube(tape, table[index, HIDDEN] * lanes, steps + 1, lanes, outputs),
                cube(tape, table[index, CELLS] * lanes, steps + 1, lanes, outputs),
                d_h_BH,
                d_c_BH,
                matrix(d_packed, q, inputs, gates),
                matrix(d_packed, q + gates * inputs, outputs, gates),
                vector(d_packed, q + gates * (inputs + outputs), gates),
                matrix(work, there, steps * lanes, inputs),
                reset_TB,
                valid_TB,
                onward,
            )
            for b in range(lanes):
                for j in range(outputs):
                    d_state_BS[b, s + j] = d_h_BH[b, j]
                    d_state_BS[b, s + outputs + j] = d_c_BH[b, j]
        else:
            size = inputs * outputs
            dense_backward(
                matrix(work, here, steps * lanes, outputs),
                matrix(tape, x_offset, steps * lanes, inputs),
                matrix(params, p, outputs, inputs),
                matrix(tape, table[index, OUTPUT] * lanes, steps * lanes, outputs),
                matrix(d_packed, q, inputs, outputs),
                vector(d_packed, q + size, outputs),
                matrix(work, there, steps * lanes, inputs),
                table[index, ACTIVATION],
                onward,
            )
        here, there = there, here
    return here
