"""The tuned products and rows against their plain twins, on shapes with every remainder."""

import os
import subprocess
import sys

import numpy as np
import pytest
from rnnkit_numba import lstm
from rnnkit_numba.compiled import entry
from rnnkit_numba.plain import (
    plain_activate,
    plain_deactivate,
    plain_pack,
    plain_product,
    plain_transposed_product,
)
from rnnkit_numba.pointers import pointer
from rnnkit_numba.products import (
    FAR,
    INNER,
    PANEL_VECTORS,
    SUMMED,
    add_rows,
    add_transposed_product,
    grouped_row_product,
    product,
    row_product,
    summing_scratch,
)
from rnnkit_numba.tiles import TILE_ROWS, TILE_VECTORS
from rnnkit_numba.transposition import transpose
from rnnkit_numba.vectors import lanes, lanes_of

activate, deactivate = lstm.activate, lstm.deactivate
KINDS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@entry
def run_product(a_MK, packed, c0_N, c_MN):
    a, b, c = pointer(a_MK, 0, a_MK.size), pointer(packed, 0, packed.size), pointer(c_MN, 0, c_MN.size)
    rows, columns = c_MN.shape
    inner = a_MK.shape[1]
    product(a, inner, b, pointer(c0_N, 0, columns), 0, c, columns, rows, columns, inner, lanes(c_MN))


@entry
def run_row(a_K, packed, c_N):
    a, b, c = pointer(a_K, 0, a_K.size), pointer(packed, 0, packed.size), pointer(c_N, 0, c_N.size)
    row_product(a, b, c, c_N.size, a_K.size, lanes(c_N))


