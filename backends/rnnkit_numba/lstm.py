"""One LSTM layer over a window of T rows for a block of B lanes: forward, and back-propagation through time.

States have T+1 rows, row t being the state *before* row t is consumed. Forward, for every row t and lane b:

    (1)  h⁻, c⁻ = 0, 0 where reset[t], else h[t], c[t]
    (2)  a = weight_ih x[t] + bias_ih + weight_hh h⁻ + bias_hh                 four blocks: a_i, a_f, a_g, a_o
    (3)  i, f, g, o = σ(a_i), σ(a_f), tanh(a_g), σ(a_o)
    (4)  c = f ⊙ c⁻ + i ⊙ g
    (5)  h = o ⊙ tanh(c)
    (6)  h[t+1], c[t+1] = h, c where valid[t], else h⁻, c⁻

Backward, from the last row to the first; the number tells which forward line is inverted:

    (6') d_h = d_y[t] + d_h[t+1], d_c = d_c[t+1] where valid[t]; else d_h⁻, d_c⁻ = d_h[t+1], d_c[t+1], d_a = 0
    (5') d_o = d_h ⊙ tanh(c);  d_c = d_c + d_h ⊙ o ⊙ (1 - tanh²(c))
    (4') d_f = d_c ⊙ c⁻;  d_i = d_c ⊙ g;  d_g = d_c ⊙ i;  d_c⁻ = d_c ⊙ f
    (3') d_a_i = d_i ⊙ i (1 - i);  d_a_f = d_f ⊙ f (1 - f);  d_a_g = d_g ⊙ (1 - g²);  d_a_o = d_o ⊙ o (1 - o)
    (2') d_h⁻ = d_h⁻ + weight_hhᵀ d_a;  and over all rows at once, after the last of them:
         d_x = weight_ihᵀ d_a;  d_weight_ih = Σ d_a xᵀ;  d_weight_hh = Σ d_a h⁻ᵀ
         d_bias_ih = d_bias_hh = Σ d_a
    (1') d_h[t], d_c[t] = 0, 0 where reset[t], else d_h⁻, d_c⁻

Tape: 6H numbers a row and lane: the gates i, f, g, o and the state h, c; tanh(c) is computed again.
`backward` writes d_a over the gates and h⁻ over h, so that it needs no memory of its own that grows with T.

Weights stand transposed, `weight_ih_IG`, `weight_hh_HG`, where the innermost loop runs over the 4H gate rows.
"""

from __future__ import annotations

from rnnkit_numba.activations import sigmoid, tanh
from rnnkit_numba.compiled import kernel
from rnnkit_numba.products import (
    add_product,
    add_rows,
    add_transpose,
    add_transposed_product,
    fill_rows,
    transpose,
)
from rnnkit_numba.views import fill, matrix, vector


@kernel
def pack(weight_ih_GI, weight_hh_GH, bias_ih_G, bias_hh_G, weight_ih_IG, weight_hh_HG, bias_G):
    """Parameters as the forward pass reads them: both weights transposed, the two biases summed."""
    transpose(weight_ih_GI, weight_ih_IG)
    transpose(weight_hh_GH, weight_hh_HG)
    for j in range(bias_G.shape[0]):
        bias_G[j] = bias_ih_G[j] + bias_hh_G[j]


@kernel
def unpack(d_weight_ih_IG, d_weight_hh_HG, d_bias_G, d_weight_ih_GI, d_weight_hh_GH, d_bias_ih_G, d_bias_hh_G):
    """Add the gradients of one block of lanes, as `backward` leaves them, to those of the parameters."""
    add_transpose(d_weight_ih_IG, d_weight_ih_GI)
    add_transpose(d_weight_hh_HG, d_weight_hh_GH)
    for j in range(d_bias_G.shape[0]):
        d_bias_ih_G[j] += d_bias_G[j]
        d_bias_hh_G[j] += d_bias_G[j]


