"""Descriptions: layers, initial values, losses, rules, plain values, summary."""

import dataclasses

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.model import ACTIVATIONS, LOSSES, as_loss, parameter_shapes, row_gradient, row_loss, window_loss
from rnnkit.model.plain import chain_from_plain, chain_to_plain, from_plain, to_plain


def test_descriptions_are_values():
    assert rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 1)) == rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 1))
    assert len({rk.LSTM(1, 10), rk.LSTM(1, 10), rk.LSTM(1, 11)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        rk.LSTM(1, 10).hidden = 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rk.LSTM(1, 0), "LSTM expects hidden to be a positive whole number, got 0"),
        (lambda: rk.Dense(2.5, 1), "Dense expects inputs to be a positive whole number, got 2.5"),
        (
            lambda: rk.Dense(2, 1, "tahn"),
            "Dense expects an activation among identity, tanh, relu, sigmoid, got 'tahn'; did you mean 'tanh'",
        ),
        (lambda: rk.Chain(), "Chain expects at least one layer"),
        (lambda: rk.Chain(rk.LSTM(1, 2), "Dense"), "Chain expects layers .* got str at position 1"),
        (
            lambda: rk.Chain(rk.LSTM(1, 2), rk.Dense(3, 1)),
            "layer 0 gives 2 features, but layer 1 .* expects 3",
        ),
        (lambda: rk.SGD(0.1, nesterov=True), "expects momentum > 0"),
        (lambda: rk.Adam(1e-3, beta1=1.0), "Adam expects 0 <= beta1 < 1, got 1.0"),
        (lambda: rk.RMSProp(-1.0), "RMSProp expects 0 <= learning_rate, got -1.0"),
        (lambda: rk.ClipNorm(0), "ClipNorm expects a maximum > 0, got 0"),
        (lambda: rk.ClipValue(-1), "ClipValue expects a maximum > 0, got -1"),
        (lambda: rk.Huber(0), "Huber expects delta > 0, got 0"),
        (lambda: rk.setup(rk.LSTM(1, 2)), r"setup expects a Chain, got LSTM; wrap the layer: Chain\(LSTM"),
        (
            lambda: rk.setup(rk.Chain(rk.LSTM(1, 2)), dtype="float16"),
            "expects dtype 'float32' or 'float64', got 'float16'",
        ),
        (lambda: rk.setup(rk.Chain(rk.LSTM(1, 2)), lanes=0), "at least one lane, got lanes=0"),
        (lambda: as_loss("msee"), "expected a loss among mse, .* got 'msee'; did you mean 'mse'"),
        (
            lambda: from_plain({"type": "LSMT"}, [rk.LSTM]),
            "expected a type among LSTM, got 'LSMT'; did you mean 'LSTM'",
        ),
        (lambda: from_plain({"type": "LSTM", "in": 3}, [rk.LSTM]), "LSTM cannot be made from"),
    ],
)
def test_bad_descriptions_say_what_to_do(make, message):
    with pytest.raises(rk.ModelError, match=message) as error:
        make()
    assert isinstance(error.value, ValueError)


def test_parameters_are_drawn_as_pytorch_does():
    model = rk.Chain(rk.LSTM(3, 25), rk.Dense(25, 4))
    params, state = rk.setup(model, seed=3, lanes=2, dtype="float64")
    assert {key: p.shape for key, p in params.items()} == parameter_shapes(model)
    for p in params.values():
        assert np.abs(p).max() <= 0.2
    lstm = np.concatenate([p.ravel() for key, p in params.items() if key.startswith("0.")])
    assert abs(lstm.mean()) < 0.01
    assert lstm.std() == pytest.approx(0.2 / np.sqrt(3), rel=0.05)
    assert state[1] == ()
    assert all((a == 0).all() and a.shape == (2, 25) for a in state[0])


def test_the_same_seed_draws_the_same_parameters_for_every_dtype():
    model = rk.Chain(rk.LSTM(2, 3))
    double, single, other = (
        rk.setup(model, s, dtype=d)[0] for s, d in ((7, "float64"), (7, "float32"), (8, "float64"))
    )
    assert all(np.array_equal(double[key].astype(np.float32), single[key]) for key in double)
    assert not np.array_equal(double["0.weight_ih"], other["0.weight_ih"])


