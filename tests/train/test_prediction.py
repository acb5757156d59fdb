"""What `predict` and `forecast` return: an array to whoever wants one, and what each number is a prediction of."""

import copy
import dataclasses
import pickle
import warnings

import numpy as np
import pytest

import rnnkit as rk
from builders.series import wave
from rnnkit.data.later import later_times


def fitted(series, outputs=1, **options):
    model = rk.Chain(rk.LSTM(series.features, 3), rk.Dense(3, outputs))
    schedule = rk.Schedule(series, rk.Chunked(20), rk.Reset())
    return rk.fit(model, schedule, backend="numpy", epochs=1, **options)


@pytest.fixture(scope="module")
def run():
    return fitted(rk.Sequence(wave()))


@pytest.fixture(scope="module")
def predicted(run):
    series = rk.Sequence(wave(), time=np.datetime64("2024-01-01T00", "h") + np.arange(60))
    return rk.predict(run, series.split(0.5, 0.0)[2])


def table(tmp_path, names="abc", rows=20, hole=(), horizon=1):
    """A long table of several series, in hours, with missing values of series b at the end."""
    lines = ["time,store,sales"]
    for name in names:
        for row in range(rows):
            value = "" if (name, row) in hole else f"{wave(rows, ord(name))[row]:.6f}"
            lines.append(f"2024-01-01T{row:02d}:00:00,{name},{value}")
    (tmp_path / "sales.csv").write_text("\n".join(lines) + "\n")
    return rk.Sequence.open(
        tmp_path / "sales.csv", time="time", target="sales", series_id="store", missing="cut", horizon=horizon
    )


def test_a_prediction_goes_where_an_array_goes(predicted):
    array = np.asarray(predicted)
    assert type(array) is np.ndarray
    known = ~np.isnan(array[:, 0])
    assert known.any()
    assert not known.all()
    assert (predicted.shape, predicted.dtype, predicted.ndim, predicted.size, len(predicted)) == (
        (60, 1), np.dtype("float64"), 2, 60, 60,
    )  # fmt: skip
    same = np.testing.assert_array_equal
    for got, expected in (
        (predicted[known], array[known]),
        (predicted[:, 0], array[:, 0]),
        (predicted[[-1, -2]].argmax(0), array[[-1, -2]].argmax(0)),
        (predicted[~np.isnan(predicted)], array[~np.isnan(array)]),
        (np.isnan(predicted), np.isnan(array)),
        (predicted - 1, array - 1),
        (1 - predicted, 1 - array),
        (predicted - predicted, array - array),
        (array - predicted, array - array),
        (-predicted, -array),
        (predicted**2 < 0.5, array**2 < 0.5),
        (predicted == array, array == array),
        (np.exp(predicted), np.exp(array)),
        (np.add.reduce(predicted), np.add.reduce(array)),
        (np.nanmean(predicted), np.nanmean(array)),
        (np.concatenate([predicted, array]), np.concatenate([array, array])),
        (np.where(known[:, None], predicted, 0), np.where(known[:, None], array, 0)),
        (predicted.reshape(-1), array.reshape(-1)),
        (predicted.T, array.T),
        (predicted.astype("float32"), array.astype("float32")),
        (np.asarray(predicted, "float32"), array.astype("float32")),
        (np.array(list(predicted)), array),
        (predicted.tolist()[-1], array.tolist()[-1]),
        (np.abs(predicted, out=np.empty((60, 1))), np.abs(array)),
        (predicted @ np.ones((1, 2)), array @ np.ones((1, 2))),
    ):
        assert type(got) is type(expected) or isinstance(expected, list)
        same(got, expected)
    assert array[-1, 0] in predicted
    with pytest.raises(ValueError, match="truth value"):
        bool(predicted)


def test_a_copy_is_one_and_what_is_not_copied_is_no_other(predicted):
    assert np.shares_memory(np.asarray(predicted), predicted.values)
    copied = np.array(predicted)
    assert not np.shares_memory(copied, predicted.values)
    assert not np.shares_memory(predicted.__array__(copy=True), predicted.values)
    for dtype in (None, "float64"):
        assert np.shares_memory(predicted.__array__(dtype, copy=False), predicted.values)
    with pytest.raises(ValueError, match="cannot be had as float32 without a copy"):
        predicted.__array__("float32", copy=False)


