"""One dense layer over all R = T·B rows and lanes of a window.

    (1)  a = weight x[t] + bias             (1')  d_x = weightᵀ d_a;  d_weight = Σ d_a xᵀ;  d_bias = Σ d_a
    (2)  y = activation(a)                  (2')  d_a = d_y ⊙ activation'(a)

Tape: the O outputs a row and lane, from which each activation's derivative follows; the inputs are kept by
the layer before. `backward` writes d_a over d_y. Rows are padded to whole vectors.
"""

from __future__ import annotations

from rnnkit.model import ACTIVATIONS, Dense
from rnnkit_numba.compiled import kernel
from rnnkit_numba.kernels.activations import relu, sigmoid, tanh
from rnnkit_numba.kernels.pointers import pointer
from rnnkit_numba.kernels.products import add_rows, add_transposed_product, product
from rnnkit_numba.kernels.vectors import W_of, like, load_at, store_at, where_less
from rnnkit_numba.kernels.views import all_finite, clear_excess, vector
from rnnkit_numba.layers.given import bounded_inputs, inputs_of, padded
from rnnkit_numba.table import (
    ACTIVATION,
    BOUNDED,
    DERIVED,
    GATES,
    INPUTS,
    KIND,
    OUTPUT_AT,
    OUTPUTS,
    PACKED,
    READ,
    WIDTH,
    Extent,
    extent,
)

TANH, RELU, SIGMOID = (ACTIVATIONS.index(word) for word in ("tanh", "relu", "sigmoid"))
"""Activations by number; the identity is any other."""


@extent.register
def _(layer: Dense, steps: int, W: int) -> Extent:
    width, activation = padded.py_func(layer.outputs, W), ACTIVATIONS.index(layer.activation)
    return Extent(
        columns={KIND: 0, GATES: 1, ACTIVATION: activation, BOUNDED: activation in (TANH, SIGMOID)},
        arrays={OUTPUT_AT: 0},
        panels=(width * layer.inputs, width),
        derived=layer.outputs * padded.py_func(layer.inputs, W),
        tape=width * steps,
    )


@kernel
def forward(net, index, piece):
    """Fill the outputs."""
    table, tape = net.table, piece.tape
    W, inputs, outputs, width = W_of(tape), table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
    steps, lanes = piece.reset_TB.shape
    rows, activation = steps * lanes, table[index, ACTIVATION]
    weights = vector(net.packed, table[index, PACKED], width * (inputs + 1))
    weight, bias = pointer(weights, 0, inputs * width), pointer(weights, inputs * width, width)
    y_N = vector(tape, lanes * table[index, OUTPUT_AT], rows * width)
    y, x, x_row = pointer(y_N, 0, y_N.size), inputs_of(net, index, piece), table[index, READ]
    product(x, x_row, weight, inputs, bias, 0, y, width, rows, width, inputs, W)  # (1)
    if outputs < width and not bounded_inputs(net, index) and not all_finite(x, rows * x_row, W):
        clear_excess(y, width, rows, width, outputs, 1, W)
    if activation == TANH:
        for j in range(0, y_N.size, W):
            store_at(tanh(load_at(y, j)), y, j)  # (2)
    elif activation == RELU:
        for j in range(0, y_N.size, W):
            store_at(relu(load_at(y, j)), y, j)  # (2)
    elif activation == SIGMOID:
        for j in range(0, y_N.size, W):
            store_at(sigmoid(load_at(y, j)), y, j)  # (2)


@kernel
def backward(net, index, piece, back, here, there, onward):
    """Back-propagate: see `recurrence.backward` for the arguments; the gradient of the outputs is used up."""
    table, tape = net.table, piece.tape
    W, inputs, outputs, width = W_of(tape), table[index, INPUTS], table[index, OUTPUTS], table[index, WIDTH]
    steps, lanes = piece.reset_TB.shape
    rows, activation = steps * lanes, table[index, ACTIVATION]
    y_N, d_y_N = vector(tape, lanes * table[index, OUTPUT_AT], rows * width), vector(piece.work, here, rows * width)
    y, d_a = pointer(y_N, 0, y_N.size), pointer(d_y_N, 0, d_y_N.size)
    if activation == TANH:
        for j in range(0, y_N.size, W):
            y_j = load_at(y, j)
            store_at(load_at(d_a, j) * (like(y_j, 1.0) - y_j * y_j), d_a, j)  # (2')
    elif activation == RELU:
        for j in range(0, y_N.size, W):
            y_j = load_at(y, j)
            slope = where_less(like(y_j, 0.0), y_j, like(y_j, 1.0), y_j)  # NaN stays NaN
            store_at(load_at(d_a, j) * slope, d_a, j)  # (2')
    elif activation == SIGMOID:
        for j in range(0, y_N.size, W):
            y_j = load_at(y, j)
            store_at(load_at(d_a, j) * (y_j * (like(y_j, 1.0) - y_j)), d_a, j)  # (2')
    x, x_row = inputs_of(net, index, piece), table[index, READ]
    d_weights = vector(back.d_packed, table[index, PACKED], width * (inputs + 1))
    d_weight, d_bias = pointer(d_weights, 0, inputs * width), pointer(d_weights, inputs * width, width)
    panel_at = (2 * rows + lanes) * net.widest
    panel = pointer(vector(piece.work, panel_at, piece.work.size - panel_at), 0, piece.work.size - panel_at)
    add_transposed_product(x, x_row, d_a, width, d_weight, rows, inputs, width, W, panel)  # (1')
    add_rows(d_a, d_bias, rows, width, W)  # (1')
    if onward:
        columns = padded(inputs, W)
        weight = pointer(vector(net.packed, table[index, DERIVED], outputs * columns), 0, outputs * columns)
        zeros = pointer(net.packed, net.packed.size - net.widest, columns)
        d_x = pointer(vector(piece.work, there, rows * columns), 0, rows * columns)
        product(d_a, width, weight, outputs, zeros, 0, d_x, columns, rows, columns, outputs, W)  # (1')
