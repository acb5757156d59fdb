"""A chain of layers over a piece of a window, for one lane group; here is chosen which functions run a layer.

The layers' outputs lie on the tape, each the input of the next. Gradients between layers alternate between the two
arrays at the start of the scratch space.
"""

from __future__ import annotations

from rnnkit_numba.compiled import kernel
from rnnkit_numba.kernels.views import clear_padding, copy_alike, cube, spread, vector
from rnnkit_numba.layers import dense, lstm, recurrence
from rnnkit_numba.table import APART, INITIAL_AT, KIND, OUTPUT_AT, OUTPUTS, STATE, STATES, STATES_AT, WIDTH

recurrence_forward, recurrence_backward = recurrence.forward, recurrence.backward
dense_forward, dense_backward = dense.forward, dense.backward


@kernel
def forward(net, piece):
    """Run the chain over a tape that `start` has prepared."""
    for index in range(net.table.shape[0]):
        if net.table[index, KIND] == lstm.KIND:
            recurrence_forward(lstm, net, index, piece)
        else:
            dense_forward(net, index, piece)


@kernel
def backward(net, piece, back, wants_d_x):
    """Back-propagate through the chain; the tape is used up.

    The scratch space holds `d_y (T, B, O)` at its start, O padded, zero at padding.

    Returns:
        Where in the scratch space the gradient of the inputs `(T, B, I)`, I padded, starts, if it is wanted.
    """
    here, there = 0, piece.reset_TB.size * net.widest
    for index in range(net.table.shape[0] - 1, -1, -1):
        onward = wants_d_x or index > 0
        if net.table[index, KIND] == lstm.KIND:
            recurrence_backward(lstm, net, index, piece, back, here, there, onward)
        else:
            dense_backward(net, index, piece, back, here, there, onward)
        here, there = there, here
    return here


@kernel
def start(table, piece, x_TBI, state_BS, initial_BS):
    """Lay the inputs (zero at padding, whatever stands there), the state before row 0 and the initial one on a tape."""
    steps, lanes, inputs = x_TBI.shape
    inside_TBI = cube(piece.tape, 0, steps, lanes, inputs)
    copy_alike(x_TBI, inside_TBI)
    clear_padding(piece.valid_TB, inside_TBI)
    for index in range(table.shape[0]):
        hidden, width = table[index, OUTPUTS], table[index, WIDTH]
        for s in range(table[index, STATES]):
            first = table[index, STATE] + s * hidden
            states_at = lanes * (table[index, STATES_AT] + s * table[index, APART])
            initial_at = lanes * (table[index, INITIAL_AT] + s * width)
            for b in range(lanes):
                spread(state_BS[b], first, vector(piece.tape, states_at + b * width, width), hidden)
                spread(initial_BS[b], first, vector(piece.tape, initial_at + b * width, width), hidden)


@kernel
def read_state(table, tape, lanes, b, row, state_S):
    """The state of lane b before row `row`, where no reset of that row has touched it."""
    for index in range(table.shape[0]):
        hidden, width = table[index, OUTPUTS], table[index, WIDTH]
        for s in range(table[index, STATES]):
            first, apart = table[index, STATE] + s * hidden, s * table[index, APART]
            state_N = vector(tape, lanes * (table[index, STATES_AT] + apart + row * width) + b * width, width)
            for j in range(hidden):
                state_S[first + j] = state_N[j]


@kernel
def read_outputs(table, piece, y_TBO):
    """The outputs of the last layer; zero at padding."""
    last = table.shape[0] - 1
    steps, lanes, outputs = y_TBO.shape
    from_TBO = cube(piece.tape, lanes * table[last, OUTPUT_AT], steps, lanes, table[last, WIDTH])
    for t in range(steps):
        for b in range(lanes):
            for j in range(outputs):
                y_TBO[t, b, j] = from_TBO[t, b, j] if piece.valid_TB[t, b] else 0