def test_places_are_along_the_rows_wherever_they_stand(predicted):
    turned = dataclasses.replace(predicted, values=predicted.values.T, axes=("targets", "rows"))
    chosen = turned.at(np.array([45, 40]))
    np.testing.assert_array_equal(chosen, predicted.values.T[:, [45, 40]])
    assert (chosen.rows.tolist(), chosen.is_future.tolist()) == ([46, 41], [False, False])
    assert chosen.times.tolist() == predicted.times[[45, 40]].tolist()
    assert "of no row; 0 in the future" in repr(turned.at(np.arange(0)))


def test_a_prediction_is_frozen(predicted):
    with pytest.raises(dataclasses.FrozenInstanceError):
        predicted.values = np.zeros(3)
    with pytest.raises(TypeError, match="item assignment"):
        predicted[0] = 1.0
    before, grown = predicted.copy(), predicted
    grown += 1
    assert type(grown) is np.ndarray
    np.testing.assert_array_equal(predicted, before)
    with pytest.raises(TypeError, match="NotImplemented"):
        np.add(1, 2, out=predicted)


def test_a_prediction_can_be_sent_and_copied(predicted):
    for again in (pickle.loads(pickle.dumps(predicted)), copy.copy(predicted), copy.deepcopy(predicted)):
        np.testing.assert_array_equal(again, predicted)
        assert again.axes == predicted.axes
        assert np.array_equal(again.rows, predicted.rows)
    with pytest.raises(AttributeError, match=r"Prediction has values, axes, rows, .*what an array has; got 'tiems'"):
        _ = predicted.tiems


def test_a_prediction_says_what_it_is_of(predicted):
    assert predicted.axes == ("rows", "targets")
    assert np.array_equal(predicted.rows, np.arange(60) + 1)
    assert predicted.is_future.tolist() == [False] * 59 + [True]
    assert str(predicted.times[-1]) == "2024-01-03T12"  # an hour behind the last row, which is at 11
    assert np.array_equal(predicted.times[30:-1], np.datetime64("2024-01-02T07", "h") + np.arange(29))
    assert np.isnat(predicted.times[:30]).all()
    assert (predicted.series, predicted.ends, predicted.zone) == (None, None, None)
    told = "rows 60, targets 1; of rows 1 to 60 (2024-01-03T12:00:00); 1 in the future"
    assert repr(predicted).startswith(f"Prediction({told})\n[[")


def test_the_future_of_a_part_is_what_the_data_do_not_know(run):
    series = rk.Sequence(wave(), horizon=3)
    run = dataclasses.replace(run, horizon=3)
    train, validation, test = series.split(0.5, 0.25)
    assert not rk.predict(run, train).is_future.any()
    assert not rk.predict(run, validation).is_future.any()
    for part in (test, series):
        assert np.flatnonzero(rk.predict(run, part).is_future).tolist() == [57, 58, 59]
    known = rk.Sequence(wave(), segments=[(0, 20), (20, 50)])  # the rows behind are known, if not used
    assert not rk.predict(dataclasses.replace(run, horizon=1), known).is_future.any()


def test_rows_whose_newest_values_are_missing_are_the_future(run):
    values = wave()
    values[[30, 58, 59]] = np.nan
    found = rk.predict(run, rk.Sequence(values, missing="cut"))
    assert np.flatnonzero(found.is_future).tolist() == [57]
    assert found.rows[57] == 58
    values[59] = 0.0  # known again: the row before it is a hole, and no future
    found = rk.predict(run, rk.Sequence(values, missing="cut", short="drop"))
    assert not found.is_future.any()


def test_without_targets_the_future_begins_behind_the_last_row_that_is_known(run):
    values = wave()
    values[[30, 58, 59]] = np.nan
    series = rk.Sequence(values, horizon=0, missing="cut")
    assert series.outputs == 0
    assert np.flatnonzero(rk.predict(run, series).is_future).tolist() == [57]
    with pytest.warns(rk.RnnkitWarning, match="forecast goes on after row 57 .*the 2 rows after it have some"):
        assert rk.forecast(run, series, 2).rows.tolist() == [58, 59]
    train, _, test = rk.Sequence(wave(), horizon=0).split(0.5, 0.0)
    assert not rk.predict(run, train).is_future.any()
    assert np.flatnonzero(rk.predict(run, test).is_future).tolist() == [59]


