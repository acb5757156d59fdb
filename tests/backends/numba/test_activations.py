"""The vectorised activations against arithmetic of a hundred and more bits, and against the library's."""

import mpmath
import numba
import numpy as np
import pytest
from rnnkit_numba import plain
from rnnkit_numba.compiled import entry
from rnnkit_numba.kernels.activations import sigmoid, tanh
from rnnkit_numba.kernels.pointers import pointer
from rnnkit_numba.kernels.vectors import BYTES, W_of, load_at, store_at

plain_sigmoid, plain_tanh = plain.plain_sigmoid, plain.plain_tanh
TANH, SIGMOID, PLAIN_TANH, PLAIN_SIGMOID, NUMBER_TANH = range(5)
TRUTH = {TANH: mpmath.tanh, SIGMOID: lambda x: 1 / (1 + mpmath.exp(-x))}
KINDS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@entry
def run(which, x_N, y_N):
    """`y = f(x)`; the arrays are a whole number of vectors."""
    W, x, y = W_of(x_N), pointer(x_N, 0, x_N.size), pointer(y_N, 0, y_N.size)
    if which == TANH:
        for j in range(0, x_N.size, W):
            store_at(tanh(load_at(x, j)), y, j)
    elif which == SIGMOID:
        for j in range(0, x_N.size, W):
            store_at(sigmoid(load_at(x, j)), y, j)
    elif which == PLAIN_TANH:
        for j in range(x_N.size):
            y_N[j] = plain_tanh(x_N[j])
    elif which == PLAIN_SIGMOID:
        for j in range(x_N.size):
            y_N[j] = plain_sigmoid(x_N[j])
    else:
        for j in range(x_N.size):
            y_N[j] = tanh(x_N[j])


def apply(which, x):
    """`f(x)` for an array of any length."""
    padded = np.zeros(-(-len(x) // 16) * 16, x.dtype)
    padded[: len(x)] = x
    y = np.empty_like(padded)
    run(which, padded, y)
    return y[: len(x)]


def numbers(dtype):
    """Every size of number, of both signs, and many near the ends of the ranges."""
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    sizes = np.exp(rng.uniform(np.log(float(info.smallest_subnormal)), np.log(float(info.max)), 800))
    usual = np.exp(rng.uniform(-12, 7, 800))
    edges = np.array([0, info.smallest_subnormal, info.tiny, info.eps, 0.17328, 0.34657, 9.01, 19.06, 87, 88.4, 708.4])
    x = np.concatenate([sizes, usual, edges, np.linspace(0, 10, 400)]).astype(dtype)
    return np.concatenate([x, -x])


@KINDS
@pytest.mark.parametrize("which", TRUTH)
def test_activations_are_within_three_units_in_the_last_place(dtype, which):
    x, info = numbers(dtype), np.finfo(dtype)
    y = apply(which, x)
    assert y.dtype == dtype
    with mpmath.workprec(200):
        for a, got in zip(x, y, strict=True):
            wanted = TRUTH[which](mpmath.mpf(float(a)))
            # σ may end in 0 where the result is no normal number
            unit = max(
                mpmath.mpf(float(np.spacing(dtype(abs(float(wanted)))))),
                mpmath.mpf(float(info.tiny)) * (which == SIGMOID) / 3,
            )
            assert abs(mpmath.mpf(float(got)) - wanted) <= 3 * unit, (a, got, wanted)


@KINDS
def test_special_values(dtype):
    small = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, small, -small], dtype)
    y = apply(TANH, x)
    np.testing.assert_array_equal(y, np.array([0.0, -0.0, 1, -1, np.nan, small, -small], dtype))
    np.testing.assert_array_equal(np.signbit(y[:4]), [False, True, False, True])
    np.testing.assert_array_equal(apply(SIGMOID, x), np.array([0.5, 0.5, 1, 0, np.nan, 0.5, 0.5], dtype))


@KINDS
def test_results_stay_in_their_range_and_tanh_is_odd(dtype):
    x = numbers(dtype)
    y, s = apply(TANH, x), apply(SIGMOID, x)
    assert np.abs(y).max() == 1
    assert s.min() >= 0
    assert s.max() == 1
    np.testing.assert_array_equal(apply(TANH, -x), -y)


@KINDS
@pytest.mark.parametrize(("tuned", "twin"), [(TANH, PLAIN_TANH), (SIGMOID, PLAIN_SIGMOID)])
def test_the_plain_twin_agrees(dtype, tuned, twin):
    x = numbers(dtype)
    np.testing.assert_allclose(apply(tuned, x), apply(twin, x), rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


@KINDS
def test_a_number_and_a_vector_give_the_same_bits(dtype):
    x = numbers(dtype)
    assert apply(NUMBER_TANH, x).tobytes() == apply(TANH, x).tobytes()


def test_activations_divide_whole_vectors():
    x = np.zeros(16, np.float32)
    compiled = numba.njit(error_model="numpy")(run.py_func)
    compiled(TANH, x, x.copy())
    (code,) = compiled.inspect_llvm().values()
    assert f"fdiv <{BYTES // 4} x float>" in code
