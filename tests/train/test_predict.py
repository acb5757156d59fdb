"""Prediction, evaluation, forecast, streams, and the folder that keeps a run."""

import dataclasses
import gc
import json
import re
import tracemalloc
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

import rnnkit as rk

MODEL = rk.Chain(rk.LSTM(1, 6), rk.Dense(6, 1))
DAY = 24


def season(rows=600, seed=0):
    rng = np.random.default_rng(seed)
    return 50 + 10 * np.sin(2 * np.pi * np.arange(rows) / DAY) + rng.standard_normal(rows)


@pytest.fixture(scope="module")
def trained():
    """A scaled run in float64, its series, and its parts."""
    series = rk.Sequence(season(), name="season")
    train, validation, test = series.split(0.7, 0.15)
    scaled = train.with_scaler(rk.Standard.fit(train))
    schedule = rk.Schedule(scaled, rk.Continuation(24), rk.Carry())
    run = rk.fit(MODEL, schedule, backend="numpy", rule=rk.Adam(0.01), epochs=10, dtype="float64")
    return run, series, (train, validation, test)


def by_hand(run, series, first, stop):
    """One pass over rows first to stop from the initial state, in the data's own units."""
    seen = series.with_scaler(run.scaler)
    be = rk.backend("numpy")
    y, _, _ = be.forward(
        MODEL, run.params, seen.read_x(first, stop, "float64")[:, None], rk.setup(MODEL, dtype="float64")[1]
    )
    return run.scaler.unscale_y(y[:, 0])


def test_predict_gives_every_row_of_the_part_in_its_own_units(trained):
    run, series, (_, _, test) = trained
    predicted = rk.predict(run, test)
    first = int(test.runs[0, 1])
    assert predicted.shape == (600, 1)
    assert np.isnan(predicted[:first]).all()
    np.testing.assert_allclose(predicted[first:], by_hand(run, series, 0, 600)[first:], rtol=1e-12)
    cold = rk.predict(run, test, warm=0)
    np.testing.assert_allclose(cold[first:], by_hand(run, series, first, 600), rtol=1e-12)
    warm = rk.predict(run, test, warm=30)
    np.testing.assert_allclose(warm[first:], by_hand(run, series, first - 30, 600)[30:], rtol=1e-12)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_every_backend_predicts_the_same(trained, backend):
    run, series, _ = trained
    other = dataclasses.replace(run, backend=rk.backend(backend))
    np.testing.assert_allclose(rk.predict(other, series), rk.predict(run, series), rtol=1e-10)


def test_predict_walks_segments_apart_and_in_bounded_pieces(trained, monkeypatch):
    run, _, _ = trained
    values = season(500)
    series = rk.Sequence(values, segments=[(0, 100), (100, 130), (140, 500)])
    expected = np.full((500, 1), np.nan)
    for first, stop in ((0, 100), (100, 130), (140, 500)):
        expected[first:stop] = by_hand(run, series, first, stop)
    compiled = dataclasses.replace(run, backend=rk.backend("numba"))
    for rows in (4096, 37, 1):
        monkeypatch.setattr("rnnkit.train.passes.PASS_ROWS", rows)
        monkeypatch.setattr("rnnkit.train.passes.BLOCK_ROWS", rows)
        np.testing.assert_allclose(rk.predict(run, series), expected, rtol=1e-12)
        np.testing.assert_allclose(rk.predict(compiled, series), expected, rtol=1e-10)


@pytest.mark.parametrize("hole", [1, 2])
def test_rows_in_holes_are_left_out_and_pieces_that_only_warm_up_give_none(trained, monkeypatch, hole):
    run, _, _ = trained
    series = rk.Sequence(season(60), segments=[(0, 24), (24 + hole, 60)])
    _, _, part = series.split(20, 0)
    stops = [int(row) for row in part.runs[:, 2]]
    expected = np.full((60, 1), np.nan)
    for (start, first, _), stop in zip(part.runs, stops, strict=True):
        begin = max(int(start), int(first) - 9)
        expected[first:stop] = by_hand(run, series, begin, stop)[int(first) - begin :]
    for rows in (4096, 40, 4):
        monkeypatch.setattr("rnnkit.train.passes.PASS_ROWS", rows)
        np.testing.assert_allclose(rk.predict(run, part, warm=9), expected, rtol=1e-12)