def test_every_series_of_a_table_has_its_future(run, tmp_path):
    series = table(tmp_path, hole=[("b", 18), ("b", 19)])
    run = dataclasses.replace(run, features=("sales",), targets=("sales",))
    found = rk.predict(run, series)
    assert np.flatnonzero(found.is_future).tolist() == [19, 37, 59]
    assert found.series[[0, 19, 20, 39, 40]].tolist() == ["a", "a", "b", "b", "c"]
    assert found.times[[19, 37, 59]].astype(str).tolist() == [
        "2024-01-01T20:00:00.000000", "2024-01-01T18:00:00.000000", "2024-01-01T20:00:00.000000",
    ]  # fmt: skip


def test_samples_are_one_row_each(tmp_path):
    lines = ["sample,x,y"]
    for name, rows in (("slow", 4), ("fast", 7), ("odd", 5)):
        lines += [f"{name},{value:.5f},{rows % 2}" for value in wave(rows, rows)]
    (tmp_path / "samples.csv").write_text("\n".join(lines) + "\n")
    series = rk.Sequence.open(
        tmp_path / "samples.csv", features=["x"], target="y", horizon=0, series_id="sample", score="last"
    )
    run = fitted(series, outputs=2, loss="cross_entropy") if series.labels else fitted(series)
    found = rk.predict(run, series)
    ends = [segment.stop - 1 for segment in series.segments]
    assert found.ends.tolist() == ends == [3, 10, 15]
    told = found.by_sample()
    np.testing.assert_array_equal(told, found[ends])
    assert told.series.tolist() == ["slow", "fast", "odd"]
    assert told.rows.tolist() == ends
    assert not told.is_future.any()
    with pytest.raises(rk.DataError, match="by_sample expects a prediction of a sequence with score='last'"):
        told.by_sample()


def test_a_sample_ends_where_its_last_target_is_known(run):
    series = rk.Sequence(wave(), segments=[(0, 20), (20, 60)], horizon=3, score="last")
    found = rk.predict(dataclasses.replace(run, horizon=3), series)
    assert found.ends.tolist() == [16, 56]
    assert found.by_sample().rows.tolist() == [19, 59]


def test_samples_of_a_panel_are_numbered_in_the_whole():
    panel = rk.Sequence.panel([wave(rows) for rows in (4, 7, 5, 6, 9)], [0.0, 1.0, 2.0, 3.0, 4.0])
    train, _, test = panel.split(0.5, 0.0)
    run = fitted(train)
    told = [rk.predict(run, part).by_sample() for part in (panel, train, test)]
    assert [part.series.tolist() for part in told] == [[0, 1, 2, 3, 4], [0, 1, 2], [3, 4]]
    assert told[2].rows.tolist() == [21, 30]
    np.testing.assert_allclose(told[0][3:], told[2], rtol=1e-6)


def test_classes_are_levels():
    labels = np.array([0, 1, 2, 0, 1] * 8)
    series = rk.Sequence(wave(40), labels)
    found = rk.predict(fitted(series, outputs=3, loss="cross_entropy"), series)
    assert found.axes == ("rows", "levels")
    assert found[[0, 5]].argmax(1).shape == (2,)
    assert np.array_equal(found.rows, np.arange(40))
    assert not found.is_future.any()


@pytest.mark.parametrize("targets", [((-1.5,), (4.0,)), ((0.3,), (4.0,)), ((-1.5,), (0.5,)), ((), ())])
def test_what_is_fed_back_is_scaled_as_inputs_are(targets):
    """As for a bounded last layer, whose targets have a scaling of their own; none at all is one, too."""
    series = rk.Sequence(wave())
    own = rk.fit(
        rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1)),
        rk.Schedule(series.with_scaler(rk.Standard((0.3,), (0.5,), *targets)), rk.Chunked(20), rk.Reset()),
        backend="numpy",
        epochs=2,
    )
    stream, expected = rk.Stream(own), []
    for value in wave():
        row = stream.step([[value]])
    for _ in range(5):
        expected.append(row[0])
        row = stream.step(row)
    np.testing.assert_allclose(rk.forecast(own, series, 5), expected, rtol=1e-5)


