"""The textbook backend against the complex step, which needs no backward pass."""

import numpy as np
import pytest

import rnnkit as rk
from rnnkit import testing

CASES = [testing.random_case(np.random.default_rng(100 + index), index) for index in (*range(12), 15)]


@pytest.mark.parametrize("case", CASES)
def test_every_gradient_equals_the_complex_step(case):
    _, _, grads = testing.run_case(rk.backend("numpy"), case)
    assert testing.relative_difference(grads, testing.complex_step_gradients(case)) <= 1e-12
    if case.valid.any() and not case.reset.all():  # else h before every row is the initial state, which may be zero
        reached = {key: g for key, g in grads.params.items() if case.reset.any() or "initial" not in key}
        assert all(np.abs(g).max() > 0 for g in reached.values()), "a gradient that is all zero proves nothing"


def test_those_are_cases_of_every_initial_state_with_resets():
    kinds = {(type(c.model.initial), c.initial is None) for c in CASES if c.reset.any() and c.valid.any()}
    given = {(kind, own) for kind in (rk.Zeros, rk.Given, rk.Noise) for own in (True, False)}
    assert kinds == given | {(rk.Learned, True)}


def test_the_complex_step_sees_a_wrong_gradient():
    case = testing.random_case(np.random.default_rng(1), 1)
    _, _, grads = testing.run_case(rk.backend("numpy"), case)
    for key in ("0.weight_hh", "0.initial_h"):
        wrong = dict(grads.params) | {key: grads.params[key] * (1 + 1e-9)}
        assert testing.relative_difference(grads._replace(params=wrong), testing.complex_step_gradients(case)) > 1e-12


def one_lstm(lanes=3, steps=7, seed=0):
    rng = np.random.default_rng(seed)
    model = rk.Chain(rk.LSTM(2, 4))
    params, state = rk.setup(model, seed=seed, lanes=lanes, dtype="float64")
    state = (rk.LSTMState(*(rng.standard_normal(s.shape) for s in state[0])),)
    return model, params, state, rng.standard_normal((steps, lanes, 2))


def test_the_equations_row_by_row():
    """Two rows of one unit, by hand."""
    model = rk.Chain(rk.LSTM(1, 1))
    params = {
        "0.weight_ih": np.array([[0.1], [0.2], [0.3], [0.4]]),
        "0.weight_hh": np.array([[0.5], [0.6], [0.7], [0.8]]),
        "0.bias_ih": np.array([0.01, 0.02, 0.03, 0.04]),
        "0.bias_hh": np.array([0.05, 0.06, 0.07, 0.08]),
    }
    h, c, rows = 0.3, -0.2, []
    for x in (1.5, -0.5):
        i, f, o = (
            1 / (1 + np.exp(-(w * x + u * h + b))) for w, u, b in ((0.1, 0.5, 0.06), (0.2, 0.6, 0.08), (0.4, 0.8, 0.12))
        )
        c = f * c + i * np.tanh(0.3 * x + 0.7 * h + 0.1)
        h = o * np.tanh(c)
        rows.append(h)
    x = np.array([1.5, -0.5]).reshape(2, 1, 1)
    state = (rk.LSTMState(np.array([[0.3]]), np.array([[-0.2]])),)
    y, ((h_end, c_end),), _ = rk.backend("numpy").forward(model, params, x, state)
    np.testing.assert_allclose(y[:, 0, 0], rows, rtol=1e-15)
    np.testing.assert_allclose((h_end[0, 0], c_end[0, 0]), (h, c), rtol=1e-15)


def test_a_reset_forgets_everything_before_it():
    model, params, state, x = one_lstm()
    reset = np.zeros((7, 3), bool)
    reset[4, 1] = True
    be = rk.backend("numpy")
    y, _, _ = be.forward(model, params, x, state, reset)
    fresh, _, _ = be.forward(model, params, x[4:], rk.setup(model, lanes=3, dtype="float64")[1])
    assert np.array_equal(y[4:, 1], fresh[:, 1])
    assert not np.allclose(y[4:, 0], fresh[:, 0])


def test_a_reset_goes_to_the_initial_state_that_is_given():
    model, params, state, x = one_lstm()
    reset = np.zeros((7, 3), bool)
    reset[4, 1] = True
    be = rk.backend("numpy")
    initial = (rk.LSTMState(*(np.random.default_rng(8).standard_normal((3, 4)) for _ in range(2))),)
    y, _, _ = be.forward(model, params, x, state, reset, initial=initial)
    fresh, _, _ = be.forward(model, params, x[4:], initial)
    assert np.array_equal(y[4:, 1], fresh[:, 1])
    assert not np.allclose(y[4:], fresh)


def test_no_gradient_crosses_a_reset():
    model, params, state, x = one_lstm()
    reset = np.zeros((7, 3), bool)
    reset[4] = True
    be = rk.backend("numpy")
    _, _, tape = be.forward(model, params, x, state, reset)
    d_y = np.zeros((7, 3, 4))
    d_y[4:] = 1
    grads = be.backward(model, params, tape, d_y)
    assert (grads.x[:4] == 0).all()
    assert (grads.x[4:] != 0).all()
    assert (grads.state[0].h == 0).all()
    assert (grads.state[0].c == 0).all()


def test_padding_holds_the_state_and_is_no_reset():
    model, params, state, x = one_lstm()
    valid = np.ones((7, 3), bool)
    valid[2:5] = False
    be = rk.backend("numpy")
    y, final, _ = be.forward(model, params, x, state, None, valid)
    y_short, final_short, _ = be.forward(model, params, x[[0, 1, 5, 6]], state)
    assert np.array_equal(y[[0, 1, 5, 6]], y_short)
    assert np.array_equal(final[0].c, final_short[0].c)
    assert (y[2:5] == 0).all()


def test_sigmoid_does_not_overflow():
    from rnnkit_numpy.lstm import sigmoid

    a = np.array([-1e4, -700.0, 0.0, 700.0, 1e4])
    with np.errstate(over="raise"):
        np.testing.assert_allclose(sigmoid(a), [0, np.exp(-700), 0.5, 1, 1], rtol=1e-12)