def test_errors_are_the_same_bits_however_many_rows_are_computed_at_a_time(trained, monkeypatch):
    run, _, _ = trained
    compiled = dataclasses.replace(run, backend=rk.backend("numba"))
    series = rk.Sequence(season(9000), segments=[(0, 3000), (3010, 9000)])
    _, part, _ = series.split(0.2, 0.7)
    monkeypatch.setattr("rnnkit.train.passes.PASS_ROWS", 512)
    sizes = []
    real = compiled.backend.outputs

    class Watched:
        def __getattr__(self, name):
            return getattr(compiled.backend, name)

        def outputs(self, model, params, x, *rest):
            sizes.append(len(x))
            return real(model, params, x, *rest)

    found = set()
    for rows in (512, 2048, 65_536):
        monkeypatch.setattr("rnnkit.train.passes.BLOCK_ROWS", rows)
        told = rk.evaluate(dataclasses.replace(compiled, backend=Watched()), part, warm=700, period=DAY)
        found.add((told.loss, told.model, told.persistence, told.seasonal_naive))
        assert max(sizes) == min(rows, sum(sizes))
        sizes.clear()
    assert len(found) == 1


def test_evaluate_beside_persistence_and_seasonal_naive(trained):
    run, _series, (_, _, test) = trained
    values, predicted = season(), rk.predict(run, test)
    report = rk.evaluate(run, test, period=DAY)
    rows = np.arange(test.starts[0], test.starts[0] + len(test))
    target = values[rows + 1]
    for errors, guess in (
        (report.model, predicted[rows, 0]),
        (report.persistence, values[rows]),
        (report.seasonal_naive, values[rows + 1 - DAY]),
    ):
        assert errors.rows == len(test)
        assert errors.mae == pytest.approx(np.abs(guess - target).mean())
        assert errors.rmse == pytest.approx(np.sqrt(((guess - target) ** 2).mean()))
    assert report.model.mae < 0.8 * report.persistence.mae
    assert "MAE / persistence" in str(report)
    assert "share wrong" not in str(report)
    assert f"{report.model.mae / report.persistence.mae:.3f}" in str(report)
    scaled = (predicted[rows, 0] - target) / run.scaler.y_std[0]
    assert report.loss == pytest.approx((scaled**2).mean())


@pytest.mark.parametrize(("horizon", "period"), [(3, 24), (30, 24)])
def test_baselines_know_nothing_of_the_future(trained, horizon, period):
    run, _, _ = trained
    values = season(200)
    ahead = dataclasses.replace(run, horizon=horizon)
    report = rk.evaluate(ahead, rk.Sequence(values, horizon=horizon), period=period)
    rows = np.arange(200 - horizon)
    assert report.persistence.mae == pytest.approx(np.abs(values[rows] - values[rows + horizon]).mean())
    lag = period * int(np.ceil(horizon / period))
    rows = rows[rows + horizon - lag >= 0]
    assert report.seasonal_naive.rows == len(rows)
    assert report.seasonal_naive.mae == pytest.approx(
        np.abs(values[rows + horizon - lag] - values[rows + horizon]).mean()
    )


def test_labels_are_scored_by_the_share_that_is_wrong():
    labels = np.array([0, 1, 1, 0, 1] * 8)
    series = rk.Sequence(season(40), labels)
    model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 2))
    run = rk.fit(
        model, rk.Schedule(series, rk.Chunked(10), rk.Reset()), backend="numpy", loss="cross_entropy", epochs=1
    )
    report = rk.evaluate(run, series)
    assert report.model.mae == pytest.approx((rk.predict(run, series).argmax(-1) != labels).mean())
    assert report.persistence is None  # the label of the row before was not known
    assert report.mean.mae == pytest.approx((labels != 1).mean())
    assert np.isnan(report.model.rmse)
    ratio = report.model.mae / report.mean.mae
    head, *lines = str(report).splitlines()
    assert [name.strip() for name in head.split("  ") if name.strip()] == [
        "share wrong", "share wrong / most frequent class", "rows",
    ]  # fmt: skip
    assert lines[0].split() == ["model", f"{report.model.mae:.5g}", f"{ratio:.3f}", "40"]
    assert "nan" not in str(report)
    alone = str(dataclasses.replace(report, mean=None))
    assert alone.splitlines()[0].split() == ["share", "wrong", "rows"]