def test_a_forecast_says_where_it_starts_and_when(run):
    series = rk.Sequence(wave(), time=np.datetime64("2024-01-01T00", "h") + np.arange(60))
    ahead = rk.forecast(run, series, 3)
    assert isinstance(ahead, rk.Forecast)
    assert ahead.rows.tolist() == [60, 61, 62]
    assert ahead.times.astype(str).tolist() == ["2024-01-03T12", "2024-01-03T13", "2024-01-03T14"]
    assert ahead.is_future.all()
    assert ahead.axes == ("rows", "targets")
    assert ahead.series is None
    np.testing.assert_allclose(ahead[0], rk.predict(run, series)[-1], rtol=1e-6)


def test_the_times_of_a_forecast_go_on_by_the_steps_of_its_own_segment(run):
    hours, minutes = (np.arange(rows) * np.timedelta64(step, "m") for rows, step in ((40, 60), (20, 15)))
    times = np.datetime64("2024-01-01T00:00") + np.concatenate((hours, minutes + np.timedelta64(100, "h")))
    ahead = rk.forecast(run, rk.Sequence(wave(), time=times, gap="2h"), 2)
    assert (ahead.times - times[-1]).astype(int).tolist() == [15, 30]


def test_a_forecast_that_does_not_start_at_the_end_says_so(run):
    values = wave()
    values[[58, 59]] = np.nan
    times = np.datetime64("2024-01-01T00", "h") + np.arange(60)
    series = rk.Sequence(values, time=times, missing="cut", name="heat")
    told = r"goes on after row 57 \(2024-01-03T09:00:00\) of 'heat', .* as the 2 rows after it have some; fill them in"
    with pytest.warns(rk.RnnkitWarning, match=told):
        ahead = rk.forecast(run, series, 2)
    assert ahead.rows.tolist() == [58, 59]
    assert ahead.times.tolist() == times[58:].tolist()
    left_out = rk.forecast(run, rk.Sequence(values[:58], time=times[:58]), 2)  # as the warning says: no warning
    np.testing.assert_array_equal(left_out, ahead)
    values[[58, 59]] = 0.5
    assert rk.forecast(run, rk.Sequence(values, time=times), 2).rows.tolist() == [60, 61]
    assert rk.forecast(run, rk.Sequence(values).split(0.5, 0.0)[0], 2).rows.tolist() == [30, 31]  # a part: no warning


def test_a_forecast_of_one_of_several_series(run, tmp_path):
    series = table(tmp_path, hole=[("a", 19)])
    run = dataclasses.replace(run, features=("sales",), targets=("sales",))
    with pytest.warns(rk.RnnkitWarning, match=r"from 'c', the last of the 3 series in 'sales'; choose .*only='a'"):
        last = rk.forecast(run, series, 2)
    assert last.series.tolist() == ["c", "c"]
    assert last.rows.tolist() == [60, 61]
    second = rk.forecast(run, series, 2, only="b")
    assert (second.series.tolist(), second.rows.tolist()) == (["b", "b"], [40, 41])
    alone = rk.Sequence.open(tmp_path / "sales.csv", time="time", target="sales", series_id="store", only="b")
    np.testing.assert_array_equal(rk.forecast(run, alone, 2), second)
    cut = rk.forecast(run, table(tmp_path, hole=[("b", 9)]), 2, only="b")
    assert cut.rows.tolist() == [40, 41]  # after the last of its segments
    with pytest.warns(rk.RnnkitWarning, match="goes on after row 18 .* the row after it has some"):
        first = rk.forecast(run, series, 1, only="a")
    assert first.times.astype(str).tolist() == ["2024-01-01T19:00:00.000000"]
    with pytest.raises(rk.DataError, match=r"one of the series of 'sales', a, b, c; got only='A'"):
        rk.forecast(run, series, 2, only="A")
    with pytest.raises(rk.DataError, match="takes only= to choose one of several series, but 'series' is one"):
        rk.forecast(run, rk.Sequence(wave()), 2, only="a")


