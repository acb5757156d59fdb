"""One LSTM layer over a window of T rows for a block of B lanes: forward, and back-propagation through time.

States have T+1 rows, row t being the state *before* row t is consumed. Forward, for every row t and lane b:

    (1)  h⁻, c⁻ = h₀, c₀ where reset[t], else h[t], c[t]                        the initial state, zeros by default
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
    (1') d_h[t], d_c[t] = 0, 0 where reset[t], else r[t] d_h⁻, r[t] d_c⁻         r[t] = 1 but where cuts are drawn
         d_h₀ = Σ d_h⁻, d_c₀ = Σ d_c⁻ where reset[t]                            over t

Tape: 6H numbers a row and lane: the gates i, f, g, o and the state h, c; tanh(c) is computed again.
`backward` writes d_a over the gates and h⁻ over h, so that it needs no memory of its own that grows with T.

H here is the number of hidden units padded to whole vectors. The units in excess have no weights: their gates
are σ(0) or tanh(0), their states and all their gradients stay 0. The plain twin stands in `plain.py`.
"""

from __future__ import annotations

from rnnkit_numba.activations import sigmoid, tanh
from rnnkit_numba.compiled import inlined, kernel
from rnnkit_numba.pointers import forward as further
from rnnkit_numba.pointers import pointer
from rnnkit_numba.products import add_rows, add_two_transposed_products, grouped_row_product, product, row_product
from rnnkit_numba.vectors import fma, lanes, like, load_at, store_at
from rnnkit_numba.views import clear_vectors, copy_vectors

GATES_IN_CACHE = 2**18
"""Numbers of gates whose inputs are multiplied ahead of the recurrence, so that they are still in the cache."""


@inlined
def activate(gates, c_before, c, h, width, one):
    """(3), (4) and (5) for one row and lane, all of them pointers; `gates` holds a and leaves as i, f, g, o."""
    for j in range(0, width, one):
        i = sigmoid(load_at(gates, j))
        f = sigmoid(load_at(gates, width + j))
        g = tanh(load_at(gates, 2 * width + j))
        o = sigmoid(load_at(gates, 3 * width + j))
        new = fma(f, load_at(c_before, j), i * g)
        store_at(i, gates, j)
        store_at(f, gates, width + j)
        store_at(g, gates, 2 * width + j)
        store_at(o, gates, 3 * width + j)
        store_at(new, c, j)
        store_at(o * tanh(new), h, j)


@inlined
def deactivate(gates, d_y, c_before, c, d_h, d_c, width, one):
    """(6'), (5'), (4') and (3') for one valid row and lane; `gates` leaves as d_a, `d_h` as zeros."""
    for j in range(0, width, one):
        i, f = load_at(gates, j), load_at(gates, width + j)
        g, o = load_at(gates, 2 * width + j), load_at(gates, 3 * width + j)
        tanh_c = tanh(load_at(c, j))
        unit = like(i, 1.0)
        before = load_at(c_before, j)
        dh = load_at(d_y, j) + load_at(d_h, j)  # (6')
        dc = fma(dh, o * (unit - tanh_c * tanh_c), load_at(d_c, j))  # (5')
        # whatever waits neither for dh nor dc is multiplied first: rows wait for each other
        store_at(dc * (g * (i * (unit - i))), gates, j)  # (4'), (3') d_a_i
        store_at(dc * (before * (f * (unit - f))), gates, width + j)  # (4'), (3') d_a_f
        store_at(dc * (i * (unit - g * g)), gates, 2 * width + j)  # (4'), (3') d_a_g
        store_at(dh * (tanh_c * (o * (unit - o))), gates, 3 * width + j)  # (5'), (3') d_a_o
        store_at(dc * f, d_c, j)  # (4')
        store_at(unit - unit, d_h, j)


