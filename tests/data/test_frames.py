"""Data frames: names and index are used, at making a sequence and at whatever reads one with a run."""

import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import rnnkit as rk
from rnnkit.errors import DataError, ModelError, RnnkitWarning

LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}


@pytest.fixture
def hourly():
    index = pd.date_range("2022-10-29", periods=60, freq="h")
    return pd.DataFrame({"load": np.arange(60.0), "heat": np.arange(60) * 2}, index=index)


def columns(**more):
    times = np.datetime64("2022-10-29", "us") + np.arange(30).astype("timedelta64[h]")
    return {"when": times, "load": np.arange(30.0), "heat": np.arange(30) * 2, **more}


@pytest.fixture(scope="module")
def trained():
    frame = pd.DataFrame({"load": np.arange(40.0), "heat": np.arange(40.0) % 5})
    series = rk.Sequence(frame, target=["load", "heat"], name="old")
    model = rk.Chain(rk.LSTM(2, 3), rk.Dense(3, 2))
    return rk.fit(model, rk.Schedule(series, rk.Chunked(8), rk.Carry()), backend="numpy", epochs=1)


@pytest.mark.parametrize("library", LIBRARIES)
def test_names_and_times_of_a_frame_are_used(library):
    frame = LIBRARIES[library](columns())
    series = rk.Sequence(frame, target="heat", time="when")
    assert (series.feature_names, series.target_names) == (("load", "heat"), ("heat",))
    np.testing.assert_array_equal(series.times, columns()["when"])
    np.testing.assert_array_equal(series.read_x(0, 3), [[0, 0], [1, 2], [2, 4]])
    np.testing.assert_array_equal(series.read_y(0, 3), [[2], [4], [6]])
    apart = rk.Sequence(frame, target="heat", time="when", horizon=0)
    assert (apart.feature_names, apart.target_names, apart.labels) == (("load",), ("heat",), True)
    pieces = rk.Sequence(frame, target=1, time="when", gap="30min", short="drop", missing="cut", horizon=0)
    assert len(pieces.segments) == 30


@pytest.mark.parametrize("library", LIBRARIES)
def test_columns_that_are_not_there_or_no_numbers_are_named(library):
    make = LIBRARIES[library]
    with pytest.raises(DataError, match=r"has no column 'heart', asked for as target; .*did you mean 'heat'"):
        rk.Sequence(make(columns()), target="heart", time="when")
    with pytest.raises(DataError, match=r"has no column 'wen', asked for as time; .*did you mean 'when'"):
        rk.Sequence(make(columns()), target="heat", time="wen")
    with pytest.raises(DataError, match="column 'when' of x expects numbers, got time; say time='when'"):
        rk.Sequence(make(columns()), target="heat")
    with pytest.raises(DataError, match=r"column 'kind' of x expects numbers, got text; .*say series_id='kind'"):
        rk.Sequence(make(columns(kind=["a"] * 30)), target="heat", time="when")
    flags = rk.Sequence(make(columns(open=[True, False] * 15)), target="heat", time="when")
    assert flags.read_x(0, 2)[:, 2].tolist() == [1, 0]
    with pytest.raises(DataError, match="row 3, column 'gas': the value is missing"):
        rk.Sequence(make(columns(gas=[1, 2, 3, None, *range(26)])), target="heat", time="when")