@pytest.mark.parametrize(
    ("known", "later"),
    [
        (["2024-01-01T00:00", "2024-01-01T01:00", "2024-01-01T03:00", "2024-01-01T04:00"], ["2024-01-01T05:00"] * 1),
        (["2023-11-01", "2023-12-01", "2024-01-01", "2024-02-01"], ["2024-03-01", "2024-04-01"]),
        (["2023-10-31", "2023-11-30", "2023-12-31"], ["2024-01-31", "2024-02-29", "2024-03-31"]),
        (["2023-03-31", "2023-06-30", "2023-09-30"], ["2023-12-31", "2024-03-31"]),
        (["2020-02-01", "2021-02-01", "2022-02-01"], ["2023-02-01"]),
        (["2024-02-28", "2024-02-29"], ["2024-03-01"]),
        (["2024-01", "2024-02", "2024-03"], ["2024-04"]),
        ([1, 3, 5, 8], [10, 12]),
        ([0.5, 1.0, 1.5], [2.0, 2.5]),
    ],
)
def test_times_go_on_by_their_most_frequent_step(known, later):
    kind = "datetime64" if isinstance(known[0], str) else None
    found = later_times(np.array(known, kind), len(later))
    assert found.tolist() == np.array(later, kind).tolist()
    assert found.dtype == np.array(known, kind).dtype


def test_a_single_time_has_no_next():
    assert np.isnat(later_times(np.array(["2024-01-01"], "datetime64[s]"), 2)).all()
    assert np.isnan(later_times(np.array([1.5]), 2)).all()


def test_predictions_without_a_warning(run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rk.forecast(run, rk.Sequence(wave()), 2)
        rk.predict(run, rk.Sequence(wave()))


def test_no_way_in_writes_into_a_prediction(predicted):
    before = predicted.values.copy()
    copies = pickle.loads(pickle.dumps(predicted)), copy.deepcopy(predicted), predicted.at(np.arange(3))
    for again in (predicted, *copies):
        ways = {
            "nan_to_num": lambda p: np.nan_to_num(p, copy=False),
            "asarray": lambda p: np.asarray(p).fill(0),
            "array": lambda p: np.array(p, copy=False).fill(0),
            "values": lambda p: p.values.fill(0),
            "slice": lambda p: p[1:].fill(0),
            "row": lambda p: next(iter(p)).fill(0),
            "reshaped": lambda p: p.reshape(-1).fill(0),
            "method": lambda p: p.fill(0),
            "place": lambda p: np.put(p.values, 0, 1.0),
            "rows": lambda p: p.rows.fill(0),
            "future": lambda p: p.is_future.fill(True),
        }
        for way in ways.values():
            with pytest.raises(ValueError, match="read-only"):
                way(again)
    np.testing.assert_array_equal(predicted.values, before)
    free = predicted.copy()
    free[0] = 7
    assert np.array(predicted).flags.writeable
    assert predicted.values[0] != 7


@pytest.mark.parametrize(("ids", "only"), [((0.0, 1.0), 0), ((0, 1), 0.0), (("0.0", "1.0"), 0), (("00", "01"), 0.0)])
def test_a_number_names_the_series_whose_id_is_that_number(tmp_path, ids, only):
    path = tmp_path / "a.csv"
    path.write_text("id,a\n" + "".join(f"{ids[row // 30]},{np.sin(row)}\n" for row in range(60)))
    series = rk.Sequence.open(path, series_id="id", target="a")
    chosen = rk.Sequence.open(path, series_id="id", target="a", only=only)
    assert chosen.series_ids == (str(ids[0]),)
    run = rk.fit(
        rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1)),
        rk.Schedule(series, rk.Continuation(16), rk.Carry()),
        backend="numpy",
        epochs=1,
    )
    assert rk.forecast(run, series, 2, only=only).rows[0] == 30
    with pytest.raises(rk.DataError, match="only=7"):
        rk.forecast(run, series, 2, only=7)
    with pytest.raises(rk.DataError, match="no series 'True'"):
        rk.Sequence.open(path, series_id="id", target="a", only=True)
