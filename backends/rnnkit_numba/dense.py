"""One dense layer over all R = T·B rows and lanes of a window.

    (1)  a = weight x[t] + bias             (1')  d_x = weightᵀ d_a;  d_weight = Σ d_a xᵀ;  d_bias = Σ d_a
    (2)  y = activation(a)                  (2')  d_a = d_y ⊙ activation'(a)

Tape: the O outputs a row and lane, from which each activation's derivative follows; the inputs are kept by
the layer before. `backward` writes d_a over d_y.
"""

from __future__ import annotations

from rnnkit_numba.activations import RELU, SIGMOID, TANH, relu, sigmoid, tanh
from rnnkit_numba.compiled import kernel
from rnnkit_numba.products import (
    add_product,
    add_rows,
    add_transpose,
    add_transposed_product,
    fill_rows,
    transpose,
)
from rnnkit_numba.views import copy, fill, vector


@kernel
def pack(weight_OI, bias_O, weight_IO, packed_bias_O):
    """Parameters as the forward pass reads them: the weight transposed."""
    transpose(weight_OI, weight_IO)
    copy(bias_O, packed_bias_O)


@kernel
def unpack(d_weight_IO, d_packed_bias_O, d_weight_OI, d_bias_O):
    """Add the gradients of one block of lanes, as `backward` leaves them, to those of the parameters."""
    add_transpose(d_weight_IO, d_weight_OI)
    for j in range(d_bias_O.shape[0]):
        d_bias_O[j] += d_packed_bias_O[j]


@kernel
def forward(x_RI, weight_IO, bias_O, y_RO, activation):
    """Fill `y`."""
    one = y_RO.dtype.type(1)
    fill_rows(bias_O, y_RO)  # (1)
    add_product(x_RI, weight_IO, y_RO)  # (1)
    y_N = vector(y_RO, 0, y_RO.size)
    if activation == TANH:
        for j in range(y_N.size):
            y_N[j] = tanh(y_N[j])  # (2)
    elif activation == RELU:
        for j in range(y_N.size):
            y_N[j] = relu(y_N[j], one)  # (2)
    elif activation == SIGMOID:
        for j in range(y_N.size):
            y_N[j] = sigmoid(y_N[j], one)  # (2)


@kernel
def backward(d_y_RO, x_RI, weight_OI, y_RO, d_weight_IO, d_bias_O, d_x_RI, activation, wants_d_x):
    """Back-propagate: `d_weight` and `d_bias` are added to, `d_x` written where wanted, `d_y` used up."""
    one = y_RO.dtype.type(1)
    y_N, d_a_N = vector(y_RO, 0, y_RO.size), vector(d_y_RO, 0, d_y_RO.size)
    if activation == TANH:
        for j in range(y_N.size):
            d_a_N[j] *= one - y_N[j] * y_N[j]  # (2')
    elif activation == RELU:
        for j in range(y_N.size):
            d_a_N[j] *= one - one if y_N[j] <= one - one else one  # (2')
    elif activation == SIGMOID:
        for j in range(y_N.size):
            d_a_N[j] *= y_N[j] * (one - y_N[j])  # (2')
    add_transposed_product(x_RI, d_y_RO, d_weight_IO)  # (1')
    add_rows(d_y_RO, d_bias_O)  # (1')
    if wants_d_x:
        fill(vector(d_x_RI, 0, d_x_RI.size), one - one)
        add_product(d_y_RO, weight_OI, d_x_RI)  # (1')
