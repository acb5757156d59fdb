"""Activations of one number, inlined into the loops that call them.

`one` is 1 in the dtype of `a`: a literal would widen float32 arithmetic to float64.
"""

from __future__ import annotations

import math

from rnnkit.model import ACTIVATIONS
from rnnkit_numba.compiled import kernel

IDENTITY, TANH, RELU, SIGMOID = (ACTIVATIONS.index(word) for word in ("identity", "tanh", "relu", "sigmoid"))


@kernel
def sigmoid(a, one):
    """σ(a) = 1 / (1 + exp(-a)); the exponential's overflow ends in 0."""
    return one / (one + math.exp(-a))


@kernel
def tanh(a):
    """The hyperbolic tangent."""
    return math.tanh(a)


@kernel
def relu(a, one):
    """max(a, 0); NaN passes."""
    return one - one if a <= one - one else a