@kernel
def forward(x_RN, inputs, weights, gates_TBG, h_TBH, c_TBH, initial_2BH, before_BH, hidden, reset_TB, valid_TB):
    """Fill `gates` and rows 1 to T of `h` and `c`; row 0 holds the state before.

    Args:
        x_RN: rows of the inputs, of which the first `inputs` numbers count.
        weights: weight_ih and weight_hh in panels, then the sum of the biases, see `packing.py`.
        initial_2BH: h₀ and c₀.
        before_BH: scratch for h⁻.
        hidden: hidden units without the padding.
    """
    steps, lanes_B, gates = gates_TBG.shape
    width, row, one = gates // 4, lanes_B * gates, lanes(gates_TBG)
    state_row = lanes_B * width
    x_row = x_RN.shape[1]
    weight_ih = pointer(weights, 0, inputs * gates)
    weight_hh = pointer(weights, inputs * gates, hidden * gates)
    bias = pointer(weights, (inputs + hidden) * gates, gates)
    before = pointer(before_BH, 0, state_row)
    h_initial, c_initial = pointer(initial_2BH, 0, state_row), pointer(initial_2BH, state_row, state_row)
    ahead, ready = max(1, GATES_IN_CACHE // row), 0
    for t in range(steps):
        a = pointer(gates_TBG, t * row, row)
        if t == ready:
            ready = min(t + ahead, steps)
            rows = (ready - t) * lanes_B
            x = pointer(x_RN, t * lanes_B * x_row, rows * x_row)
            product(x, x_row, weight_ih, bias, 0, a, gates, rows, gates, inputs, one)  # (2)
        h, c = pointer(h_TBH, t * state_row, 2 * state_row), pointer(c_TBH, t * state_row, 2 * state_row)
        anyone_cold = False
        for b in range(lanes_B):
            anyone_cold = anyone_cold or reset_TB[t, b]
        h_before = h
        if anyone_cold:
            for b in range(lanes_B):
                h_b = further(h_initial, b * width) if reset_TB[t, b] else further(h, b * width)
                copy_vectors(h_b, further(before, b * width), width, one)  # (1)
            h_before = before
        if lanes_B == 1:
            row_product(h_before, weight_hh, a, gates, hidden, one)  # (2)
        else:
            product(h_before, width, weight_hh, a, gates, a, gates, lanes_B, gates, hidden, one)  # (2)
        for b in range(lanes_B):
            now, new, cold = b * width, state_row + b * width, reset_TB[t, b]
            c_now = further(c_initial, now) if cold else further(c, now)  # (1)
            if valid_TB[t, b]:
                activate(
                    further(a, b * gates), c_now, further(c, new), further(h, new), width, one
                )  # (3), (4), (5), (6)  # fmt: skip
            else:
                h_now = further(h_initial, now) if cold else further(h, now)  # (1)
                copy_vectors(h_now, further(h, new), width, one)  # (6)
                copy_vectors(c_now, further(c, new), width, one)  # (6)


@kernel
def backward(
    d_y_TBH,
    x_RN,
    inputs,
    weights,
    zeros,
    gates_TBG,
    h_TBH,
    c_TBH,
    initial_2BH,
    d_initial_BS,
    first_state,
    reweight_T,
    d_h_BH,
    d_c_BH,
    d_weights,
    d_x_RI,
    panel,
    hidden,
    reset_TB,
    valid_TB,
    wants_d_x,
):
    """Back-propagate through a window.

    `d_h` and `d_c` hold the gradient of the state after the last row and leave with that of the state before
    row 0, weighed by r[0]. That of h₀ and c₀ is added to `d_initial`, from the column `first_state` on. `d_weights`,
    which stand as the forward pass's weights but in one panel, are added to, `d_x` is written where it is wanted, and
    `gates` and `h` are used up.

    Args:
        weights: both weights as `(G, H)` and `(G, I)` in panels.
        zeros: as many as the widest row.
        panel: scratch, see `summing_scratch`.
    """
    steps, lanes_B, gates = gates_TBG.shape
    width, row, one = gates // 4, lanes_B * gates, lanes(gates_TBG)
    state_row = lanes_B * width
    weight_hh = pointer(weights, 0, gates * width)
    d_h, d_c = pointer(d_h_BH, 0, state_row), pointer(d_c_BH, 0, state_row)
    h_initial, c_initial = pointer(initial_2BH, 0, state_row), pointer(initial_2BH, state_row, state_row)
    for t in range(steps - 1, -1, -1):
        d_a, d_y = pointer(gates_TBG, t * row, row), pointer(d_y_TBH, t * state_row, state_row)
        h, c = pointer(h_TBH, t * state_row, state_row), pointer(c_TBH, t * state_row, 2 * state_row)
        for b in range(lanes_B):
            now = b * width
            if valid_TB[t, b]:
                c_now = further(c_initial, now) if reset_TB[t, b] else further(c, now)  # (1)
                deactivate(
                    further(d_a, b * gates), further(d_y, now), c_now, further(c, state_row + now),
                    further(d_h, now), further(d_c, now), width, one,
                )  # (6'), (5'), (4'), (3')  # fmt: skip
            else:
                clear_vectors(further(d_a, b * gates), gates, one)  # (6') d_h and d_c pass unchanged
        if lanes_B == 1:
            grouped_row_product(d_a, weight_hh, d_h, width, width, hidden, one)  # (2')
        else:
            product(d_a, gates, weight_hh, d_h, width, d_h, width, lanes_B, width, gates, one)  # (2')
        for b in range(lanes_B):
            if reset_TB[t, b]:
                for j in range(hidden):
                    d_initial_BS[b, first_state + j] += d_h[b * width + j]  # (1')
                    d_initial_BS[b, first_state + hidden + j] += d_c[b * width + j]  # (1')
                clear_vectors(further(d_h, b * width), width, one)  # (1')
                clear_vectors(further(d_c, b * width), width, one)  # (1')
                copy_vectors(further(h_initial, b * width), further(h, b * width), width, one)  # (1) h becomes h⁻
        if reweight_T[t] != 1:
            for j in range(state_row):
                d_h[j] *= reweight_T[t]  # (1')
                d_c[j] *= reweight_T[t]  # (1')
    rows = steps * lanes_B
    d_a, x = pointer(gates_TBG, 0, rows * gates), pointer(x_RN, 0, rows * x_RN.shape[1])
    scratch, h = pointer(panel, 0, panel.size), pointer(h_TBH, 0, rows * width)
    d_weight = pointer(d_weights, 0, (inputs + hidden) * gates)
    add_two_transposed_products(
        x, x_RN.shape[1], inputs, h, width, hidden, d_a, gates, d_weight, gates, rows, gates, one, scratch
    )  # (2')
    add_rows(d_a, pointer(d_weights, (inputs + hidden) * gates, gates), rows, gates, one)  # (2')
    if wants_d_x:
        columns = d_x_RI.shape[1]
        product(
            d_a, gates, pointer(weights, gates * width, gates * columns), pointer(zeros, 0, columns), 0,
            pointer(d_x_RI, 0, d_x_RI.size), columns, rows, columns, gates, one,
        )  # (2')  # fmt: skip
