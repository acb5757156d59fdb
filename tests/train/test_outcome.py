"""Runs that came to nothing say so."""

import warnings
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

import rnnkit as rk
from builders.configs import config
from builders.files import write_csv
from rnnkit.cli.commands import main
from rnnkit.train.outcome import blown_up

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


@pytest.mark.parametrize(
    ("steps", "epochs", "kept", "told"),
    [
        ([2.0, 2.0], [1.0, 60.0], None, True),
        ([2.0, 2.0], [1.0, 60.0], 0, False),  # what is kept are the parameters of the first epoch
        ([50.0, 50.0], [40.0, 20.0], None, False),  # far from the mean, and on its way
        ([2.0, 2.0], [2.0, 9.0], None, False),  # risen, and not by as much
        ([1e-9, 1e-9], [0.5, 0.9], None, False),  # better than the mean
    ],
)
def test_what_is_kept_is_held_against_the_first_steps_and_the_mean(steps, epochs, kept, told):
    series = rk.Sequence(WAVE)
    run = train(series.with_scaler(rk.Standard.fit(series)), rk.Adam(1e-3))
    measured = {"loss": steps, "weight": [200.0, 200.0]}
    history = replace(run.history, steps=measured, epochs={"loss": epochs})
    assert bool(blown_up(replace(run, history=history, epoch=kept))) == told


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
    assert "blown up" not in told.err  # it is told once


@pytest.mark.parametrize(
    ("values", "target", "told"),
    [
        (np.full((60, 1), 3.5), None, "'series' has nothing to learn: its target is the same in all 59 rows"),
        (np.stack([np.full(60, 2.0), np.sin(np.arange(60))], 1), [0, 1], "its target '0' is the same in all 59 rows"),
        (np.stack([np.full(60, 2.0), np.sin(np.arange(60)), np.ones(60)], 1), [0, 1, 2], "targets 0, 2 are the same"),
    ],
)
def test_targets_that_never_change_are_told(values, target, told):
    def fit(series):
        model = rk.Chain(rk.LSTM(series.features, 2), rk.Dense(2, series.outputs))
        return rk.fit(model, rk.Schedule(series, rk.Continuation(16), rk.Carry()), backend="numpy", epochs=1)

    with pytest.warns(rk.RnnkitWarning, match=told):
        fit(rk.Sequence(values, target=target))
    assert fit(rk.Sequence(np.sin(np.arange(60))))  # a warning would be an error


def test_a_data_set_that_never_changes_is_named():
    sets = [rk.DataSet(rk.Sequence(np.sin(np.arange(60))), "a"), rk.DataSet(rk.Sequence(np.ones(60)), "b")]
    curriculum = rk.Curriculum(sets, rk.Continuation(16), rk.Carry())
    with pytest.warns(rk.RnnkitWarning, match="'b' has nothing to learn"):
        rk.fit(rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1)), curriculum, backend="numpy", epochs=1)


@pytest.mark.parametrize("rate", [10.0, 1e19, 1e160])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_beyond_all_numbers_is_told_by_rnnkit_alone(rate, dtype):
    """No warning of NumPy's comes before what is said of it, wherever the numbers leave their range."""
    training, held_out, _ = rk.Sequence(np.random.default_rng(0).normal(size=120)).split()
    model, schedule = rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1)), rk.Schedule(training, rk.Continuation(16), rk.Carry())
    for given in ({}, {"validation": held_out}, {"clip": rk.ClipNorm(1)}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", rk.RnnkitWarning)
            with suppress(rk.errors.NonFiniteError, rk.ModelError):
                run = rk.fit(model, schedule, backend="numpy", rule=rk.SGD(rate), epochs=2, dtype=dtype, **given)
                rk.evaluate(run, held_out)
                rk.predict(run, held_out)
                rk.forecast(run, held_out, 3)