def test_an_index_of_times_cuts_as_times_do(hourly):
    assert rk.Sequence(hourly, target="load").segments == ((0, 59),)
    holed = pd.concat([hourly.iloc[:30], hourly.iloc[30:].set_axis(hourly.index[30:] + pd.Timedelta("50h"))])
    with pytest.warns(RnnkitWarning, match=r"but 1 step is longer, the first one of 51 h to row 30 .*gap=3600"):
        assert rk.Sequence(holed, target="load").segments == ((0, 59),)
    assert rk.Sequence(holed, target="load", gap=3600).segments == ((0, 29), (30, 59))
    assert rk.Sequence(holed, target="load", gap="3d").segments == ((0, 59),)
    assert rk.Sequence(holed, target="load", segments=[(0, 10)]).segments == ((0, 9),)
    named = rk.Sequence(hourly.rename_axis("t"), target="load", time="t")
    np.testing.assert_array_equal(named.times, hourly.index.to_numpy())
    periods = rk.Sequence(hourly.set_axis(pd.period_range("2022-10-29", periods=60, freq="h")), target="load")
    np.testing.assert_array_equal(periods.times, hourly.index.to_numpy())


def test_an_index_in_no_order_is_refused_and_sorted_on_request(hourly):
    shuffled = hourly.sample(frac=1, random_state=0)
    for frame, said in ((shuffled, "no order of time"), (hourly[::-1], "its newest row stands first")):
        with pytest.raises(DataError, match=f"{said}.*sort=True"):
            rk.Sequence(frame, target="load")
        series = rk.Sequence(frame, target="load", sort=True)
        np.testing.assert_array_equal(series.read_x(0, 60)[:, 0], np.arange(60))


def test_other_indexes_are_ignored_told_or_refused(hourly):
    plain = hourly.reset_index(drop=True)
    assert rk.Sequence(plain, target="load").times is None
    assert rk.Sequence(plain.iloc[5:], target="load").times is None
    with pytest.warns(RnnkitWarning, match=r"index that is not used.*time=x.index .*x.reset_index\(drop=True\)"):
        rk.Sequence(plain.drop([4, 7]), target="load")
    assert rk.Sequence(plain.drop([4, 7]), target="load", time=plain.drop([4, 7]).index, gap=1).runs.shape == (3, 3)
    several = plain.assign(t=np.tile(np.arange(30), 2), shop=np.repeat(["a", "b"], 30)).set_index(["shop", "t"])
    with pytest.raises(DataError, match=r"index of several levels .*series_id='shop', time='t'"):
        rk.Sequence(several, target="load")
    assert rk.Sequence(several, target="load", series_id="shop", time="t").series_ids == ("a", "b")


def test_values_beside_a_frame_with_a_named_index_are_values(hourly):
    named = hourly.rename_axis("when")
    for time in (np.arange(60), pd.Series(range(60)), list(range(60))):
        np.testing.assert_array_equal(rk.Sequence(named, target="load", time=time).times, np.arange(60))
    ids = np.repeat(["a", "b"], 30)
    assert rk.Sequence(named, target="load", series_id=ids).series_ids == ("a", "b")
    assert rk.Sequence(named, target="load", series_id=pd.Series(ids)).series_ids == ("a", "b")


def test_a_zone_of_a_frame_goes_out_again(hourly):
    aware = hourly.tz_localize("UTC").tz_convert("Europe/Berlin")
    polars = pl.from_pandas(aware.reset_index(names="t"))
    for series in (
        rk.Sequence(aware, target="load"),
        rk.Sequence(polars, target="load", time="t"),
        rk.Sequence(polars["load"], time=polars["t"]),
        rk.Sequence(aware["load"].to_numpy(), time=aware.index),
        rk.Sequence(aware["load"].to_numpy(), time=list(aware.index)),
    ):
        assert series.zone == "Europe/Berlin"
        np.testing.assert_array_equal(series.times, hourly.index.to_numpy())
    local = aware.tz_localize(None)
    assert np.array_equal(rk.Sequence(local, target="load", zone="Europe/Berlin", gap="1h").times, hourly.index)
    with pytest.warns(RnnkitWarning, match="the day first"):
        text = rk.Sequence(hourly.assign(t=hourly.index.strftime("%d/%m/%Y %H:%M")), target="load", time="t")
    np.testing.assert_array_equal(text.times, hourly.index.to_numpy())


