"""Training: equal on every backend and to a hand-written PyTorch loop; seeds, stopping, learning rates, errors."""

import numpy as np
import pytest
import torch

import rnnkit as rk
from builders import series as small
from rnnkit.testing.conformance import RULES

BACKENDS = ["numpy", "numba", "torch"]
MODEL = rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 5, "tanh"), rk.Dense(5, 1, "tanh"))
"""The model of the question about one long series."""


def wave(rows=400, seed=0):
    return small.wave(rows, seed, period=7, noise=0.2, scale=0.5)


def hand_written_losses(values, params, length, epochs, rule):
    """What someone writes who knows PyTorch: windows in order, the state detached between them."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(1, 10)
            self.first, self.second = torch.nn.Linear(10, 5), torch.nn.Linear(5, 1)

        def forward(self, x, state):
            h, state = self.lstm(x, state)
            return torch.tanh(self.second(torch.tanh(self.first(h)))), state

    net = Net().double()
    names = {
        "0.weight_ih": "lstm.weight_ih_l0",
        "0.weight_hh": "lstm.weight_hh_l0",
        "0.bias_ih": "lstm.bias_ih_l0",
    }
    names |= {"0.bias_hh": "lstm.bias_hh_l0", "1.weight": "first.weight", "1.bias": "first.bias"}
    names |= {"2.weight": "second.weight", "2.bias": "second.bias"}
    net.load_state_dict({names[key]: torch.from_numpy(value.copy()) for key, value in params.items()})
    optimizer = rule(net.parameters())
    series = torch.from_numpy(values).reshape(-1, 1, 1)
    x, y = series[:-1], series[1:]
    losses = []
    for _ in range(epochs):
        state = None
        for start in range(0, len(x), length):
            prediction, state = net(x[start : start + length], state)
            state = tuple(s.detach() for s in state)
            loss = torch.nn.functional.mse_loss(prediction, y[start : start + length])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.fixture(scope="module")
def long_series():
    """47,249 observations, as in the question, and what a hand-written loop makes of them."""
    values = wave(47_249)
    params, _ = rk.setup(MODEL, seed=5, dtype="float64")
    return values, params, hand_written_losses(values, params, 64, 1, lambda p: torch.optim.Adam(p, 1e-3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_epoch_equals_a_hand_written_pytorch_loop(long_series, backend):
    values, params, expected = long_series
    schedule = rk.Schedule(rk.Sequence(values), rk.Continuation(length=64), rk.Carry())
    run = rk.fit(MODEL, schedule, backend=backend, rule=rk.Adam(1e-3), epochs=1, params=params, dtype="float64")
    assert len(expected) == len(run.history.steps["loss"]) == 739
    assert len(values[:-1]) % 64, "the last window is short"
    np.testing.assert_allclose(run.history.steps["loss"], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_epochs_with_momentum_equal_the_loop_too(backend):
    values = wave(150)
    params, _ = rk.setup(MODEL, seed=6, dtype="float64")
    expected = hand_written_losses(
        values, params, 16, 3, lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True)
    )
    schedule = rk.Schedule(rk.Sequence(values), rk.Chunked(length=16), rk.Carry())
    rule = rk.SGD(0.05, momentum=0.9, nesterov=True)
    run = rk.fit(MODEL, schedule, backend=backend, rule=rule, epochs=3, params=params, dtype="float64")
    np.testing.assert_allclose(run.history.steps["loss"], expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("splitter", "policy"),
    [
        (rk.Continuation(9, lanes=3, lookback=5), rk.Carry()),
        (rk.Sliding(12, 5), rk.Carry()),
        (rk.Sliding(12, 5, lanes=4, shuffle=True), rk.Reset()),
    ],
)
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_backends_train_alike_with_packed_segments(backend, splitter, policy):
    series = rk.Sequence(wave(200), segments=[(0, 50), (50, 57), (60, 130), (140, 200)])
    model = rk.Chain(rk.LSTM(1, 4), rk.LSTM(4, 3), rk.Dense(3, 1))
    schedule = rk.Schedule(series, splitter, policy)
    settings = {"dtype": "float64", "epochs": 2, "clip": rk.ClipNorm(0.3), "loss": rk.Huber(0.2)}
    reference = rk.fit(model, schedule, backend="numpy", **settings)
    run = rk.fit(model, schedule, backend=backend, **settings)
    for measure in ("loss", "norm"):
        np.testing.assert_allclose(run.history.steps[measure], reference.history.steps[measure], rtol=1e-8)
    for key, value in reference.params.items():
        np.testing.assert_allclose(run.params[key], value, rtol=1e-8, atol=1e-12)
    for got, expected in zip(run.state[:2], reference.state[:2], strict=True):
        np.testing.assert_allclose(got.c, expected.c, rtol=1e-8, atol=1e-12)


def test_the_carried_state_is_used():
    schedule = rk.Schedule(rk.Sequence(wave()), rk.Chunked(16), rk.Carry())
    cold = rk.Schedule(schedule.series, schedule.splitter, rk.Reset())
    carried, reset = (rk.fit(MODEL, s, backend="numpy", epochs=1).history.steps["loss"] for s in (schedule, cold))
    assert carried[0] == reset[0]
    assert carried[1] != reset[1]


def test_forward_in_carried_windows_equals_the_pass_over_the_whole_segment():
    series = rk.Sequence(wave(130))
    params, state = rk.setup(MODEL, dtype="float64")
    be = rk.backend("numpy")
    whole, _, _ = be.forward(MODEL, params, series.read_x(0, 129, "float64")[:, None], state)
    for splitter in (rk.Sliding(20, 7), rk.Chunked(20), rk.Continuation(11, lookback=9)):
        states = []
        for batch in rk.Schedule(series, splitter, rk.Carry()).batches(dtype="float64"):
            start = state if batch.origin[0] < 0 else states[batch.origin[0]]
            now, states = start, [start]
            for t in range(len(batch.x)):
                y, now, _ = be.forward(
                    MODEL, params, batch.x[t : t + 1], now, batch.reset[t : t + 1], batch.valid[t : t + 1]
                )
                states.append(now)
                if batch.valid[t, 0]:
                    np.testing.assert_allclose(y[0], whole[batch.rows[t, 0]], rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_seed_gives_the_same_bits(backend):
    schedule = rk.Schedule(rk.Sequence(wave()), rk.Chunked(16, lanes=2, shuffle=True), rk.Reset(), seed=1)
    runs = [rk.fit(MODEL, schedule, backend=backend, epochs=2, seed=3) for _ in range(2)]
    assert runs[0].history.steps["loss"] == runs[1].history.steps["loss"]
    assert all(np.array_equal(runs[0].params[key], runs[1].params[key]) for key in runs[0].params)
    other = rk.fit(MODEL, schedule, backend=backend, epochs=2, seed=4)
    assert other.history.steps["loss"] != runs[0].history.steps["loss"]


@pytest.mark.parametrize(
    ("splitter", "policy", "rows"),
    [
        (rk.Chunked(16), rk.Carry(), 59),
        (rk.Continuation(16, lookback=9), rk.Carry(), 59 + 3 * 9),
        (rk.Chunked(16, shuffle=True), rk.BurnIn(12), 59 + 3 * 12),
    ],
    ids=str,
)
def test_epoch_loss_is_the_mean_over_all_scored_rows(splitter, policy, rows):
    """Rows that are read again count in none of it."""
    schedule = rk.Schedule(rk.Sequence(wave(60)), splitter, policy, seed=1)
    history = rk.fit(MODEL, schedule, backend="numpy", epochs=1).history
    assert sorted(history.steps["weight"]) == [11, 16, 16, 16]
    expected = np.average(history.steps["loss"], weights=history.steps["weight"])
    assert history.epochs["loss"][0] == pytest.approx(expected, rel=1e-12)
    assert history.epochs["rows"] == [rows]


def test_validation_is_warmed_over_the_rows_before_it():
    train, validation, _ = rk.Sequence(wave()).split(0.5, 0.25)
    schedule = rk.Schedule(train, rk.Chunked(16), rk.Carry())
    warm, cold = (
        rk.fit(MODEL, schedule, backend="numpy", epochs=1, dtype="float64", validation=validation, warm=w)
        for w in (500, 0)
    )
    assert all(np.array_equal(warm.params[key], cold.params[key]) for key in warm.params)
    be = rk.backend("numpy")
    for run, first in ((warm, 0), (cold, 200)):
        x = validation.read_x(first, 299, "float64")[:, None]
        y, _, _ = be.forward(MODEL, run.params, x, rk.setup(MODEL, dtype="float64")[1])
        error = y[200 - first :, 0] - validation.read_y(200, 299, "float64")
        assert run.history.epochs["validation_loss"][0] == pytest.approx((error**2).mean(), rel=1e-12)


def test_early_stopping_keeps_the_best_parameters():
    train, validation, _ = rk.Sequence(wave(300)).split(0.6, 0.2)
    schedule = rk.Schedule(train, rk.Chunked(16), rk.Carry())
    settings = {
        "backend": "numpy",
        "rule": rk.SGD(2.0, momentum=0.9),
        "validation": validation,
        "dtype": "float64",
    }
    run = rk.fit(MODEL, schedule, epochs=40, early_stopping=rk.EarlyStopping(patience=3), **settings)
    losses = run.history.epochs["validation_loss"]
    best = int(np.argmin(losses))
    assert run.epoch == best
    assert len(losses) == best + 4 < 40
    again = rk.fit(MODEL, schedule, epochs=best + 1, **settings)
    assert all(np.array_equal(run.params[key], again.params[key]) for key in run.params)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loss_that_is_not_finite_stops_before_the_update(backend):
    values = wave(200)
    series = rk.Sequence(values)
    schedule = rk.Schedule(series, rk.Continuation(8, lanes=2), rk.Carry())
    values[151] = np.inf  # after the check at the door
    with pytest.raises(
        rk.NonFiniteError,
        match=r"loss of epoch 0, step 6 \(from 0\) is not finite; lane 1, rows 150 to 150 of 'series'",
    ) as e:
        rk.fit(MODEL, schedule, backend=backend, epochs=1, dtype="float64", check_range=False)
    run = e.value.run
    assert len(run.history.steps["loss"]) == run.rule_state.step == 6
    values[151] = 0.0
    stop = rk.fit(MODEL, schedule, backend="numpy", epochs=1, dtype="float64", on_block=None)
    np.testing.assert_allclose(run.history.steps["loss"], stop.history.steps["loss"][:6], rtol=1e-9)
    assert all(np.isfinite(p).all() for p in run.params.values())


def test_interruption_keeps_what_was_trained():
    schedule = rk.Schedule(rk.Sequence(wave()), rk.Chunked(16), rk.Carry())

    def interrupt(progress):
        if progress.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(rk.Interrupted, match="holds everything up to the last finished block") as e:
        rk.fit(MODEL, schedule, backend="numpy", epochs=5, on_block=interrupt)
    assert isinstance(e.value, KeyboardInterrupt)
    assert len(e.value.run.history.steps["loss"]) == 2 * len(schedule)
    two = rk.fit(MODEL, schedule, backend="numpy", epochs=2)
    assert all(np.array_equal(e.value.run.params[key], two.params[key]) for key in two.params)


def test_who_stops_before_any_row_is_scored_has_a_run():
    samples = rk.Sequence.panel([wave(40), wave(40)], [0.0, 1.0])
    schedule = rk.Schedule(samples, rk.Continuation(8), rk.Carry())
    run = rk.fit(MODEL, schedule, backend="numpy", epochs=1, block_rows=8, stop=lambda run: True)
    assert run.history.steps["weight"] == [0]


def test_labels_and_classes():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(600)
    labels = (np.convolve(x, [1, 1, 1])[:600] > 0).astype(int)  # needs the two rows before
    series = rk.Sequence(x, labels)
    model = rk.Chain(rk.LSTM(1, 8), rk.Dense(8, 2))
    schedule = rk.Schedule(series, rk.Continuation(20, lanes=5), rk.Carry())
    run = rk.fit(model, schedule, backend="numpy", loss="cross_entropy", rule=rk.Adam(0.03), epochs=30)
    assert rk.evaluate(run, series).model.mae < 0.1
    binary = rk.fit(
        rk.Chain(rk.LSTM(1, 8), rk.Dense(8, 1)),
        schedule,
        backend="numpy",
        loss="binary_cross_entropy",
        epochs=2,
    )
    assert binary.history.epochs["loss"][1] < binary.history.epochs["loss"][0]


def test_interruption_in_the_first_epoch_keeps_what_was_trained_under_early_stopping():
    schedule = rk.Schedule(rk.Sequence(wave()), rk.Chunked(16), rk.Carry())

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(rk.Interrupted) as e:
        rk.fit(MODEL, schedule, backend="numpy", early_stopping=rk.EarlyStopping(2), on_block=interrupt)
    one = rk.fit(MODEL, schedule, backend="numpy", epochs=1)
    assert all(np.array_equal(e.value.run.params[key], one.params[key]) for key in one.params)
    assert e.value.run.epoch is None


def test_the_best_epoch_keeps_the_optimizer_of_that_moment():
    schedule = rk.Schedule(rk.Sequence(wave(100)), rk.Chunked(16), rk.Carry())
    stop = rk.EarlyStopping(patience=2, minimum=1e9)
    run = rk.fit(MODEL, schedule, backend="numpy", epochs=9, early_stopping=stop)
    one = rk.fit(MODEL, schedule, backend="numpy", epochs=1)
    assert run.epoch == 0
    assert run.rule_state.step == one.rule_state.step == len(schedule)
    assert np.array_equal(run.state[0].c, one.state[0].c)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_update_that_overflows_keeps_the_parameters_before(backend):
    schedule = rk.Schedule(rk.Sequence(1e10 * wave(100)), rk.Chunked(16), rk.Carry())
    start, _ = rk.setup(MODEL, seed=0)
    with np.errstate(all="ignore"), pytest.raises(rk.NonFiniteError, match="made parameters that are not finite") as e:
        rk.fit(MODEL, schedule, backend=backend, rule=rk.SGD(1e30), epochs=1, check_range=False)
    assert all(np.array_equal(e.value.run.params[key], start[key]) for key in start)
    assert e.value.run.history.steps["loss"] == []


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_saved_run_goes_on_with_any_rule_and_dtype(tmp_path, backend, rule):
    schedule = rk.Schedule(rk.Sequence(wave(60)), rk.Chunked(16), rk.Carry())
    run = rk.fit(MODEL, schedule, backend=backend, rule=rule, epochs=1, dtype="float64")
    loaded = rk.load(run.save(tmp_path / "run"))
    settings = {"backend": backend, "rule": rule, "epochs": 1, "params": loaded.params, "rule_state": loaded.rule_state}
    on = rk.fit(MODEL, schedule, dtype="float64", **settings)
    whole = rk.fit(MODEL, schedule, backend=backend, rule=rule, epochs=2, dtype="float64")
    assert on.history.steps["loss"] == whole.history.steps["loss"][len(schedule) :]
    single = rk.fit(MODEL, schedule, dtype="float32", **settings)
    assert all(p.dtype == np.float32 for p in single.params.values())


def test_integer_targets_are_numbers_to_a_loss_of_numbers():
    x, counts = wave(80), np.arange(80) % 7 + 100
    runs = []
    for y in (counts, counts.astype(float)):
        series = rk.Sequence(x, y)
        series = series.with_scaler(rk.Standard.fit(series))
        schedule = rk.Schedule(series, rk.Chunked(16), rk.Carry())
        runs.append(rk.fit(MODEL, schedule, backend="numpy", epochs=2, validation=series, check_range=False))
        report = rk.evaluate(runs[-1], rk.Sequence(x, y))
        assert report.persistence is None  # what is given apart is not known when it is predicted
        assert report.mean.mae == pytest.approx(np.abs(counts - counts.mean()).mean())
        assert report.model.rmse > 0
    assert runs[0].history.steps["loss"] == runs[1].history.steps["loss"]


def test_classes_are_judged_as_classes_and_never_scaled():
    rng = np.random.default_rng(0)
    x = 100 + 10 * rng.standard_normal(400)
    for y in ((x > 100).astype(int), (x > 100).astype(float)):
        series = rk.Sequence(x, y)
        scaled = series.with_scaler(rk.Standard.fit(series))
        schedule = rk.Schedule(scaled, rk.Continuation(20, lanes=5), rk.Carry())
        model = rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1))
        settings = {"backend": "numpy", "loss": "binary_cross_entropy", "rule": rk.Adam(0.05), "epochs": 30}
        run = rk.fit(model, schedule, **settings)
        report = rk.evaluate(run, series)
        assert report.model.mae == pytest.approx(((rk.predict(run, series)[:, 0] > 0) != y).mean())
        assert report.model.mae < 0.05
        assert report.persistence is None
        assert report.mean.mae == pytest.approx(min(y.mean(), 1 - y.mean()))
        assert np.isnan(report.model.rmse)


def bad_fit(**changes):
    series = changes.pop("series", rk.Sequence(wave(60)))
    model = changes.pop("model", MODEL)
    schedule = changes.pop("schedule", rk.Schedule(series, rk.Chunked(16), rk.Reset()))
    return rk.fit(model, schedule, **{"backend": "numpy", "epochs": 1} | changes)


def test_columns_that_do_not_fit_the_model_are_named(tmp_path):
    file = tmp_path / "pair.csv"
    file.write_text("t,v\n" + "".join(f"{t},{t % 5}\n" for t in range(40)))
    with pytest.raises(rk.ModelError, match=r"'pair' has 2 \(t, v\); .* inputs=2, or choose other columns$"):
        bad_fit(series=rk.Sequence.open(file, target="v"))


LABELLED = rk.Sequence(np.zeros(20), np.arange(20) % 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": rk.Chain(rk.LSTM(2, 3), rk.Dense(3, 1))},
            "expects 2 features, but 'series' has 1; let its first layer have inputs=1",
        ),
        (
            {"model": rk.Chain(rk.LSTM(1, 3))},
            "gives 3 outputs, but 'series' has 1 target a row; let its last layer have outputs=1",
        ),
        ({"loss": "cross_entropy"}, "cross_entropy expects whole-number labels"),
        ({"loss": "mean"}, "expected a loss among"),
        ({"epochs": 0}, "epochs to be a whole number >= 1, got 0"),
        ({"dtype": "float16"}, "expects dtype to be 'float32' or 'float64', got 'float16'"),
        ({"dtype": "float16", "params": rk.setup(MODEL)[0]}, "expects dtype to be"),
        ({"dtype": np.float64}, "write dtype='float64'"),
        ({"params": {k: p + np.nan for k, p in rk.setup(MODEL)[0].items()}}, "expects params to be finite"),
        ({"params": rk.setup(rk.Chain(rk.LSTM(1, 5), rk.Dense(5, 1)))[0]}, "take those of the same model"),
        ({"params": {}}, "expects a parameter '0.weight_ih'"),
        (
            {"series": LABELLED, "loss": "cross_entropy", "model": rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 3))},
            "expects labels 0 to 2 for a model with 3 outputs, got 3",
        ),
        (
            {"loss": "binary_cross_entropy", "model": rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))},
            "expects targets between 0 and 1, got -",
        ),
        ({"model": None}, r"fit expects model to be a Chain, got None; write rk.Chain\("),
        ({"epochs": 2.5}, r"epochs to be a whole number >= 1, got 2.5"),
        ({"rule": 1e-3}, r"rule to be an optimizer, got 0.001; write rule=rk.Adam"),
        ({"clip": 1.0}, r"clip to be ClipNorm, ClipValue or None, got 1.0; write clip=rk.ClipNorm"),
        ({"learning_rate": 1e-3}, r"learning_rate to be a schedule of rates, got 0.001; write rule=rk.Adam"),
        ({"early_stopping": 3}, r"early_stopping to be EarlyStopping or None, got 3"),
        ({"validation": np.zeros(9)}, r"validation to be a Sequence, got array"),
        ({"warm": -1}, r"warm to be a number of rows >= 0, got -1"),
        (
            {"validation": rk.Sequence(np.zeros((9, 2)), np.zeros(9))},
            "expects 1 feature, but 'series' has 2",
        ),
        (
            {"validation": rk.Sequence(wave(9)).with_scaler(rk.Standard((0,), (2,), (0,), (2,)))},
            "validation part to be scaled like",
        ),
        ({"schedule": "Chunked"}, "fit expects a Schedule or a Curriculum, got str"),
    ],
)
def test_what_does_not_fit_says_what_to_do(changes, message):
    with pytest.raises((rk.ModelError, rk.ScheduleError), match=message):
        bad_fit(**changes)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_goes_on_where_another_ended(backend):
    schedule = rk.Schedule(rk.Sequence(wave(100)), rk.Chunked(16), rk.Carry())
    whole = rk.fit(MODEL, schedule, backend=backend, epochs=4)
    half = rk.fit(MODEL, schedule, backend=backend, epochs=2)
    rest = rk.fit(MODEL, schedule, backend=backend, epochs=2, params=half.params, rule_state=half.rule_state)
    assert rest.history.steps["loss"] == whole.history.steps["loss"][2 * len(schedule) :]
    with pytest.raises(rk.ModelError, match=r"rule_state of SGD\(.*with the moments \[\], got \['m', 'v'\]"):
        rk.fit(MODEL, schedule, rule=rk.SGD(0.1), rule_state=half.rule_state)


def test_early_stopping_needs_patience():
    with pytest.raises(rk.ModelError, match="patience >= 1, got 0"):
        rk.EarlyStopping(0)


def test_steps_are_told_as_a_list_would_in_eight_bytes_each():
    schedule = rk.Schedule(rk.Sequence(wave(100)), rk.Continuation(length=16), rk.Carry())
    run = rk.fit(MODEL, schedule, backend="numpy", epochs=2)
    losses = run.history.steps["loss"]
    plain = list(losses)
    assert len(losses) == len(plain) == 14
    assert losses == plain
    assert losses != plain[1:]
    assert losses == pytest.approx(plain)
    assert losses != 3
    assert (losses[-1], losses[2:4], repr(losses)) == (plain[-1], plain[2:4], repr(plain))
    assert np.array_equal(np.asarray(losses), plain)
    assert np.asarray(losses).dtype == np.float64
    assert losses._numbers.itemsize == 8
