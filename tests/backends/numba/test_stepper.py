"""One row at a time gives the bits of the whole pass."""

import numpy as np
import pytest
import rnnkit_numba as compiled
from rnnkit_numba.protocol import PIECE_CELLS, run_backward, run_forward, run_outputs, run_update
from rnnkit_numba.stepper import run_step
from rnnkit_numba.train import run_block

import rnnkit as rk
from rnnkit.errors import ModelError

MODEL = rk.Chain(rk.LSTM(3, 7), rk.Dense(7, 4, "tanh"), rk.LSTM(4, 9), rk.Dense(9, 2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lanes", [1, 3, 20])
def test_steps_are_the_rows_of_a_window(lanes, dtype):
    params, state = rk.setup(MODEL, 0, lanes, dtype)
    x = np.random.default_rng(0).normal(size=(6, lanes, 3)).astype(dtype)
    y, end, _ = compiled.forward(MODEL, params, x, state)
    stepper = compiled.stepper(MODEL, params, lanes, state)
    steps = [stepper.step(row) for row in x]
    assert {step.dtype.name for step in steps} == {"float64"}
    assert np.stack(steps).astype(dtype).tobytes() == y.tobytes()
    for got, expected in zip(stepper.state, end, strict=True):
        for a, b in zip(got, expected, strict=True):
            assert a.tobytes() == b.tobytes()


def test_the_state_can_be_replaced_and_is_a_value():
    params, state = rk.setup(MODEL, 0, 1)
    x = np.ones((1, 3), np.float32)
    stepper = compiled.stepper(MODEL, params, 1, state)
    first = stepper.step(x)
    middle = stepper.state
    second = stepper.step(x)
    assert not np.array_equal(first, second)
    stepper.state = middle
    np.testing.assert_array_equal(stepper.step(x), second)
    stepper.state = state
    np.testing.assert_array_equal(stepper.step(x), first)
    with pytest.raises(ModelError, match="expects a state of arrays"):
        stepper.state = state[:1]


def test_parameters_are_checked_and_copied():
    params, state = rk.setup(MODEL, 0, 1)
    with pytest.raises(ModelError, match=r"expects parameter '1.bias' of shape \(4,\)"):
        compiled.stepper(MODEL, {**params, "1.bias": np.zeros(3, np.float32)}, 1, state)
    x = np.ones((1, 3), np.float32)
    expected = compiled.stepper(MODEL, params, 1, state).step(x)
    stepper = compiled.stepper(MODEL, params, 1, state)
    params["0.weight_hh"][:] = 9
    np.testing.assert_array_equal(stepper.step(x), expected)


def test_a_stream_has_the_same_outputs_with_and_without_a_stepper():
    series = rk.Sequence(np.sin(np.arange(60) / 5).astype(np.float32))
    schedule = rk.Schedule(series, rk.Continuation(length=20), rk.Carry())
    run = rk.fit(rk.Chain(rk.LSTM(1, 5), rk.Dense(5, 1)), schedule, backend="numba", dtype="float64", epochs=1)
    plain = rk.fit(run.model, schedule, backend="numpy", dtype="float64", epochs=1, params=None)
    ours, theirs = rk.Stream(run, lanes=2), rk.Stream(plain, lanes=2)
    for step in range(5):
        row = np.full((2, 1), step / 5)
        np.testing.assert_allclose(ours.step(row), theirs.step(row), rtol=0, atol=1e-10)
    ours.reset()
    theirs.reset()
    np.testing.assert_allclose(ours.step(row), theirs.step(row), rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("steps", "lanes"), [(1, 1), (PIECE_CELLS // 2, 2), (3 * PIECE_CELLS + 5, 1), (PIECE_CELLS + 1, 20)]
)
def test_a_pass_without_tape_is_the_forward_pass(steps, lanes, dtype):
    rng = np.random.default_rng(0)
    params, state = rk.setup(MODEL, 0, lanes, dtype)
    x = rng.normal(size=(steps, lanes, 3)).astype(dtype)
    reset, valid = rng.random((steps, lanes)) < 0.1, rng.random((steps, lanes)) < 0.8
    y, end, _ = compiled.forward(MODEL, params, x, state, reset, valid)
    got, got_end = compiled.outputs(MODEL, params, x, state, reset, valid)
    assert got.tobytes() == y.tobytes()
    for a, b in zip(got_end, end, strict=True):
        assert [p.tobytes() for p in a] == [p.tobytes() for p in b]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_is_compiled_after_warmup(dtype):
    compiled.warmup((dtype,))
    entries = (run_block, run_forward, run_backward, run_update, run_outputs, run_step)
    before = [len(f.signatures) for f in entries]
    assert min(before) >= 1
    params, state = rk.setup(MODEL, 0, 20, dtype)
    x = np.ones((5, 20, 3), dtype)
    y, _, tape = compiled.forward(MODEL, params, x, state)
    compiled.backward(MODEL, params, tape, y)
    compiled.outputs(MODEL, params, x, state)
    compiled.stepper(MODEL, params, 20, state).step(x[0])
    assert [len(f.signatures) for f in entries] == before