def test_columns_and_targets_beside_a_frame(hourly):
    series = rk.Sequence(hourly["load"])
    assert (series.feature_names, series.target_names) == (("load",), ("load",))
    assert rk.Sequence(pl.Series([1.0, 2.0])).feature_names is None
    apart = rk.Sequence(hourly[["load"]], hourly["heat"] / 2)
    assert (apart.target_names, apart.horizon, apart.labels) == (("heat",), 0, False)
    assert rk.Sequence(hourly[["load"]], hourly["heat"]).labels
    assert rk.Sequence(hourly[["load"]], hourly[["heat"]]).target_names == ("heat",)
    assert rk.Sequence(hourly[["load"]].to_numpy(), hourly["heat"]).target_names == ("heat",)
    with pytest.raises(DataError, match=r"y with the index of x, got .*; say y.loc\[x.index\]"):
        rk.Sequence(hourly[["load"]], hourly["heat"][::-1])
    assert rk.Sequence(hourly[["load"]], hourly["heat"][::-1].loc[hourly.index]).labels
    assert rk.Sequence(pd.DataFrame(np.zeros((5, 2))), target=0).feature_names is None
    with pytest.raises(DataError, match="got 'load' twice"):
        rk.Sequence(pd.concat([hourly, hourly], axis=1), target="load")
    with pytest.raises(DataError, match=r"x in memory, got a LazyFrame; say x.collect\(\)"):
        rk.Sequence(pl.LazyFrame({"a": [1.0, 2.0]}))
    with pytest.raises(DataError, match="expects time as values, one for each row of an array, got 't'"):
        rk.Sequence(np.zeros(3), time="t")


def test_samples_of_a_panel_may_be_frames(hourly):
    panel = rk.Sequence.panel([hourly[:20], hourly[20:50], hourly[50:]], pd.Series([0, 1, 0]))
    assert (panel.feature_names, panel.labels, panel.lengths.tolist()) == (("load", "heat"), True, [20, 30, 10])
    assert rk.Sequence.panel([hourly[:20], hourly[20:]]).target_names == ("load", "heat")
    with pytest.raises(DataError, match="the same columns in each sample of x, got heat, load in sample 1"):
        rk.Sequence.panel([hourly[:20], hourly[20:][["heat", "load"]]])
    with pytest.raises(DataError, match="got one frame; a table of several series is Sequence"):
        rk.Sequence.panel(hourly)


@pytest.mark.parametrize("who", ["predict", "evaluate", "forecast", "trace"])
def test_names_are_checked_wherever_a_run_reads_a_sequence(who, trained):
    asked = {
        "predict": rk.predict,
        "evaluate": rk.evaluate,
        "forecast": lambda run, series: rk.forecast(run, series, 3),
        "trace": lambda run, series: rk.trace(run, series, rows=(0, 5)),
    }[who]
    frame = pd.DataFrame({"load": np.arange(30.0), "heat": np.ones(30), "wind": np.ones(30)})
    target = ["load", "heat"]
    with pytest.raises(ModelError, match=rf"{who}: .*but 'new' has them in another order \(heat, load\)"):
        asked(trained, rk.Sequence(frame[["heat", "load"]], target=["heat", "load"], name="new"))
    with pytest.raises(ModelError, match=f"{who}: .*but 'new' lacks heat and has wind instead"):
        asked(trained, rk.Sequence(frame[["load", "wind"]], target=["load", "wind"], name="new"))
    with pytest.raises(ModelError, match=f"{who}: .*but 'new' has wind, too"):
        asked(trained, rk.Sequence(frame, target=target, name="new"))
    asked(trained, rk.Sequence(frame[target], target=target))
    asked(trained, rk.Sequence(frame[target].to_numpy(), target=[0, 1]))


def test_narwhals_is_imported_where_there_is_a_frame():
    code = "import sys, numpy, rnnkit as rk; rk.Sequence(numpy.zeros(5)); print('narwhals' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