@entry
def run_grouped_row(a_K, packed, c_N, used):
    a, b, c = pointer(a_K, 0, a_K.size), pointer(packed, 0, packed.size), pointer(c_N, 0, c_N.size)
    grouped_row_product(a, b, c, c_N.size, a_K.size // 4, used, lanes(c_N))


@entry
def run_transposed(a_RM, b_RN, c_MN, panel, total_N):
    a, b, c = pointer(a_RM, 0, a_RM.size), pointer(b_RN, 0, b_RN.size), pointer(c_MN, 0, c_MN.size)
    rows, outer = a_RM.shape
    columns, one = b_RN.shape[1], lanes(c_MN)
    scratch = pointer(panel, 0, panel.size)
    add_transposed_product(a, outer, b, columns, c, columns, rows, outer, columns, one, scratch)
    add_rows(b, pointer(total_N, 0, columns), rows, columns, one)


@entry
def run_activate(gates, c_before, c, h):
    width = c.size
    activate(
        pointer(gates, 0, 4 * width), pointer(c_before, 0, width), pointer(c, 0, width), pointer(h, 0, width),
        width, lanes(c),
    )  # fmt: skip


@entry
def run_deactivate(gates, d_y, c_before, c, d_h, d_c):
    width = c.size
    deactivate(
        pointer(gates, 0, 4 * width), pointer(d_y, 0, width), pointer(c_before, 0, width), pointer(c, 0, width),
        pointer(d_h, 0, width), pointer(d_c, 0, width), width, lanes(c),
    )  # fmt: skip


@KINDS
@pytest.mark.parametrize("rows", [*range(1, 2 * TILE_ROWS + 5), 31])
@pytest.mark.parametrize("vectors", range(1, 2 * TILE_VECTORS + 1))
def test_products_are_the_twins_bit_by_bit(dtype, rows, vectors):
    rng = np.random.default_rng(rows * 100 + vectors)
    one, inner = lanes_of(dtype), int(rng.choice([1, 2, 7, INNER, INNER + 1, 2 * INNER + 3]))
    a, b = rng.normal(size=(rows, inner)).astype(dtype), rng.normal(size=(inner, vectors * one)).astype(dtype)
    c0 = rng.normal(size=vectors * one).astype(dtype)
    got, wanted = np.full((rows, vectors * one), np.nan, dtype), np.tile(c0, (rows, 1))
    run_product(a, plain_pack(b, one, TILE_VECTORS), c0, got)
    plain_product(a, b, wanted)
    np.testing.assert_array_equal(got, wanted)


@KINDS
@pytest.mark.parametrize("inner", [0, 1, 2, 3, 4, 5, 10, 15, 64])
@pytest.mark.parametrize("vectors", range(1, 2 * TILE_VECTORS + 1))
def test_a_single_row_is_the_twins_to_rounding(dtype, inner, vectors):
    rng = np.random.default_rng(inner * 100 + vectors)
    one = lanes_of(dtype)
    a, b = rng.normal(size=(1, inner)).astype(dtype), rng.normal(size=(inner, vectors * one)).astype(dtype)
    got = rng.normal(size=vectors * one).astype(dtype)
    wanted = got[None].copy()
    run_row(a[0], plain_pack(b, one, TILE_VECTORS), got)
    plain_product(a, b, wanted)
    np.testing.assert_allclose(got, wanted[0], rtol=0, atol=(inner + 1) * 4 * np.finfo(dtype).eps)


@KINDS
@pytest.mark.parametrize("outer", [1, 2, 3, 4, 5, 8, 2 * TILE_ROWS - 1, 2 * TILE_ROWS, 17, 33])
@pytest.mark.parametrize("vectors", [1, 2, 3, TILE_VECTORS, TILE_VECTORS + 1, 2 * TILE_VECTORS + 3])
def test_sums_over_rows_are_the_twins_bit_by_bit(dtype, outer, vectors):
    rng = np.random.default_rng(outer * 100 + vectors)
    one, rows = lanes_of(dtype), int(rng.choice([1, 5, SUMMED, SUMMED + 3]))
    a, b = rng.normal(size=(rows, outer)).astype(dtype), rng.normal(size=(rows, vectors * one)).astype(dtype)
    got = rng.normal(size=(outer, vectors * one)).astype(dtype)
    wanted, total = got.copy(), np.zeros(vectors * one, dtype)
    run_transposed(a, b, got, np.empty(PANEL_VECTORS * one, dtype), total)
    plain_transposed_product(a, b, wanted)
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_allclose(total, b.sum(0, dtype=np.float64), rtol=1e-4, atol=1e-4)


@KINDS
@pytest.mark.parametrize("excess", [0, 1, 2, 5])
def test_sums_over_rows_that_are_far_apart_are_the_twins_bit_by_bit(dtype, excess):
    rng = np.random.default_rng(excess)
    one, rows = lanes_of(dtype), SUMMED + 3
    outer, columns = FAR * one + excess, (TILE_VECTORS + 1) * one
    a, b = rng.normal(size=(rows, outer)).astype(dtype), rng.normal(size=(rows, columns)).astype(dtype)
    got = rng.normal(size=(outer, columns)).astype(dtype)
    wanted = got.copy()
    run_transposed(a, b, got, np.empty(summing_scratch(outer, one), dtype), np.zeros(columns, dtype))
    plain_transposed_product(a, b, wanted)
    np.testing.assert_array_equal(got, wanted)


@entry
def run_transpose(source_RC, target, target_row, rows, columns):
    row, one = source_RC.shape[1], lanes(source_RC)
    transpose(pointer(source_RC, 0, rows * row), row, pointer(target, 0, target.size), target_row, rows, columns, one)


@KINDS
@pytest.mark.parametrize("rows", [1, 3, 4, 10, 16, 17, 39])
@pytest.mark.parametrize("columns", [1, 3, 4, 7, 16, 35])
def test_a_matrix_is_written_the_other_way_round(dtype, rows, columns):
    source = np.random.default_rng(rows).normal(size=(rows, columns + 1)).astype(dtype)
    target = np.full((columns, rows + 2), np.nan, dtype)
    run_transpose(source, target.reshape(-1), rows + 2, rows, columns)
    np.testing.assert_array_equal(target[:, :rows], source[:, :columns].T)
    assert np.isnan(target[:, rows:]).all()  # beyond, nothing is written


@KINDS
@pytest.mark.parametrize("width", [1, 2, 4, 7])
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_row_in_groups_is_the_twins_to_rounding(dtype, width, missing):
    rng = np.random.default_rng(width)
    one = lanes_of(dtype)
    group = width * one
    a, b = rng.normal(size=(4, group)).astype(dtype), rng.normal(size=(4 * group, group)).astype(dtype)
    a[:, group - missing :] = 0
    got = rng.normal(size=group).astype(dtype)
    wanted = got[None].copy()
    run_grouped_row(a.reshape(-1), plain_pack(b, one, TILE_VECTORS), got, group - missing)
    plain_product(a.reshape(1, -1), b, wanted)
    np.testing.assert_allclose(got, wanted[0], rtol=0, atol=16 * group * np.finfo(dtype).eps)


@KINDS
@pytest.mark.parametrize("vectors", [1, 3])
def test_a_row_forward_and_back_is_the_twins(dtype, vectors):
    rng = np.random.default_rng(vectors)
    width = vectors * lanes_of(dtype)
    draw = lambda size: rng.normal(size=size).astype(dtype)  # noqa: E731
    gates, c_before, d_y, d_h, d_c = draw(4 * width), draw(width), draw(width), draw(width), draw(width)
    c, h = np.empty((2, width), dtype), np.empty((2, width), dtype)
    ours, theirs = gates.copy(), gates.copy()
    run_activate(ours, c_before, c[0], h[0])
    plain_activate(theirs, c_before, c[1], h[1])
    close = {"rtol": 20 * np.finfo(dtype).eps, "atol": 4 * np.finfo(dtype).eps}
    np.testing.assert_allclose(ours, theirs, **close)
    np.testing.assert_allclose(c[0], c[1], **close)
    np.testing.assert_allclose(h[0], h[1], **close)
    ours, back = theirs.copy(), [(d_h.copy(), d_c.copy()) for _ in range(2)]
    run_deactivate(ours, d_y, c_before, c[1], *back[0])
    plain_deactivate(theirs, d_y, c_before, c[1], *back[1])
    np.testing.assert_allclose(ours, theirs, **close)
    np.testing.assert_allclose(back[0], back[1], **close)


@pytest.mark.parametrize("size", ["16", "32"])
def test_narrower_vectors_give_the_same_numbers(size):
    script = """
import numpy as np, rnnkit as rk, rnnkit_numba, rnnkit_numpy
from rnnkit_numba.vectors import BYTES
model = rk.Chain(rk.LSTM(3, 7), rk.Dense(7, 5, "tanh"))
params, state = rk.setup(model, lanes=5, dtype="float64")
x = np.random.default_rng(0).normal(size=(9, 5, 3))
ours, theirs = (
    (y, b.backward(model, params, tape, y).params["0.weight_hh"])
    for b in (rnnkit_numba, rnnkit_numpy) for y, _, tape in [b.forward(model, params, x, state)]
)
assert all(np.abs(a - b).max() < 1e-13 for a, b in zip(ours, theirs)), "differs"
print(BYTES)
"""

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "RNNKIT_VECTOR_BYTES": size}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [size]


def test_another_vector_size_is_refused():
    done = subprocess.run(
        [sys.executable, "-c", "import rnnkit as rk; rk.backend('numba')"],
        capture_output=True, text=True, env={**os.environ, "RNNKIT_VECTOR_BYTES": "48"},
    )  # fmt: skip
    assert "expects RNNKIT_VECTOR_BYTES to be 16, 32 or 64, got '48'" in done.stderr


def test_kernels_that_differ_have_different_names():
    kernels = [
        value.py_func
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").startswith("rnnkit_numba.")
        for value in vars(module).values()
        if hasattr(value, "py_func")
    ]
    named = {(function.__module__, function.__qualname__): function for function in kernels}
    assert len(named) == len({id(function) for function in kernels}) > 50
