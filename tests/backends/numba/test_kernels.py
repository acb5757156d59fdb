"""The tuned products and rows against their plain twins, on shapes with every remainder."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit
from rnnkit_numba import layout, packing
from rnnkit_numba.compiled import entry, kernel, specialised
from rnnkit_numba.kernels.pointers import further, pointer
from rnnkit_numba.kernels.products import (
    FAR,
    INNER,
    PANEL_VECTORS,
    SUMMED,
    add_rows,
    add_transposed_product,
    product,
    summing_scratch,
)
from rnnkit_numba.kernels.tiles import TILE_ROWS, TILE_VECTORS
from rnnkit_numba.kernels.transposition import transpose
from rnnkit_numba.kernels.vectors import W_for, W_of
from rnnkit_numba.layers import lstm
from rnnkit_numba.layers.cell import States, activate_at, deactivate_at, load_gates, states_at
from rnnkit_numba.layers.single_lane import backward_rows, forward_rows, recurrent_rows
from rnnkit_numba.plain import (
    plain_activate,
    plain_deactivate,
    plain_pack,
    plain_product,
    plain_transposed_product,
)

import rnnkit as rk

move, derive = packing.move, packing.derive
KINDS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@entry
def run_product(a_MK, packed, c0_N, c_MN):
    a, b, c = pointer(a_MK, 0, a_MK.size), pointer(packed, 0, packed.size), pointer(c_MN, 0, c_MN.size)
    rows, columns = c_MN.shape
    inner = a_MK.shape[1]
    packed_rows = packed.size // columns
    product(a, inner, b, packed_rows, pointer(c0_N, 0, columns), 0, c, columns, rows, columns, inner, W_of(c_MN))


@entry
def run_transposed(a_RM, b_RN, c_MN, panel, total_N):
    a, b, c = pointer(a_RM, 0, a_RM.size), pointer(b_RN, 0, b_RN.size), pointer(c_MN, 0, c_MN.size)
    rows, outer = a_RM.shape
    columns, W = b_RN.shape[1], W_of(c_MN)
    scratch = pointer(panel, 0, panel.size)
    add_transposed_product(a, outer, b, columns, c, rows, outer, columns, W, scratch)
    add_rows(b, pointer(total_N, 0, columns), rows, columns, W)


@entry
def run_alone(states_2TH, weight, hidden, gates_TG):
    """Rows of a lone lane forward; row 0 of h and c is the state before."""
    rows, width, W = gates_TG.shape[0], states_2TH.shape[2], W_of(states_2TH)
    states = States(pointer(states_2TH, 0, states_2TH.size), (rows + 1) * width)
    panels, gates = pointer(weight, 0, weight.size), pointer(gates_TG, 0, gates_TG.size)
    forward_rows(lstm, states, panels, recurrent_rows(hidden, W), gates, states_at(states, width), rows, width)


@entry
def run_alone_back(states_2TH, weight, hidden, gates_TG, d_y_TH, d_states_2H):
    """The same rows back."""
    rows, width, W = gates_TG.shape[0], states_2TH.shape[2], W_of(states_2TH)
    states = States(pointer(states_2TH, 0, states_2TH.size), (rows + 1) * width)
    backward_rows(
        lstm, pointer(gates_TG, 0, gates_TG.size), pointer(d_y_TH, 0, d_y_TH.size),
        States(pointer(d_states_2H, 0, 2 * width), width), states, states, pointer(weight, 0, weight.size),
        recurrent_rows(hidden, W), rows, width,
    )  # fmt: skip


@entry
def run_activate(gates, before_2H, after_2H):
    W, size = W_of(gates), before_2H.shape[1]
    a = pointer(gates, 0, 4 * size)
    before, after = States(pointer(before_2H, 0, 2 * size), size), States(pointer(after_2H, 0, 2 * size), size)
    for j in range(0, size, W):
        activate_at(lstm, j, load_gates(lstm, further(a, 4 * j), W), a, before, after)


@entry
def run_deactivate(gates, d_y, before_2H, after_2H, d_states_2H):
    W, size = W_of(gates), d_y.size
    a, y, d_states = pointer(gates, 0, 4 * size), pointer(d_y, 0, size), States(pointer(d_states_2H, 0, 2 * size), size)
    before, after = States(pointer(before_2H, 0, 2 * size), size), States(pointer(after_2H, 0, 2 * size), size)
    for j in range(0, size, W):
        deactivate_at(lstm, j, a, y, d_states, before, after)


@entry
def run_move(table, params, packed, into_panels, part, parts):
    move(table, params, packed, into_panels, part, parts)


@entry
def run_derive(table, packed, lanes, onward, part, parts):
    derive(table, packed, lanes, onward, part, parts)


def in_turn(a, W):
    """Gates `(..., 4H)`, one after the other, as vectors of all gates in turn."""
    return a.reshape(*a.shape[:-1], 4, -1, W).swapaxes(-3, -2).reshape(a.shape).copy()


def one_after_the_other(a, W):
    """The inverse of `in_turn`."""
    return a.reshape(*a.shape[:-1], -1, 4, W).swapaxes(-3, -2).reshape(a.shape).copy()


@KINDS
@pytest.mark.parametrize("rows", [*range(1, 2 * TILE_ROWS + 5), 31])
@pytest.mark.parametrize("vectors", range(1, 2 * TILE_VECTORS + 1))
def test_products_are_the_twins_bit_by_bit(dtype, rows, vectors):
    rng = np.random.default_rng(rows * 100 + vectors)
    W, inner = W_for(dtype), int(rng.choice([1, 2, 7, INNER, INNER + 1, 2 * INNER + 3]))
    a, b = rng.normal(size=(rows, inner)).astype(dtype), rng.normal(size=(inner, vectors * W)).astype(dtype)
    c0 = rng.normal(size=vectors * W).astype(dtype)
    got, wanted = np.full((rows, vectors * W), np.nan, dtype), np.tile(c0, (rows, 1))
    run_product(a, plain_pack(b, W, TILE_VECTORS), c0, got)
    plain_product(a, b, wanted)
    np.testing.assert_array_equal(got, wanted)


@KINDS
@pytest.mark.parametrize("outer", [1, 2, 3, 4, 5, 8, 2 * TILE_ROWS - 1, 2 * TILE_ROWS, 17, 33])
@pytest.mark.parametrize("vectors", [1, 2, 3, TILE_VECTORS, TILE_VECTORS + 1, 2 * TILE_VECTORS + 3])
def test_sums_over_rows_are_the_twins_bit_by_bit(dtype, outer, vectors):
    rng = np.random.default_rng(outer * 100 + vectors)
    W, rows = W_for(dtype), int(rng.choice([1, 5, SUMMED, SUMMED + 3]))
    a, b = rng.normal(size=(rows, outer)).astype(dtype), rng.normal(size=(rows, vectors * W)).astype(dtype)
    got = rng.normal(size=(outer, vectors * W)).astype(dtype)
    wanted, total = got.copy(), np.zeros(vectors * W, dtype)
    panels = plain_pack(got, W, TILE_VECTORS).reshape(got.shape)
    run_transposed(a, b, panels, np.empty(PANEL_VECTORS * W, dtype), total)
    plain_transposed_product(a, b, wanted)
    np.testing.assert_array_equal(panels.ravel(), plain_pack(wanted, W, TILE_VECTORS))
    np.testing.assert_allclose(total, b.sum(0, dtype=np.float64), rtol=1e-4, atol=1e-4)


@KINDS
@pytest.mark.parametrize("excess", [0, 1, 2, 5])
def test_sums_over_rows_that_are_far_apart_are_the_twins_bit_by_bit(dtype, excess):
    rng = np.random.default_rng(excess)
    W, rows = W_for(dtype), SUMMED + 3
    outer, columns = FAR * W + excess, (TILE_VECTORS + 1) * W
    a, b = rng.normal(size=(rows, outer)).astype(dtype), rng.normal(size=(rows, columns)).astype(dtype)
    got = rng.normal(size=(outer, columns)).astype(dtype)
    wanted = got.copy()
    panels = plain_pack(got, W, TILE_VECTORS).reshape(got.shape)
    run_transposed(a, b, panels, np.empty(summing_scratch(outer, W), dtype), np.zeros(columns, dtype))
    plain_transposed_product(a, b, wanted)
    np.testing.assert_array_equal(panels.ravel(), plain_pack(wanted, W, TILE_VECTORS))


@entry
def run_transpose(source_RC, target, target_row, rows, columns):
    row, W = source_RC.shape[1], W_of(source_RC)
    transpose(pointer(source_RC, 0, rows * row), row, pointer(target, 0, target.size), target_row, rows, columns, W)


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
@pytest.mark.parametrize("vectors", [1, 3])
def test_a_row_forward_and_back_is_the_twins(dtype, vectors):
    rng = np.random.default_rng(vectors)
    W = W_for(dtype)
    width = vectors * W
    draw = lambda size: rng.normal(size=size).astype(dtype)  # noqa: E731
    gates, c_before, d_y, d_h, d_c = draw(4 * width), draw(width), draw(width), draw(width), draw(width)
    c, h = np.empty((2, width), dtype), np.empty((2, width), dtype)
    ours, theirs, before = in_turn(gates, W), gates.copy(), np.stack([draw(width), c_before])
    after = np.empty((2, width), dtype)
    run_activate(ours, before, after)
    h[0], c[0] = after
    plain_activate(theirs, c_before, c[1], h[1])
    close = {"rtol": 20 * np.finfo(dtype).eps, "atol": 4 * np.finfo(dtype).eps}
    np.testing.assert_allclose(one_after_the_other(ours, W), theirs, **close)
    np.testing.assert_allclose(c[0], c[1], **close)
    np.testing.assert_allclose(h[0], h[1], **close)
    ours, back, d_c_twin = in_turn(theirs, W), np.stack([d_h, d_c]), d_c.copy()
    run_deactivate(ours, d_y, before, np.stack([h[1], c[1]]), back)
    plain_deactivate(theirs, d_y, c_before, c[1], d_h.copy(), d_c_twin)
    np.testing.assert_allclose(one_after_the_other(ours, W), theirs, **close)
    np.testing.assert_allclose(back[1], d_c_twin, **close)
    assert not back[0].any()  # all of h⁻'s gradient passes through the gates


@KINDS
def test_where_the_output_gate_is_shut_no_gradient_passes_and_none_is_nan(dtype):
    W = W_for(dtype)
    gates, h = np.full(4 * W, 0.5, dtype), np.zeros(W, dtype)
    gates[3 * W :] = 0
    d_states, ones = np.ones((2, W), dtype), np.ones(W, dtype)
    run_deactivate(gates, ones, np.stack([ones, ones]), np.stack([h, ones]), d_states)
    np.testing.assert_array_equal(d_states[1], 0.5)
    np.testing.assert_array_equal(gates[3 * W :], 0)


@KINDS
@pytest.mark.parametrize("hidden", [1, 2, 3, 4, 5, 10, 16, 17, 31, 35, 64])
def test_a_lone_lane_is_the_twins_row_by_row(dtype, hidden):
    rng = np.random.default_rng(hidden)
    W, rows = W_for(dtype), 3
    width = -(-hidden // W) * W
    inside = np.tile(np.arange(width) < hidden, 4)
    weight = rng.normal(size=(width, 4 * width)).astype(dtype) / np.sqrt(hidden, dtype=dtype)
    weight[:, ~inside], weight[hidden:] = 0, 0
    used = -(-hidden // min(4, W)) * min(4, W)
    panels = plain_pack(in_turn(weight[:used], W), W, TILE_VECTORS)
    a, d_y = rng.normal(size=(rows, 4 * width)).astype(dtype), rng.normal(size=(rows, width)).astype(dtype)
    a[:, ~inside], d_y[:, hidden:] = 0, 0
    h, c = states = rng.normal(size=(2, rows + 1, width)).astype(dtype)
    d_h, d_c = d_states = rng.normal(size=(2, width)).astype(dtype)
    for array in (h, c):
        array[:, hidden:] = 0
    d_h[hidden:] = d_c[hidden:] = 0
    ours, theirs = in_turn(a, W), a.copy()
    h_twin, c_twin, d_h_twin, d_c_twin = h.copy(), c.copy(), d_h.copy(), d_c.copy()
    run_alone(states, panels, hidden, ours)
    for t in range(rows):
        plain_product(h_twin[t : t + 1], weight, theirs[t : t + 1])
        plain_activate(theirs[t], c_twin[t], c_twin[t + 1], h_twin[t + 1])
    close = {"rtol": 100 * np.finfo(dtype).eps, "atol": 30 * np.finfo(dtype).eps}
    np.testing.assert_allclose(one_after_the_other(ours, W), theirs, **close)
    np.testing.assert_allclose(h, h_twin, **close)
    np.testing.assert_allclose(c, c_twin, **close)
    run_alone_back(states, panels, hidden, ours, d_y, d_states)
    for t in reversed(range(rows)):
        plain_deactivate(theirs[t], d_y[t], c_twin[t], c_twin[t + 1], d_h_twin, d_c_twin)
        plain_product(theirs[t : t + 1], np.ascontiguousarray(weight.T), d_h_twin[None])
    np.testing.assert_allclose(one_after_the_other(ours, W), theirs, **close)
    np.testing.assert_allclose(d_h, d_h_twin, **close)
    np.testing.assert_allclose(d_c, d_c_twin, **close)
    assert not np.any(d_h[hidden:])  # what pads stays zero


@KINDS
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 10, 2), (16, 35, 17)])
def test_parameters_go_into_panels_and_come_back(dtype, sizes, parts):
    inputs, hidden, outputs = sizes
    model = rk.Chain(rk.LSTM(inputs, hidden), rk.Dense(hidden, outputs), initial=rk.Learned())
    plan, W = layout.layout(model, 1, np.dtype(dtype)), W_for(dtype)
    params = np.random.default_rng(0).normal(size=plan.parameters).astype(dtype)
    packed, back = np.zeros(plan.packed, dtype), np.full_like(params, np.nan)
    for part in range(parts):
        run_move(plan.table, params, packed, True, part, parts)
    for part in range(parts):
        run_move(plan.table, back, packed, False, part, parts)
    np.testing.assert_array_equal(back, params)
    assert np.count_nonzero(packed) == np.count_nonzero(params)  # what pads them is zero
    weight_ih = params[: 4 * hidden * inputs].reshape(4, hidden, inputs)
    width = -(-hidden // W) * W
    wide = np.zeros((inputs, 4, width), dtype)
    wide[..., :hidden] = weight_ih.transpose(2, 0, 1)
    wanted = plain_pack(in_turn(wide.reshape(inputs, -1), W), W, TILE_VECTORS)
    np.testing.assert_array_equal(packed[: wanted.size], wanted)


@KINDS
@pytest.mark.parametrize("parts", [1, 2])
def test_what_is_derived_from_panels_are_sums_of_biases_and_weights_turned(dtype, parts):
    inputs, hidden, outputs = 5, 18, 3
    model = rk.Chain(rk.LSTM(inputs, hidden), rk.Dense(hidden, outputs))
    plan, W = layout.layout(model, 1, np.dtype(dtype)), W_for(dtype)
    params = np.random.default_rng(0).normal(size=plan.parameters).astype(dtype)
    packed = np.zeros(plan.packed, dtype)
    run_move(plan.table, params, packed, True, 0, 1)
    for part in range(parts):
        run_derive(plan.table, packed, 2, True, part, parts)
    shapes = layout.parameter_shapes(model)
    named = layout.unflatten(shapes, params, shapes)
    width, columns = -(-hidden // W) * W, -(-inputs // W) * W
    gates = np.zeros((4, width, 1 + width + columns), dtype)
    by_gate = lambda key: named[key].reshape(4, hidden, -1)  # noqa: E731
    gates[:, :hidden, :1] = by_gate("0.bias_ih") + by_gate("0.bias_hh")
    gates[:, :hidden, 1 : 1 + hidden], gates[:, :hidden, 1 + width :][..., :inputs] = (
        by_gate("0.weight_hh"),
        by_gate("0.weight_ih"),
    )
    gates = in_turn(gates.reshape(4 * width, -1).T, W).T
    wanted = [
        gates[:, 0],
        plain_pack(gates[:, 1 : 1 + width], W, TILE_VECTORS),
        plain_pack(gates[:, 1 + width :], W, TILE_VECTORS),
    ]
    dense = np.zeros((outputs, width), dtype)
    dense[:, :hidden] = named["1.weight"]
    wanted = np.concatenate([*wanted, plain_pack(dense, W, TILE_VECTORS)])
    np.testing.assert_array_equal(packed[plan.gradients :][: wanted.size], wanted)


@pytest.mark.parametrize("size", ["16", "32"])
def test_narrower_vectors_give_the_same_numbers(size):
    script = """
import numpy as np, rnnkit as rk, rnnkit_numba, rnnkit_numpy
from rnnkit_numba.kernels.vectors import BYTES
for inputs, hidden, lanes in ((3, 7, 5), (3, 1, 1), (3, 7, 1), (3, 18, 1), (130, 130, 1), (130, 5, 3), (3, 130, 5)):
    model = rk.Chain(rk.LSTM(inputs, hidden), rk.Dense(hidden, 5, "tanh"))
    params, state = rk.setup(model, lanes=lanes, dtype="float64")
    x = np.random.default_rng(0).normal(size=(9, lanes, inputs))
    ours, theirs = (
        (y, *(b.backward(model, params, tape, y).params[key] for key in ("0.weight_ih", "0.weight_hh", "1.weight")))
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


def test_a_kernel_is_compiled_for_types_and_not_for_the_constants_that_callers_write():
    def add(a, b):
        return a + b

    for decorator, times in ((kernel, 1), (specialised, 3)):
        function = decorator(add)

        @njit
        def call(number, function=function):
            return function(number, 1) + function(number, b=2) + function(number, number)

        assert call(5) == 23
        assert len(function.overloads) == times


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
