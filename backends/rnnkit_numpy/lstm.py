"""The LSTM's cell: its pointwise function, and the way back.

For every row and every lane, between the equations that all cells share (`rnnkit_numpy.recurrence`), which give the
gates before their activation, a_i, a_f, a_g, a_o, and the state h⁻, c⁻ that the row starts from:

    (3)  i, f, g, o = σ(a_i), σ(a_f), tanh(a_g), σ(a_o)
    (4)  c = f ⊙ c⁻ + i ⊙ g
    (5)  h = o ⊙ tanh(c)

Backward, from d_h and d_c, with respect to the state after the row:

    (5') d_o = d_h ⊙ tanh(c);  d_c = d_c + d_h ⊙ o ⊙ (1 - tanh²(c))
    (4') d_f = d_c ⊙ c⁻;  d_i = d_c ⊙ g;  d_g = d_c ⊙ i;  d_c⁻ = d_c ⊙ f
    (3') d_a_i = d_i ⊙ i (1 - i);  d_a_f = d_f ⊙ f (1 - f);  d_a_g = d_g ⊙ (1 - g²);  d_a_o = d_o ⊙ o (1 - o)

Source: Hochreiter and Schmidhuber (1997); forget gate by Gers, Schmidhuber and Cummins (2000).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnkit.model import LSTMState
from rnnkit_numpy.recurrence import Arrays, sigmoid, times


def forward(pre: Arrays, before: LSTMState) -> tuple[LSTMState, Arrays]:
    """The state after a row, and every value of the cell by name; see `rnnkit_numpy.recurrence.Pointwise`."""
    i, f, o = sigmoid(np.array([pre["i"], pre["f"], pre["o"]]))  # (3)
    g = np.tanh(pre["g"])  # (3)
    c = f * before.c + i * g  # (4)
    tanh_c = np.tanh(c)
    h = o * tanh_c  # (5)
    return LSTMState(h, c), {"i": i, "f": f, "g": g, "o": o, "c": c, "tanh_c": tanh_c, "h": h}


def backward(seen: Mapping[str, np.ndarray], before: LSTMState, d_after: LSTMState) -> tuple[Arrays, LSTMState, Arrays]:
    """Back through a row; see `rnnkit_numpy.recurrence.Pointwise`."""
    i, f, g, o, tanh_c = (seen[name] for name in ("i", "f", "g", "o", "tanh_c"))
    d_h, d_c = d_after
    d_o = d_h * tanh_c  # (5')
    d_c = d_c + times(d_h, o, 1 - tanh_c**2)  # (5')
    d_f, d_i, d_g = d_c * before.c, d_c * g, d_c * i  # (4')
    d_pre = {
        "i": times(d_i, i, 1 - i),
        "f": times(d_f, f, 1 - f),
        "g": times(d_g, 1 - g**2),
        "o": times(d_o, o, 1 - o),
    }  # (3')
    told = {"d_h": d_h, "d_c": d_c, "d_i": d_i, "d_f": d_f, "d_g": d_g, "d_o": d_o}
    return d_pre, LSTMState(None, d_c * f), told  # (4')
