"""One dense layer over all R = T·B rows and lanes of a window.

    (1)  a = weight x[t] + bias             (1')  d_x = weightᵀ d_a;  d_weight = Σ d_a xᵀ;  d_bias = Σ d_a
    (2)  y = activation(a)                  (2')  d_a = d_y ⊙ activation'(a)

Tape: the O outputs a row and lane, from which each activation's derivative follows; the inputs are kept by
the layer before. `backward` writes d_a over d_y. Rows are padded to whole vectors.
"""

from __future__ import annotations

from rnnkit_numba.activations import RELU, SIGMOID, TANH, relu, sigmoid, tanh
from rnnkit_numba.compiled import kernel
from rnnkit_numba.pointers import pointer
from rnnkit_numba.products import add_rows, add_transposed_product, product
from rnnkit_numba.vectors import lanes, like, load_at, store_at, where_less
from rnnkit_numba.views import all_finite, clear_excess


@kernel
def forward(x_RN, inputs, weights, y_RO, outputs, activation, bounded):
    """Fill `y`, of which the first `outputs` columns count.

    `weights` are the weight in panels, then the bias. Inputs that are `bounded` cannot be infinite.
    """
    rows, width = y_RO.shape
    one, y = lanes(y_RO), pointer(y_RO, 0, y_RO.size)
    bias = pointer(weights, inputs * width, width)
    x, weight = pointer(x_RN, 0, rows * x_RN.shape[1]), pointer(weights, 0, inputs * width)
    product(x, x_RN.shape[1], weight, inputs, bias, 0, y, width, rows, width, inputs, one)  # (1)
    if outputs < width and not bounded and not all_finite(x, rows * x_RN.shape[1], one):
        clear_excess(y, width, rows, width, outputs, 1, one)
    if activation == TANH:
        for j in range(0, y_RO.size, one):
            store_at(tanh(load_at(y, j)), y, j)  # (2)
    elif activation == RELU:
        for j in range(0, y_RO.size, one):
            store_at(relu(load_at(y, j)), y, j)  # (2)
    elif activation == SIGMOID:
        for j in range(0, y_RO.size, one):
            store_at(sigmoid(load_at(y, j)), y, j)  # (2)


@kernel
def backward(d_y_RO, x_RN, inputs, outputs, weights, zeros, y_RO, d_weights, d_x_RI, panel, activation, wants_d_x):
    """Back-propagate: `d_weights` are added to, `d_x` is written where wanted, `d_y` used up.

    `weights` is the weight as `(O, I)` in panels; see `lstm.backward` for `zeros` and `panel`.
    """
    rows, width = y_RO.shape
    one, y, d_a = lanes(y_RO), pointer(y_RO, 0, y_RO.size), pointer(d_y_RO, 0, d_y_RO.size)
    if activation == TANH:
        for j in range(0, y_RO.size, one):
            y_j = load_at(y, j)
            store_at(load_at(d_a, j) * (like(y_j, 1.0) - y_j * y_j), d_a, j)  # (2')
    elif activation == RELU:
        for j in range(0, y_RO.size, one):
            y_j = load_at(y, j)
            slope = where_less(like(y_j, 0.0), y_j, like(y_j, 1.0), y_j)  # NaN stays NaN
            store_at(load_at(d_a, j) * slope, d_a, j)  # (2')
    elif activation == SIGMOID:
        for j in range(0, y_RO.size, one):
            y_j = load_at(y, j)
            store_at(load_at(d_a, j) * (y_j * (like(y_j, 1.0) - y_j)), d_a, j)  # (2')
    x, x_row = pointer(x_RN, 0, rows * x_RN.shape[1]), x_RN.shape[1]
    d_weight, d_bias = pointer(d_weights, 0, inputs * width), pointer(d_weights, inputs * width, width)
    scratch = pointer(panel, 0, panel.size)
    add_transposed_product(x, x_row, d_a, width, d_weight, rows, inputs, width, one, scratch)  # (1')
    add_rows(d_a, d_bias, rows, width, one)  # (1')
    if wants_d_x:
        columns = d_x_RI.shape[1]
        weight = pointer(weights, 0, outputs * columns)
        d_x = pointer(d_x_RI, 0, d_x_RI.size)
        product(
            d_a, width, weight, outputs, pointer(zeros, 0, columns), 0, d_x, columns, rows, columns, outputs, one
        )  # (1')
