"""Activations of a number or of a vector, inlined into the loops that call them.

With n whole and |r| ≤ ln 2 / 2, and without a branch:

    (1)  x = n ln 2 + r
    (2)  p = e^r - 1 = r + r² (1/2! + r/3! + r²/4! + ...)         to below half a unit in the last place
    (3)  σ(a) = 1 / (1 + 2^n (1 + p)),                 x = -a
    (4)  |tanh(a)| = E / (E + 2),  E = 2^n p + (2^n - 1), x = 2|a|  accurate relative to tanh(a), small a included

Both are within a few units in the last place wherever the result is a normal number; σ of less than -88.3 (float64:
-709) is 0. NaN gives NaN, and an infinity its limit. `plain.py` says the same with the
library's functions, one number at a time, and holds these to account.
"""

from __future__ import annotations

import math

from rnnkit.model import ACTIVATIONS
from rnnkit_numba.compiled import inlined
from rnnkit_numba.vectors import bits, fma, like, power_of_two, where_less, with_sign

IDENTITY, TANH, RELU, SIGMOID = (ACTIVATIONS.index(word) for word in ("identity", "tanh", "relu", "sigmoid"))

LOG2_E = 1 / math.log(2)
# ln 2 in two parts: the first has so few bits that its product with n is exact
LN2_HIGH_32, LN2_LOW_32 = 0x162E4 / 2**17, math.log(2) - 0x162E4 / 2**17
LN2_HIGH_64, LN2_LOW_64 = float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33")
SHIFT_32, SHIFT_64 = 1.5 * 2**23, 1.5 * 2**52  # added to a number, they round it to a whole one
C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13 = (1 / math.factorial(k) for k in range(2, 14))


@inlined
def split(x):
    """(1): r, and 2^n."""
    if bits(x) == 32:
        shifted = fma(x, like(x, LOG2_E), like(x, SHIFT_32))
        n = shifted - like(x, SHIFT_32)
        r = fma(n, like(x, -LN2_LOW_32), fma(n, like(x, -LN2_HIGH_32), x))
    else:
        shifted = fma(x, like(x, LOG2_E), like(x, SHIFT_64))
        n = shifted - like(x, SHIFT_64)
        r = fma(n, like(x, -LN2_LOW_64), fma(n, like(x, -LN2_HIGH_64), x))
    return r, power_of_two(shifted)


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
    """(3)"""
    one = like(a, 1.0)
    zero = one - one
    top = like(a, 88.3 if bits(a) == 32 else 709.0)  # beyond, 2^n would be infinite
    x = zero - a
    x = where_less(top, x, top, x)  # this way round they are a minimum and a maximum that let NaN pass
    x = where_less(x, zero - top, zero - top, x)
    r, scale = split(x)
    y = one / (one + fma(scale, exponential_less_one(r), scale))
    return where_less(a, zero - top, zero, y)


@inlined
def tanh(a):
    """(4)"""
    one = like(a, 1.0)
    top = like(a, 20.0 if bits(a) == 32 else 40.0)  # from half of it on, the result is 1
    size = with_sign(a, one)
    x = where_less(top, size + size, top, size + size)
    r, scale = split(x)
    e = fma(scale, exponential_less_one(r), scale - one)
    return with_sign(e / (e + (one + one)), a)


@inlined
def relu(a):
    """max(a, 0); NaN passes."""
    zero = like(a, 0.0)
    return where_less(a, zero, zero, a)