@pytest.mark.parametrize("horizon", [1, 3])
def test_forecast_feeds_predictions_back(trained, horizon):
    run = dataclasses.replace(trained[0], horizon=horizon)
    values = season(120)
    ahead = rk.forecast(run, rk.Sequence(values, horizon=horizon), 7, warm=1000)
    known = list(values)
    for _ in range(7):
        grown = rk.Sequence(np.array([*known, *[0.0] * horizon]), horizon=horizon)
        known.append(by_hand(run, grown, 0, len(known) - horizon + 1)[-1, 0])
    np.testing.assert_allclose(ahead[:, 0], known[120:], rtol=1e-10)


def test_a_forecast_reads_as_many_rows_as_it_goes_ahead_and_may_be_shorter(trained):
    run, series = dataclasses.replace(trained[0], horizon=3), rk.Sequence(season(120), horizon=3)
    expected = rk.forecast(run, series, 7, warm=3)
    schedule = rk.Schedule(series, rk.Chunked(24), rk.Reset())
    assert rk.fit(MODEL, schedule, backend="numpy", epochs=1).horizon == 3
    for warm in (0, 2):
        np.testing.assert_array_equal(rk.forecast(run, series, 7, warm=warm), expected)
    for steps in (1, 2, 3, 4):
        np.testing.assert_array_equal(rk.forecast(run, series, steps, warm=3), expected[:steps])
    assert len(np.unique(expected)) == 7


def test_forecast_needs_a_model_of_its_own_inputs(trained):
    run, _, _ = trained
    schedule = rk.Schedule(rk.Sequence(season(50), season(50)), rk.Chunked(9), rk.Reset())
    now = rk.fit(MODEL, schedule, backend="numpy", epochs=1)
    with pytest.raises(rk.ModelError, match=r"one row ahead, but the targets of .* are others in its"):
        rk.forecast(now, rk.Sequence(season(50), horizon=0), 3)
    with pytest.raises(rk.ModelError, match=r"predicts all 1 input column at least one row ahead, but .* given apart"):
        rk.forecast(run, rk.Sequence(season(50), season(50), horizon=1), 3)
    with pytest.raises(rk.DataError, match="steps to be a whole number >= 1, got 0; write steps=1"):
        rk.forecast(run, rk.Sequence(season(50)), 0)