@kernel
def forward(x_RI, weight_ih_IG, weight_hh_HG, bias_G, gates_TBG, h_TBH, c_TBH, before_BH, reset_TB, valid_TB):
    """Fill `gates` and rows 1 to T of `h` and `c`; row 0 holds the state before. `before` is scratch."""
    steps, lanes, rows = gates_TBG.shape
    hidden = rows // 4
    one = gates_TBG.dtype.type(1)
    gates_RG = matrix(gates_TBG, 0, steps * lanes, rows)
    fill_rows(bias_G, gates_RG)  # (2) the biases of all rows
    add_product(x_RI, weight_ih_IG, gates_RG)  # (2) the inputs of all rows
    for t in range(steps):
        for b in range(lanes):
            for j in range(hidden):
                before_BH[b, j] = one - one if reset_TB[t, b] else h_TBH[t, b, j]  # (1)
        add_product(before_BH, weight_hh_HG, gates_TBG[t])  # (2)
        for b in range(lanes):
            if not valid_TB[t, b]:
                for j in range(hidden):
                    h_TBH[t + 1, b, j] = before_BH[b, j]  # (6)
                    c_TBH[t + 1, b, j] = one - one if reset_TB[t, b] else c_TBH[t, b, j]  # (6), (1)
                continue
            gates_G = gates_TBG[t, b]
            for j in range(2 * hidden):
                gates_G[j] = sigmoid(gates_G[j], one)  # (3) i, f
            for j in range(2 * hidden, 3 * hidden):
                gates_G[j] = tanh(gates_G[j])  # (3) g
            for j in range(3 * hidden, rows):
                gates_G[j] = sigmoid(gates_G[j], one)  # (3) o
            for j in range(hidden):
                i, f, g = gates_G[j], gates_G[hidden + j], gates_G[2 * hidden + j]
                c_before = one - one if reset_TB[t, b] else c_TBH[t, b, j]  # (1)
                c_TBH[t + 1, b, j] = f * c_before + i * g  # (4), (6)
            for j in range(hidden):
                h_TBH[t + 1, b, j] = gates_G[3 * hidden + j] * tanh(c_TBH[t + 1, b, j])  # (5), (6)


@kernel
def backward(
    d_y_TBH,
    x_RI,
    weight_ih_GI,
    weight_hh_GH,
    gates_TBG,
    h_TBH,
    c_TBH,
    d_h_BH,
    d_c_BH,
    d_weight_ih_IG,
    d_weight_hh_HG,
    d_bias_G,
    d_x_RI,
    reset_TB,
    valid_TB,
    wants_d_x,
):
    """Back-propagate through a window.

    `d_h` and `d_c` hold the gradient of the state after the last row and leave with that of the state before
    row 0. `d_weight_ih`, `d_weight_hh` and `d_bias` are added to, `d_x` is written where it is wanted, and
    `gates` and `h` are used up.
    """
    steps, lanes, rows = gates_TBG.shape
    hidden = rows // 4
    one = gates_TBG.dtype.type(1)
    zero = one - one
    for t in range(steps - 1, -1, -1):
        for b in range(lanes):
            cold = reset_TB[t, b]
            gates_G = gates_TBG[t, b]
            if not valid_TB[t, b]:
                fill(gates_G, zero)  # (6') d_h and d_c pass unchanged
                continue
            for j in range(hidden):
                i, f = gates_G[j], gates_G[hidden + j]
                g, o = gates_G[2 * hidden + j], gates_G[3 * hidden + j]
                tanh_c = tanh(c_TBH[t + 1, b, j])
                c_before = zero if cold else c_TBH[t, b, j]  # (1)
                d_h = d_y_TBH[t, b, j] + d_h_BH[b, j]  # (6')
                d_o = d_h * tanh_c  # (5')
                d_c = d_c_BH[b, j] + d_h * o * (one - tanh_c * tanh_c)  # (5')
                gates_G[j] = d_c * g * i * (one - i)  # (4'), (3') d_a_i
                gates_G[hidden + j] = d_c * c_before * f * (one - f)  # (4'), (3') d_a_f
                gates_G[2 * hidden + j] = d_c * i * (one - g * g)  # (4'), (3') d_a_g
                gates_G[3 * hidden + j] = d_o * o * (one - o)  # (3') d_a_o
                d_c_BH[b, j] = d_c * f  # (4')
                d_h_BH[b, j] = zero
        add_product(gates_TBG[t], weight_hh_GH, d_h_BH)  # (2')
        for b in range(lanes):
            if reset_TB[t, b]:
                for j in range(hidden):
                    d_h_BH[b, j] = zero  # (1')
                    d_c_BH[b, j] = zero  # (1')
                    h_TBH[t, b, j] = zero  # (1) h becomes h⁻
    d_a_RG = matrix(gates_TBG, 0, steps * lanes, rows)
    add_transposed_product(x_RI, d_a_RG, d_weight_ih_IG)  # (2')
    add_transposed_product(matrix(h_TBH, 0, steps * lanes, hidden), d_a_RG, d_weight_hh_HG)  # (2')
    add_rows(d_a_RG, d_bias_G)  # (2')
    if wants_d_x:
        fill(vector(d_x_RI, 0, d_x_RI.size), zero)
        add_product(d_a_RG, weight_ih_GI, d_x_RI)  # (2')
