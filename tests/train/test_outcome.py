"""Runs that came to nothing say so."""

import numpy as np
import pytest

import rnnkit as rk
from builders.configs import config
from builders.files import write_csv
from rnnkit.cli.commands import main

MODEL = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))
WAVE = np.sin(np.arange(200) / 5)


def train(series, rule):
    schedule = rk.Schedule(series, rk.Continuation(16), rk.Carry())
    return rk.fit(MODEL, schedule, backend="numpy", rule=rule, epochs=2)


def test_a_loss_that_has_blown_up_is_told():
    """Following the advice is silent."""
    series = rk.Sequence(WAVE)
    series = series.with_scaler(rk.Standard.fit(series))
    with pytest.warns(
        rk.RnnkitWarning, match=r"fit: the loss has blown up: .* predicting the mean costs 1;.*Adam\(1e-3"
    ):
        train(series, rk.Adam(20.0))
    train(series, rk.Adam(1e-3))


def test_of_targets_that_are_not_scaled_a_thousand_times_the_first_loss():
    with pytest.warns(rk.RnnkitWarning, match=r"the loss has blown up"):
        train(rk.Sequence(WAVE), rk.Adam(300.0))
    train(rk.Sequence(1e4 + WAVE), rk.Adam(1e-3))  # far from the mean, and on its way


def test_a_first_sample_that_is_met_by_chance_is_no_measure():
    """One of many samples is scored in a step, and the first target is what the model gives anyway."""
    rng = np.random.default_rng(0)
    samples = rk.Sequence.panel(rng.standard_normal((40, 3)), np.append(0.0, rng.standard_normal(39)))
    params, _ = rk.setup(MODEL, 0, 1, "float32")
    still = {key: values * (0.0 if key.startswith("1.") else 1.0) for key, values in params.items()}
    for scaler in (None, rk.Standard((0.0,), (1.0,), (0.0,), (1.0,))):
        schedule = rk.Schedule(samples.with_scaler(scaler), rk.Chunked("segment"), rk.Reset())
        run = rk.fit(MODEL, schedule, backend="numpy", rule=rk.SGD(1e-4), epochs=1, params=still)
        assert run.history.steps["loss"][0] < 1e-6


def test_the_last_lines_of_train_say_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "wave.csv", value=WAVE)
    (tmp_path / "a.toml").write_text(config(hidden=2, length=16))
    assert main(["train", "a.toml", "--train.rule.learning_rate", "20.0"]) == 0
    told = capsys.readouterr()
    blown, worse = told.out.strip().splitlines()[-2:]
    assert blown.startswith("the loss has blown up: ")
    assert worse.startswith("test error: ")
    assert "worse than repeating the last value: " in worse
    assert "rnnkit: warning: fit: the loss has blown up" in told.err
