"""One vector of units of an LSTM's row, forward and back: equations (3) to (5) of `lstm.py` and their inverses.

All arrays are given by pointers to these units: four gates that stand vector by vector, i, f, g, o, and everything else
a vector each.
"""

from __future__ import annotations

from rnnkit_numba.activations import sigmoid, tanh
from rnnkit_numba.compiled import inlined
from rnnkit_numba.pointers import forward as further
from rnnkit_numba.vectors import fma, lanes, like, load_at, store_at, where_less


@inlined
def activate(a_i, a_f, a_g, a_o, gates, c_before, c, h):
    """(3), (4) and (5): i, f, g, o, c and h are written."""
    one = lanes(a_i)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o)
    new = fma(f, load_at(c_before, 0), i * g)
    store_at(o * tanh(new), h, 0)
    store_at(new, c, 0)
    store_at(i, gates, 0)
    store_at(f, gates, one)
    store_at(g, gates, 2 * one)
    store_at(o, gates, 3 * one)


@inlined
def deactivate(gates, d_y, d_h, d_c, c_before, h):
    """(6'), (5'), (4') and (3') for a valid row: d_a is written over the gates.

    d_h and d_c are vectors, those after this row; h is what the row wrote.

    Returns:
        `(d_a_i, d_a_f, d_a_g, d_a_o), d_c⁻`
    """
    one = lanes(d_h)
    i, f, g, o = load_at(gates, 0), load_at(gates, one), load_at(gates, 2 * one), load_at(gates, 3 * one)
    unit, zero = like(i, 1.0), like(i, 0.0)
    h = load_at(h, 0)  # o tanh(c)
    tanh_c = where_less(zero, o, h / o, zero)
    # whatever waits neither for d_h nor d_c is multiplied first: rows wait for each other
    d_h = load_at(d_y, 0) + d_h  # (6')
    d_c = fma(d_h, (o - h) * (unit + tanh_c), d_c)  # (5') o (1 - tanh²(c))
    d_a_i = d_c * (g * (i * (unit - i)))  # (4'), (3')
    d_a_f = d_c * (load_at(c_before, 0) * (f * (unit - f)))  # (4'), (3')
    d_a_g = d_c * (i * (unit - g * g))  # (4'), (3')
    d_a_o = d_h * (h * (unit - o))  # (5'), (3')
    store_at(d_a_i, gates, 0)
    store_at(d_a_f, gates, one)
    store_at(d_a_g, gates, 2 * one)
    store_at(d_a_o, gates, 3 * one)
    return (d_a_i, d_a_f, d_a_g, d_a_o), d_c * f  # (4')


@inlined
def deactivate_at(j, gates, d_y, d_h, d_c, c_before, h):
    """The same for the units from j on of a row that all arguments point to; `d_c` is written, and d_a returned."""
    d_a, d_c_before = deactivate(
        further(gates, 4 * j), further(d_y, j), load_at(d_h, j), load_at(d_c, j), further(c_before, j), further(h, j)
    )
    store_at(d_c_before, d_c, j)
    return d_a
