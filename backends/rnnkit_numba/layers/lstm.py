"""The LSTM's cell; `recurrence.py` has the equations around it.

    (3)  i, f, g, o = σ(a_i), σ(a_f), tanh(a_g), σ(a_o)
    (4)  c = f ⊙ c⁻ + i ⊙ g
    (5)  h = o ⊙ tanh(c)

Backward; the number tells which forward line is inverted:

    (5') d_o = d_h ⊙ tanh(c);  d_c = d_c + d_h ⊙ o ⊙ (1 - tanh²(c))
    (4') d_f = d_c ⊙ c⁻;  d_i = d_c ⊙ g;  d_g = d_c ⊙ i;  d_c⁻ = d_c ⊙ f
    (3') d_a_i = d_i ⊙ i (1 - i);  d_a_f = d_f ⊙ f (1 - f);  d_a_g = d_g ⊙ (1 - g²);  d_a_o = d_o ⊙ o (1 - o)

tanh(c) = h / o needs no memory of its own. The plain twin stands in `plain.py`.
"""

from __future__ import annotations

import sys

from rnnkit.model import LSTM
from rnnkit_numba.compiled import inlined
from rnnkit_numba.kernels.activations import sigmoid, tanh
from rnnkit_numba.kernels.vectors import fma, like, where_less
from rnnkit_numba.layers.recurrence import recurrent_extent
from rnnkit_numba.table import Extent, extent

KIND = 1
GATES, STATES = 4, 2  # i, f, g, o; h, c
READY = (3, 0, 1, 2)  # o, i, f, g
BYPASS = False
BOUNDED = True


@extent.register
def _(layer: LSTM, steps: int, W: int) -> Extent:
    return recurrent_extent(sys.modules[__name__], layer, steps, W)


@inlined
def activate(a, before):
    """(3), (4) and (5)."""
    a_i, a_f, a_g, a_o = a
    _, c_before = before
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o)
    c = fma(f, c_before, i * g)
    return (i, f, g, o), (o * tanh(c), c)


@inlined
def deactivate(saved, before, after, d_after):
    """(5'), (4') and (3')."""
    i, f, g, o = saved
    _, c_before = before
    h, _ = after
    d_h, d_c = d_after
    one, zero = like(i, 1.0), like(i, 0.0)
    tanh_c = where_less(zero, o, h / o, zero)
    # whatever waits neither for d_h nor d_c is multiplied first: rows wait for each other
    d_c = fma(d_h, (o - h) * (one + tanh_c), d_c)  # (5') o (1 - tanh²(c))
    d_a_i = d_c * (g * (i * (one - i)))  # (4'), (3')
    d_a_f = d_c * (c_before * (f * (one - f)))  # (4'), (3')
    d_a_g = d_c * (i * (one - g * g))  # (4'), (3')
    d_a_o = d_h * (h * (one - o))  # (5'), (3')
    return (d_a_i, d_a_f, d_a_g, d_a_o), (zero, d_c * f)  # (4')
