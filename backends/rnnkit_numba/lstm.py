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

Tape: 6H numbers a row and lane: the gates i, f, g, o and the state h, c. tanh(c) = h / o needs no memory of its own.
`backward` writes d_a over the gates and h⁻ over h, so that it needs no memory of its own that grows with T.

H here is the number of hidden units padded to whole vectors. The units in excess have no weights: their gates
are σ(0) or tanh(0), their states and all their gradients stay 0. The 4H gates of a row stand vector by vector of units:
i, f, g, o of the first units, then of the next. The plain twin stands in `plain.py`.
"""

from __future__ import annotations

from rnnkit_numba.cells import activate, deactivate_at
from rnnkit_numba.compiled import kernel
from rnnkit_numba.pointers import forward as further
from rnnkit_numba.pointers import pointer
from rnnkit_numba.products import add_rows, add_two_transposed_products, product
from rnnkit_numba.single_lane import backward_rows, forward_rows, recurrent_rows
from rnnkit_numba.vectors import lanes, load_at
from rnnkit_numba.views import all_finite, clear_excess, clear_vectors, copy_vectors

GATES_IN_CACHE = 2**18
"""Numbers of gates whose inputs are multiplied ahead of the recurrence, so that they are still in the cache."""


@kernel
def rows_alike(reset_TB, valid_TB, t, last):
    """The end of the rows from t on, at most `last`, that a single lane takes in one go: valid, none reset but t."""
    if reset_TB.shape[1] > 1 or not valid_TB[t, 0]:
        return t
    end = t + 1
    while end < last and valid_TB[end, 0] and not reset_TB[end, 0]:
        end += 1
    return end


@kernel
def forward(
    x_RN,
    inputs,
    weights,
    biases,
    gates_TBG,
    h_TBH,
    c_TBH,
    initial_2BH,
    before_BH,
    hidden,
    reset_TB,
    valid_TB,
    bounded,
):
    """Fill `gates` and rows 1 to T of `h` and `c`; row 0 holds the state before.

    Args:
        x_RN: rows of the inputs, of which the first `inputs` numbers count.
        weights: weight_ih and weight_hh in panels, see `packing.py`.
        biases: their sum.
        initial_2BH: h₀ and c₀.
        before_BH: scratch for h⁻.
        hidden: hidden units without the padding.
        bounded: the inputs cannot be infinite.
    """
    steps, lanes_B, gates = gates_TBG.shape
    width, row, one = gates // 4, lanes_B * gates, lanes(gates_TBG)
    state_row = lanes_B * width
    x_row = x_RN.shape[1]
    rows_hh = recurrent_rows(hidden, one)
    weight_ih = pointer(weights, 0, inputs * gates)
    weight_hh = pointer(weights, inputs * gates, rows_hh * gates)
    bias = pointer(biases, 0, gates)
    before = pointer(before_BH, 0, state_row)
    h_initial, c_initial = pointer(initial_2BH, 0, state_row), pointer(initial_2BH, state_row, state_row)
    ahead = max(1, GATES_IN_CACHE // row)
    for first in range(0, steps, ahead):
        last = min(first + ahead, steps)
        rows, x = (last - first) * lanes_B, pointer(x_RN, first * lanes_B * x_row, (last - first) * lanes_B * x_row)
        a = pointer(gates_TBG, first * row, (last - first) * row)
        product(x, x_row, weight_ih, inputs, bias, 0, a, gates, rows, gates, inputs, one)  # (2)
        if hidden < width and not bounded and not all_finite(x, rows * x_row, one):
            clear_excess(a, gates, rows, gates, hidden, 4, one)
        t = first
        while t < last:
            a = pointer(gates_TBG, t * row, row)
            h, c = pointer(h_TBH, t * state_row, 2 * state_row), pointer(c_TBH, t * state_row, 2 * state_row)
            end = rows_alike(reset_TB, valid_TB, t, last)
            if end > t:  # a single lane
                h_before, c_before = (h_initial, c_initial) if reset_TB[t, 0] else (h, c)  # (1)
                h, c = further(h, width), further(c, width)
                forward_rows(h_before, c_before, weight_hh, rows_hh, a, c, h, end - t, width, one)  # (2) to (6)
                t = end
                continue
            anyone_cold = False
            for b in range(lanes_B):
                anyone_cold = anyone_cold or reset_TB[t, b]
            h_before = h
            if anyone_cold:
                for b in range(lanes_B):
                    h_b = further(h_initial, b * width) if reset_TB[t, b] else further(h, b * width)
                    copy_vectors(h_b, further(before, b * width), width, one)  # (1)
                h_before = before
            product(h_before, width, weight_hh, rows_hh, a, gates, a, gates, lanes_B, gates, hidden, one)  # (2)
            for b in range(lanes_B):
                now, new = b * width, state_row + b * width
                c_now = further(c_initial, now) if reset_TB[t, b] else further(c, now)  # (1)
                if valid_TB[t, b]:
                    for j in range(0, width, one):
                        a_j = further(a, b * gates + 4 * j)
                        activate(
                            load_at(a_j, 0), load_at(a_j, one), load_at(a_j, 2 * one), load_at(a_j, 3 * one),
                            a_j, further(c_now, j), further(c, new + j), further(h, new + j),
                        )  # (3), (4), (5), (6)  # fmt: skip
                else:
                    copy_vectors(further(h_before, now), further(h, new), width, one)  # (6)
                    copy_vectors(c_now, further(c, new), width, one)  # (6)
            t += 1


@kernel
def backward(
    d_y_TBH,
    x_RN,
    inputs,
    weights,
    weights_back,
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
    both weights in panels and both biases, are added to, `d_x` is written where it is wanted, and
    `gates` and `h` are used up.

    Args:
        weights: as in `forward`.
        weights_back: both weights as `(G, H)` and `(G, I)` in panels.
        zeros: as many as the widest row.
        panel: scratch, see `summing_scratch`.
    """
    steps, lanes_B, gates = gates_TBG.shape
    width, row, one = gates // 4, lanes_B * gates, lanes(gates_TBG)
    state_row = lanes_B * width
    rows_hh = recurrent_rows(hidden, one)
    weight_hh, back_hh = pointer(weights, inputs * gates, rows_hh * gates), pointer(weights_back, 0, gates * width)
    d_h, d_c = pointer(d_h_BH, 0, state_row), pointer(d_c_BH, 0, state_row)
    h_initial, c_initial = pointer(initial_2BH, 0, state_row), pointer(initial_2BH, state_row, state_row)
    t = steps
    while t > 0:
        end, t = t, t - 1
        if lanes_B == 1:  # as many rows as can be taken in one go
            while t > 0 and valid_TB[t, 0] and not reset_TB[t, 0] and valid_TB[t - 1, 0] and reweight_T[t] == 1:
                t -= 1
        d_a, d_y = pointer(gates_TBG, t * row, (end - t) * row), pointer(d_y_TBH, t * state_row, (end - t) * state_row)
        h, c = pointer(h_TBH, t * state_row, (end - t + 1) * state_row), pointer(c_TBH, t * state_row, state_row)
        for b in range(lanes_B):
            now = b * width
            d_a_b, d_y_b = further(d_a, b * gates), further(d_y, now)
            d_h_b, d_c_b, h_b = further(d_h, now), further(d_c, now), further(h, state_row + now)
            c_b = further(c_initial, now) if reset_TB[t, b] else further(c, now)  # (1)
            if not valid_TB[t, b]:
                clear_vectors(d_a_b, gates, one)  # (6') d_h and d_c pass unchanged
            elif lanes_B == 1:
                backward_rows(d_a, d_y, d_h, d_c, c, c_b, h, weight_hh, rows_hh, end - t, width, one)  # (6') to (2')
            else:
                for j in range(0, width, one):
                    deactivate_at(j, d_a_b, d_y_b, d_h_b, d_c_b, c_b, h_b)  # (6'), (5'), (4'), (3')
                clear_vectors(d_h_b, width, one)
        if lanes_B > 1:
            product(d_a, gates, back_hh, gates, d_h, width, d_h, width, lanes_B, width, gates, one)  # (2')
        for b in range(lanes_B):
            if reset_TB[t, b]:
                for j in range(hidden):
                    d_initial_BS[b, first_state + j] += d_h[b * width + j]  # (1')
                    d_initial_BS[b, first_state + hidden + j] += d_c[b * width + j]  # (1')
                clear_vectors(further(d_h, b * width), width, one)  # (1')
                clear_vectors(further(d_c, b * width), width, one)  # (1')
        if reweight_T[t] != 1:
            for j in range(state_row):
                d_h[j] *= reweight_T[t]  # (1')
                d_c[j] *= reweight_T[t]  # (1')
    for t in range(steps):
        for b in range(lanes_B):
            if reset_TB[t, b]:
                h = pointer(h_TBH, t * state_row + b * width, width)
                copy_vectors(further(h_initial, b * width), h, width, one)  # (1) h, not needed any more, becomes h⁻
    rows = steps * lanes_B
    d_a, x = pointer(gates_TBG, 0, rows * gates), pointer(x_RN, 0, rows * x_RN.shape[1])
    scratch, h = pointer(panel, 0, panel.size), pointer(h_TBH, 0, rows * width)
    d_weight_ih, d_weight_hh = (
        pointer(d_weights, 0, inputs * gates),
        pointer(d_weights, inputs * gates, rows_hh * gates),
    )
    add_two_transposed_products(
        x, x_RN.shape[1], inputs, d_weight_ih, inputs, h, width, hidden, d_weight_hh, rows_hh, d_a, gates, rows, gates,
        one, scratch,
    )  # (2')  # fmt: skip
    d_biases = pointer(d_weights, (inputs + rows_hh) * gates, 2 * gates)
    add_rows(d_a, d_biases, rows, gates, one)  # (2')
    copy_vectors(d_biases, further(d_biases, gates), gates, one)  # (2')
    if wants_d_x:
        columns = d_x_RI.shape[1]
        product(
            d_a, gates, pointer(weights_back, gates * width, gates * columns), gates, pointer(zeros, 0, columns), 0,
            pointer(d_x_RI, 0, d_x_RI.size), columns, rows, columns, gates, one,
        )  # (2')  # fmt: skip