def test_stream_predicts_row_by_row_what_predict_predicts(trained):
    run, series, _ = trained
    expected = rk.predict(run, series, warm=0)
    stream = rk.Stream(run)
    rows = [stream.step([[value]])[0] for value in season()[:50]]
    np.testing.assert_allclose(rows, expected[:50], rtol=1e-12)
    stream.reset()
    np.testing.assert_allclose(stream.step([[season()[0]]])[0], expected[0], rtol=1e-12)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_stream_reads_rows_of_any_kind(backend, dtype, scaled):
    model = rk.Chain(rk.LSTM(2, 5), rk.Dense(5, 2))
    series = rk.Sequence(np.random.default_rng(0).normal(size=(60, 2)), target=[0, 1])
    series = series.with_scaler(rk.Standard.fit(series)) if scaled else series
    run = rk.fit(model, rk.Schedule(series, rk.Continuation(8), rk.Carry()), backend=backend, dtype=dtype, epochs=1)
    row = np.array([[0.25, -1.5], [3.0, 0.0], [-0.75, 2.0]])  # numbers that every dtype below has
    stream = rk.Stream(run, lanes=3)
    first, second = stream.step(row), stream.step(row)
    assert first.dtype == np.float64
    assert not np.array_equal(first, second)  # and it is no view of what the stream writes into
    wide = np.zeros((3, 4))
    wide[:, ::2] = row
    read_only = row.copy()
    read_only.flags.writeable = False
    kinds = [row.astype(kind) for kind in ("f2", "f4", "f8", ">f8", "longdouble")]
    for other in (*kinds, row.tolist(), np.asfortranarray(row), wide[:, ::2], read_only, np.ma.array(row)):
        stream.reset()
        np.testing.assert_array_equal(stream.step(other), first, strict=True)
        np.testing.assert_array_equal(stream.step(other), second, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_stream_refuses_what_is_no_finite_row(trained, dtype):
    run = dataclasses.replace(trained[0], backend=rk.backend("numba"))
    for lanes in (1, 3):
        stream, untouched = rk.Stream(run, lanes=lanes), rk.Stream(run, lanes=lanes)
        good = np.full((lanes, 1), 51.0, dtype)
        for wrong, named in ((np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")):
            bad = good.copy()
            bad[-1] = wrong
            with (
                np.errstate(all="ignore"),
                pytest.raises(rk.DataError, match=rf"expects finite numbers, got .*\[{named}\]\]; the state would"),
            ):
                stream.step(bad)
        for shape in ((lanes, 2), (lanes + 1, 1), (lanes,), (1, lanes, 1), ()):
            got = re.escape(str(shape))
            with pytest.raises(rk.ModelError, match=rf"row of shape \({lanes}, 1\) \(lanes, features\), got {got}"):
                stream.step(np.ones(shape, dtype))
        assert np.array_equal(stream.step(good), untouched.step(good))


def test_a_stream_refuses_masked_numbers(trained):
    stream = rk.Stream(trained[0])
    with pytest.raises(rk.DataError, match=r"Stream.step expects no masked number, got \[\[--\]\]; fill it in"):
        stream.step(np.ma.masked_array([[51.0]], mask=True))


def test_wide_rows_are_handed_over_fewer_at_a_time(monkeypatch):
    sizes = []
    engine = rk.backend("numba")
    real = engine.outputs

    class Watched:
        def __getattr__(self, name):
            return getattr(engine, name)

        def outputs(self, model, params, x, *rest):
            sizes.append(len(x))
            return real(model, params, x, *rest)

    monkeypatch.setattr("rnnkit.train.passes.PASS_ROWS", 8)
    monkeypatch.setattr("rnnkit.train.passes.BLOCK_ROWS", 64)
    series = rk.Sequence(np.random.default_rng(0).normal(size=(100, 3)), target=[0, 1, 2])
    schedule = rk.Schedule(series, rk.Continuation(length=8), rk.Carry())
    run = rk.fit(rk.Chain(rk.LSTM(3, 2), rk.Dense(2, 3)), schedule, backend="numba", epochs=1)
    rk.predict(dataclasses.replace(run, backend=Watched()), series)
    assert set(sizes[:-1]) == {16}


def test_a_number_beyond_float32_is_warned_of():
    series = rk.Sequence(np.sin(np.arange(60) / 5))
    run = rk.fit(MODEL, rk.Schedule(series, rk.Continuation(20), rk.Carry()), backend="numba", epochs=1)
    with pytest.warns(RuntimeWarning, match="overflow encountered in cast"):
        rk.Stream(run).step([[1e300]])


def test_stream_does_not_grow(trained):
    run, _, _ = trained
    stream = rk.Stream(dataclasses.replace(run, backend=rk.backend("numba")), lanes=2)
    row, held = np.ones((2, 1)), []
    tracemalloc.start()
    for _ in range(4):
        for _ in range(500):
            stream.step(row)
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert max(b - a for a, b in pairwise(held[1:])) < 5_000, held


def test_stream_says_what_it_wants(trained):
    run, _, _ = trained
    with pytest.raises(rk.ModelError, match=r"row of shape \(1, 1\) \(lanes, features\), got \(1,\)"):
        rk.Stream(run).step([1.0])
    with pytest.raises(rk.ModelError, match=r"expects a row as an array of numbers, got list: .*'a'"):
        rk.Stream(run).step([["a"]])
    with pytest.raises(rk.ModelError, match="at least one lane, a whole number, got lanes=0"):
        rk.Stream(run, lanes=0)


def test_a_missing_value_does_not_spoil_a_stream(trained):
    run, _, _ = trained
    stream, untouched = rk.Stream(run), rk.Stream(run)
    for value in (50.0, 51.0):
        stream.step([[value]])
        untouched.step([[value]])
    with pytest.raises(rk.DataError, match=r"expects finite numbers, got \[\[nan\]\].*fill the value in, or reset"):
        stream.step([[np.nan]])
    assert np.array_equal(stream.step([[52.0]]), untouched.step([[52.0]]))


def test_large_numbers_keep_their_digits(trained):
    run, _, _ = trained
    values = 1e8 + season(100)
    series = rk.Sequence(values)
    shifted = dataclasses.replace(
        run,
        params={key: p.astype(np.float32) for key, p in run.params.items()},
        scaler=rk.Standard.fit(series),
    )
    predicted = rk.predict(shifted, series)
    assert rk.evaluate(shifted, series).model.mae == pytest.approx(
        np.abs(predicted[:-1, 0] - values[1:]).mean(), rel=1e-6
    )
    stream = rk.Stream(shifted)
    np.testing.assert_allclose([stream.step([[v]])[0, 0] for v in values[:20]], predicted[:20, 0], rtol=1e-12)


def test_warm_is_no_negative_number(trained):
    run, series, _ = trained
    with pytest.raises(rk.DataError, match=r"warm to be a whole number >= 0, got -20; write warm=0"):
        rk.predict(run, series, warm=-20)


def test_predict_wants_a_run_and_a_sequence(trained):
    run, series, _ = trained
    with pytest.raises(
        rk.ModelError, match=r"predict expects a Run and a Sequence, got Run and ndarray; .*rk.Sequence\(values"
    ):
        rk.predict(run, season(50))
    with pytest.raises(rk.ModelError, match="got Chain and Sequence"):
        rk.evaluate(MODEL, series)
    with pytest.raises(rk.DataError, match=r"Standard.fit expects a Sequence, got ndarray"):
        rk.Standard.fit(season(50))


def test_a_prediction_asks_for_no_target(trained):
    run, _, _ = trained
    expected = rk.predict(run, rk.Sequence(season(50), horizon=0))
    for targets in (np.zeros(50), np.zeros(50, int), np.zeros((50, 2))):
        np.testing.assert_array_equal(rk.predict(run, rk.Sequence(season(50), targets)), expected)


def test_predict_refuses_a_series_that_does_not_fit(trained):
    run, _, _ = trained
    with pytest.raises(rk.ModelError, match="expects 1 feature, but 'pair' has 2; open it with the columns"):
        rk.predict(run, rk.Sequence(np.zeros((9, 2)), np.zeros(9), name="pair"))
    with pytest.raises(rk.DataError, match="period to be a whole number >= 1, got 0; write period=1"):
        rk.evaluate(run, rk.Sequence(season(50)), period=0)


def test_a_run_knows_its_horizon_and_columns(trained, tmp_path):
    run, _, _ = trained
    with pytest.raises(rk.ModelError, match=r"predict 1 row ahead, but 'series' has horizon=3; open it with horizon=1"):
        rk.evaluate(run, rk.Sequence(season(50), horizon=3))
    with pytest.raises(rk.ModelError, match="trained to predict 1 row ahead"):
        rk.forecast(run, rk.Sequence(season(50), horizon=3), 2)
    rows = "\n".join(f"{a},{b}" for a, b in zip(season(60), season(60, 1), strict=True))
    (tmp_path / "pair.csv").write_text(f"heat,wind\n{rows}\n")
    opened = {
        names: rk.Sequence.open(tmp_path / "pair.csv", features=list(names), target="heat")
        for names in (("heat", "wind"), ("wind", "heat"))
    }
    series = opened["heat", "wind"]
    model = rk.Chain(rk.LSTM(2, 3), rk.Dense(3, 1))
    pair = rk.fit(model, rk.Schedule(series, rk.Chunked(8), rk.Carry()), backend="numpy", epochs=1)
    again = rk.load(pair.save(tmp_path / "run"))
    assert (again.horizon, again.features, again.targets) == (1, ("heat", "wind"), ("heat",))
    assert np.isfinite(rk.predict(again, series)).all()
    with pytest.raises(
        rk.ModelError, match="trained on the features heat, wind, but 'pair' has them in another order \\(wind, heat\\)"
    ):
        rk.predict(again, opened["wind", "heat"])
    unnamed = rk.Sequence(series.read_x(0, 60), target=0)
    assert np.array_equal(rk.predict(again, unnamed), rk.predict(again, series))


def test_a_run_is_not_saved_over_another_unasked(trained, tmp_path):
    run, _, _ = trained
    run.save(tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(rk.SourceError, match=r"found a run in .*; name another folder, or say overwrite=True"):
        dataclasses.replace(run, epoch=0).save(tmp_path)
    assert (tmp_path / "run.json").read_bytes() == before
    dataclasses.replace(run, epoch=0).save(tmp_path, overwrite=True)
    assert rk.load(tmp_path).epoch == 0
    (tmp_path / "file").write_text("")
    with pytest.raises(rk.SourceError, match="expects a folder that can be made"):
        run.save(tmp_path / "file" / "run")


def test_a_saved_run_comes_back_whole(trained, tmp_path):
    run, series, _ = trained
    again = rk.load(run.save(tmp_path / "run"))
    assert (again.model, again.loss, again.scaler, again.epoch) == (
        run.model,
        run.loss,
        run.scaler,
        run.epoch,
    )
    assert again.history == run.history
    assert again.rule_state.step == run.rule_state.step
    for got, expected in (
        (again.params, run.params),
        (again.rule_state.slots["m"], run.rule_state.slots["m"]),
    ):
        assert all(np.array_equal(got[key], expected[key]) for key in expected)
    assert np.array_equal(again.state[0].c, run.state[0].c)
    assert again.state[1] == ()
    assert np.array_equal(rk.predict(again, series), rk.predict(run, series))
    assert rk.load(tmp_path / "run", "torch").backend.name == "torch"
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "params.safetensors",
        "run.json",
        "state.safetensors",
    ]


def test_parameters_that_are_not_contiguous_are_saved_right(trained, tmp_path):
    run, _, _ = trained
    turned = {key: np.asfortranarray(p) for key, p in run.params.items()}
    again = rk.load(dataclasses.replace(run, params=turned).save(tmp_path))
    assert all(np.array_equal(again.params[key], run.params[key]) for key in run.params)


def test_a_folder_that_is_no_run(trained, tmp_path):
    run, _, _ = trained
    with pytest.raises(rk.SourceError, match=r"has no run.json and no params.safetensors and no state.safetensors"):
        rk.load(tmp_path)
    run.save(tmp_path)
    (tmp_path / "params.safetensors").write_bytes(b"short")
    with pytest.raises(rk.SourceError, match=r"cannot read the run .* the files are damaged"):
        rk.load(tmp_path)
    run.save(tmp_path, overwrite=True)
    for text in (json.dumps({})[:-1], "{}", "[]", "3"):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(rk.SourceError, match="cannot read the run"):
            rk.load(tmp_path)


def test_a_forecast_of_some_columns_names_them():
    frame = pl.DataFrame({name: np.sin(np.arange(60) / n) for n, name in enumerate(("load", "wind", "sun"), 2)})
    for series, told in (
        (rk.Sequence(frame, target=["sun", "load"], horizon=2), "its columns sun, load, 2 rows ahead"),
        (rk.Sequence(frame.to_numpy(), target=1, horizon=1), "its columns 1, 1 row ahead"),
    ):
        model = rk.Chain(rk.LSTM(3, 2), rk.Dense(2, series.outputs))
        run = rk.fit(model, rk.Schedule(series, rk.Continuation(length=16), rk.Carry()), backend="numpy", epochs=1)
        with pytest.raises(rk.ModelError, match=f"the targets of 'series' are {told}; train with every feature as"):
            rk.forecast(run, series, 3)