def targets(loss, rng, shape, outputs):
    if loss == "cross_entropy":
        return rng.integers(0, outputs, shape)
    return rng.random((*shape, outputs))


@pytest.mark.parametrize("loss", [*LOSSES, rk.Huber(0.2)])
def test_gradient_of_a_loss_equals_central_differences(loss):
    rng = np.random.default_rng(0)
    y, weight = 2 * rng.standard_normal((5, 3, 4)), rng.choice([0.0, 1.0, 2.5], (5, 3))
    target = targets(loss, rng, (5, 3), 4)
    loss = as_loss(loss)
    _, d_y = window_loss(loss, y, target, weight)
    for place in np.ndindex(y.shape):
        nudge = np.zeros_like(y)
        nudge[place] = 1e-6
        up, down = (window_loss(loss, y + s * nudge, target, weight)[0] for s in (1, -1))
        assert d_y[place] == pytest.approx((up - down) / 2e-6, abs=1e-9)


def test_window_loss_is_the_weighted_mean_over_scored_rows():
    y = np.array([1.0, 2.0, np.nan, 4.0]).reshape(4, 1, 1)
    weight = np.array([1.0, 3.0, 0.0, 0.0]).reshape(4, 1)
    value, d_y = window_loss(rk.MSE(), y, np.zeros((4, 1, 1)), weight)
    assert value == pytest.approx((1 * 1 + 3 * 4) / 4)
    np.testing.assert_allclose(d_y.ravel(), [2 / 4, 3 * 4 / 4, 0, 0])
    value, d_y = window_loss(rk.MSE(), y, np.zeros((4, 1, 1)), np.zeros((4, 1)))
    assert value == 0
    assert (d_y == 0).all()


def test_losses_do_not_overflow():
    y = np.array([[1e4, -1e4, 0.0]])
    with np.errstate(over="raise", invalid="raise"):
        assert row_loss(rk.CrossEntropy(), y, np.array([1])) == pytest.approx(2e4)
        assert row_loss(rk.BinaryCrossEntropy(), y, np.array([[1.0, 0.0, 1.0]])) == pytest.approx(np.log(2) / 3)
        np.testing.assert_allclose(row_gradient(rk.BinaryCrossEntropy(), y, np.zeros((1, 3))) * 3, [[1, 0, 0.5]])


def test_plain_values_and_back():
    model = rk.Chain(rk.LSTM(2, 3), rk.Dense(3, 2, "relu"))
    assert chain_from_plain(chain_to_plain(model)) == model
    for thing in (rk.Adam(0.1, beta1=0.5), rk.Huber(0.3), rk.Continuation(4, lookback=2)):
        assert from_plain(to_plain(thing), [type(thing)]) == thing
    with pytest.raises(rk.ModelError, match="to_plain expects a description"):
        to_plain(3)


def test_summary_counts():
    model = rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 5, "tanh"), rk.Dense(5, 1))
    summary = rk.summary(model, "float64")
    params, state = rk.setup(model)
    assert summary.parameters == sum(p.size for p in params.values())
    assert summary.bytes == 8 * summary.parameters
    assert summary.state == sum(a.size for entry in state for a in entry)
    text = str(summary)
    assert "weight_hh 40x10" in text
    assert "Dense(inputs=10, outputs=5, activation='tanh')" in text


def test_every_activation_is_known_to_every_backend():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 2, 3))
    x[3] = [[np.nan, 0, 0], [1e3, -1e3, 1e3]]
    expected = {
        "identity": lambda a: a,
        "tanh": np.tanh,
        "relu": lambda a: np.maximum(a, 0),
        "sigmoid": lambda a: 1 / (1 + np.exp(np.minimum(-a, 700.0))),
    }
    assert set(expected) == set(ACTIVATIONS)
    for activation, function in expected.items():
        model = rk.Chain(rk.Dense(3, 2, activation))
        params, state = rk.setup(model, lanes=2, dtype="float64")
        a = x @ params["0.weight"].T + params["0.bias"]
        assert np.isnan(a[3, 0]).all()
        for name in rk.installed_backends():
            be = rk.backend(name)
            y, _, _ = be.forward(model, be.from_numpy(params), be.from_numpy(x), state)
            np.testing.assert_allclose(be.to_numpy(y), function(a), rtol=1e-12, atol=1e-300)
