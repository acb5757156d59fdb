"""Activations of a number or of a vector, inlined into the loops that call them.

With n whole and |r| ≤ ln 2 / 2, and without a branch:

    (1)  x = n ln 2 + r
    (2)  p = e^r - 1 = r + r² (1/2! + r/3! + r²/4! + ...)         to below half a unit in the last place
    (3)  σ(a) = 1 / (1 + 2^n + 2^n p),                 x = -a
    (4)  |tanh(a)| = E / (E + 2),  E = 2^n p + (2^n - 1), x = 2|a|  accurate relative to tanh(a), small a included

Both are within a few units in the last place wherever the result is a normal number; σ of less than -88.3 (float64:
-709) is 0. NaN gives NaN, and an infinity its limit. Where n is too large for its bits, the result is replaced.

A recurrence of few units waits for these from its first operation to the last; whatever can be computed beside that
chain is: (1 + 2^n) and (2^n + 1), and the digits of ln 2 beyond those of one number, which r lacks. They are a factor
1 - n ln2_low of 2^n; tanh does not need them, as its last digits depend on n ln2_low only where it is nearly 1.

`plain.py` says the same with the library's functions, one number at a time, and holds these to account.
"""

from __future__ import annotations

import math

import numpy as np

from rnnkit_numba.compiled import inlined
from rnnkit_numba.kernels.vectors import bits, fma, like, power_of_two, where_less, with_sign

LOG2_E = 1 / math.log(2)
# ln 2 in two parts, the first the nearest number of its kind: in a fused multiply-add its product with n is exact
LN2_32, LN2_64 = float(np.float32(math.log(2))), math.log(2)
LN2_LOW_32, LN2_LOW_64 = math.log(2) - LN2_32, float.fromhex("0x1.abc9e3b39803fp-56")
SHIFT_32, SHIFT_64 = 1.5 * 2**23, 1.5 * 2**52  # added to a number, they round it to a whole one
C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13 = (1 / math.factorial(k) for k in range(2, 14))


@inlined
def split(a, factor):
    """(1) for x = factor · a, but for the last digits of ln 2: n, r, and 2^n."""
    shift = like(a, SHIFT_32 if bits(a) == 32 else SHIFT_64)
    shifted = fma(a, like(a, factor * LOG2_E), shift)
    n = shifted - shift
    r = fma(n, like(a, -LN2_32 if bits(a) == 32 else -LN2_64), like(a, factor) * a)
    return n, r, power_of_two(shifted)


@inlined
def exponential_less_one(r):
    """(2): the terms in pairs, so that no long chain of additions forms."""
    r2 = r * r
    low = fma(like(r, C3), r, like(r, C2))
    middle = fma(like(r, C5), r, like(r, C4))
    high = fma(like(r, C7), r, like(r, C6))
    if bits(r) == 32:
        q = fma(fma(high, r2, middle), r2, low)
    else:
        r4 = r2 * r2
        first = fma(middle, r2, low)
        second = fma(fma(like(r, C9), r, like(r, C8)), r2, high)
        third = fma(fma(like(r, C13), r, like(r, C12)), r2, fma(like(r, C11), r, like(r, C10)))
        q = fma(fma(third, r4, second), r4, first)
    return fma(q, r2, r)


@inlined
def sigmoid(a):
    """The logistic function σ(a): (3)."""
    one = like(a, 1.0)
    limit = 88.3 if bits(a) == 32 else 709.0  # beyond, 2^n would be infinite
    n, r, scale = split(a, -1.0)
    scale = fma(scale, n * like(a, -LN2_LOW_32 if bits(a) == 32 else -LN2_LOW_64), scale)
    y = one / fma(scale, exponential_less_one(r), one + scale)
    y = where_less(like(a, limit), a, one, y)
    return where_less(a, like(a, -limit), one - one, y)


@inlined
def tanh(a):
    """The hyperbolic tangent: (4)."""
    one = like(a, 1.0)
    size = with_sign(a, one)
    _, r, scale = split(size, 2.0)
    p = exponential_less_one(r)
    y = fma(scale, p, scale - one) / fma(scale, p, scale + one)
    return with_sign(where_less(like(a, 20.0), size, one, y), a)


@inlined
def relu(a):
    """max(a, 0); NaN passes."""
    zero = like(a, 0.0)
    return where_less(a, zero, zero, a)
