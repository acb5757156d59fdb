"""What the tuned kernels compute, in plain loops: the twins that hold them to account. Nothing else calls them.

plain_product               products.product
plain_transposed_product    products.add_transposed_product
plain_sigmoid, plain_tanh   activations.sigmoid, tanh
plain_activate              cells.activate
plain_deactivate            cells.deactivate
plain_pack                  packing.move, of one matrix
"""

from __future__ import annotations

import math

import numpy as np

from rnnkit_numba.compiled import entry, kernel
from rnnkit_numba.kernels.vectors import fma


@entry
def plain_product(a_MK, b_KN, c_MN):
    """`c[m, n] += Σ_k a[m, k] b[k, n]`, term by term."""
    for m in range(c_MN.shape[0]):
        for n in range(c_MN.shape[1]):
            total = c_MN[m, n]
            for k in range(a_MK.shape[1]):
                total = fma(a_MK[m, k], b_KN[k, n], total)
            c_MN[m, n] = total


@entry
def plain_transposed_product(a_RM, b_RN, c_MN):
    """`c[m, n] += Σ_r a[r, m] b[r, n]`, term by term."""
    for m in range(c_MN.shape[0]):
        for n in range(c_MN.shape[1]):
            total = c_MN[m, n]
            for r in range(a_RM.shape[0]):
                total = fma(a_RM[r, m], b_RN[r, n], total)
            c_MN[m, n] = total


@kernel
def plain_sigmoid(a):
    """σ(a) = 1 / (1 + exp(-a)); the exponential's overflow ends in 0."""
    return 1 / (1 + math.exp(-a))


@kernel
def plain_tanh(a):
    """The hyperbolic tangent."""
    return math.tanh(a)


@entry
def plain_activate(gates_4H, c_before_H, c_H, h_H):
    """(3), (4) and (5) of `lstm.py` for one row and lane."""
    hidden = c_H.size
    for j in range(hidden):
        i, f = plain_sigmoid(gates_4H[j]), plain_sigmoid(gates_4H[hidden + j])
        g, o = plain_tanh(gates_4H[2 * hidden + j]), plain_sigmoid(gates_4H[3 * hidden + j])
        c_H[j] = f * c_before_H[j] + i * g
        h_H[j] = o * plain_tanh(c_H[j])
        gates_4H[j], gates_4H[hidden + j], gates_4H[2 * hidden + j], gates_4H[3 * hidden + j] = i, f, g, o


@entry
def plain_deactivate(gates_4H, d_y_H, c_before_H, c_H, d_h_H, d_c_H):
    """(6'), (5'), (4') and (3') of `lstm.py` for one valid row and lane."""
    hidden = c_H.size
    for j in range(hidden):
        i, f = gates_4H[j], gates_4H[hidden + j]
        g, o = gates_4H[2 * hidden + j], gates_4H[3 * hidden + j]
        tanh_c = plain_tanh(c_H[j])
        d_h = d_y_H[j] + d_h_H[j]
        d_c = d_c_H[j] + d_h * o * (1 - tanh_c * tanh_c)
        gates_4H[j] = d_c * g * i * (1 - i)
        gates_4H[hidden + j] = d_c * c_before_H[j] * f * (1 - f)
        gates_4H[2 * hidden + j] = d_c * i * (1 - g * g)
        gates_4H[3 * hidden + j] = d_h * tanh_c * o * (1 - o)
        d_c_H[j], d_h_H[j] = d_c * f, 0


def plain_pack(b_KN: np.ndarray, vector: int, widest: int) -> np.ndarray:
    """A matrix `(K, N)` in panels of at most `widest` vectors (`products.py`)."""
    panels, n = [], 0
    while n < b_KN.shape[1]:
        left = (b_KN.shape[1] - n) // vector
        width = vector * max(w for w in (1, 2, 4) if w <= min(left, widest))
        panels.append(b_KN[:, n : n + width].ravel())
        n += width
    return np.concatenate(panels)
