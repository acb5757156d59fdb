"""Sequences without targets: what takes them, what refuses them, and a target that is no feature at horizon 0."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rnnkit as rk
from rnnkit.data import Standard
from rnnkit.data.source import ArrayRows
from rnnkit.errors import ConfigError, DataError, ModelError
from rnnkit.train import forecast

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(60, 3))


MODEL = rk.Chain(rk.LSTM(3, 4), rk.Dense(4, 1))


@pytest.fixture
def table(tmp_path):
    """A function that writes columns as CSV or Parquet and returns the path."""

    def write(columns, suffix=".csv", name="new"):
        path = tmp_path / f"{name}{suffix}"
        if suffix == ".csv":
            rows = zip(*columns.values(), strict=True)
            lines = [",".join(columns), *(",".join(map(repr, map(float, row))) for row in rows)]
            path.write_text("\n".join(lines) + "\n")
        else:
            pq.write_table(pa.table(columns), path)
        return path

    return write


def named(values, names="abc"):
    return {name: values[:, column] for column, name in enumerate(names)}


def trained(series, epochs=1):
    model = rk.Chain(rk.LSTM(series.features, 4), rk.Dense(4, series.outputs or 1))
    series = series.with_scaler(Standard.fit(series))
    return rk.fit(model, rk.Schedule(series, rk.Continuation(8), rk.Carry()), backend="numpy", epochs=epochs)


# what such a sequence is


def test_several_features_and_no_target_make_a_sequence_without_targets(table):
    arrays = rk.Sequence(VALUES)
    file = rk.Sequence.open(table(named(VALUES)), features=["a", "b", "c"])
    every = rk.Sequence.open(table(named(VALUES), ".parquet"))
    for series in (arrays, file, every):
        assert (series.outputs, series.target_columns, series.target_names, series.labels) == (0, (), None, False)
        assert len(series) == series.rows == 60
        assert series.left_out == 0
        assert "3 features, no target)" in repr(series)
        x, y = series.take(np.array([[3, -1], [59, 0]]), np.float64)
        assert y.shape == (2, 2, 0)
        np.testing.assert_array_equal(x[0, 0], VALUES[3])
        np.testing.assert_array_equal(x[1, 0], VALUES[59])
        assert series.read_y(10, 20).shape == (10, 0)
        assert series.scored(np.array([0, 59])).all()


def test_no_target_can_be_said_of_one_feature(table):
    path = table(named(VALUES))
    assert rk.Sequence.open(path, features="a").outputs == 1
    for series in (
        rk.Sequence.open(path, features="a", target=[], horizon=24),
        rk.Sequence.open(path, features="a", horizon=0),
        rk.Sequence(VALUES[:, 0], target=[]),
        rk.Sequence(VALUES[:, 0], horizon=0),
        rk.Sequence.panel(VALUES.reshape(4, 15, 3), horizon=0),
    ):
        assert (series.outputs, len(series)) == (0, 60)


def test_as_many_rows_as_there_are_can_be_predicted_whatever_the_horizon():
    assert len(rk.Sequence(VALUES[:2], target=[], horizon=24)) == 2
    assert len(rk.Sequence(VALUES[:20], horizon=9, segments=[(0, 3), (5, 20)])) == 18


def test_it_is_parted_scheduled_scaled_and_joined_like_any_other():
    series = rk.Sequence(VALUES, horizon=5)
    parts = series.split(0.5, 0.25)
    assert [len(part) for part in parts] == [30, 15, 15]
    scaler = Standard.fit(parts[0])
    assert (len(scaler.x_mean), scaler.y_mean) == (3, ())
    batch = next(rk.Schedule(series.with_scaler(scaler), rk.Continuation(7, lanes=2), rk.Carry()).batches())
    assert batch.y.shape == (7, 2, 0)
    assert batch.weight.all()
    with_targets = Standard((0, 0, 0), (1, 1, 1), (0, 0), (2, 2))
    assert series.with_scaler(with_targets).scaler == with_targets.of_inputs()
    assert series.with_horizon(2).horizon == 2
    with pytest.raises(DataError, match="without targets, 'series' has 1; open it with horizon=2"):
        rk.Sequence(VALUES[:, 0]).with_horizon(2)


# what takes it


def test_new_rows_are_predicted_without_the_target_column(table):
    path = table(named(VALUES), name="old")
    run = trained(rk.Sequence.open(path, features=["a", "b"], target="c", horizon=2))
    expected = rk.predict(run, rk.Sequence.open(path, features=["a", "b"], target="c", horizon=2))
    for suffix in (".csv", ".parquet"):
        new = rk.Sequence.open(table(named(VALUES[:, :2], "ab"), suffix))
        got = rk.predict(run, new)
        np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))
        np.testing.assert_array_equal(got.rows, np.arange(60) + 2)
        np.testing.assert_array_equal(got.is_future, np.arange(60) >= 58)


def test_one_feature_is_predicted_from_without_the_target_column(table):
    run = trained(rk.Sequence.open(table(named(VALUES), name="old"), features="a", target="c", horizon=1))
    path = table({"a": VALUES[:, 0]})
    np.testing.assert_array_equal(rk.predict(run, rk.Sequence.open(path)), rk.predict(run, rk.Sequence(VALUES[:, 0])))
    assert len(rk.predict(run, rk.Sequence.open(table({"a": VALUES[:1, 0]}), target=[]))) == 1


def test_features_are_still_compared_by_name(table):
    run = trained(rk.Sequence.open(table(named(VALUES), name="old"), features=["a", "b"], target="c"))
    with pytest.raises(ModelError, match=r"trained on the features a, b, but 'new' has them in another order \(b, a\)"):
        rk.predict(run, rk.Sequence.open(table(named(VALUES[:, :2], "ba"))))


def test_samples_are_predicted_without_labels():
    x, labels = RNG.normal(size=(6, 5, 2)), np.array([0, 1, 2, 0, 1, 2])
    model = rk.Chain(rk.LSTM(2, 3), rk.Dense(3, 3))
    panel = rk.Sequence.panel(x, labels)
    schedule = rk.Schedule(panel, rk.Chunked(5, lanes=3), rk.Reset())
    run = rk.fit(model, schedule, backend="numpy", loss="cross_entropy", epochs=1)
    got = rk.predict(run, rk.Sequence.panel(x, horizon=0, score="last"))
    np.testing.assert_array_equal(got.by_sample().values, rk.predict(run, panel).by_sample().values)


def test_a_series_goes_on_from_its_columns_alone(table):
    path = table(named(VALUES))
    run = trained(rk.Sequence.open(path, target=["a", "b", "c"], horizon=2))
    expected = forecast(run, rk.Sequence.open(path, target=["a", "b", "c"], horizon=2), 5)
    got = forecast(run, rk.Sequence.open(path), 5)
    np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))
    np.testing.assert_array_equal(got.rows, np.arange(60, 65))
    arrays = trained(rk.Sequence(VALUES, target=[0, 1, 2]))
    known = forecast(arrays, rk.Sequence(VALUES, target=[0, 1, 2]), 3)
    np.testing.assert_array_equal(np.asarray(forecast(arrays, rk.Sequence(VALUES), 3)), np.asarray(known))


@pytest.mark.parametrize("target", [["b", "a"], "b", "c"])
def test_what_predicts_other_columns_than_it_reads_is_not_fed_back(table, target):
    old = table(named(VALUES), name="old")
    run = trained(rk.Sequence.open(old, features=["a", "b"], target=target))
    with pytest.raises(ModelError, match="forecast expects a model that predicts all 2 input columns"):
        forecast(run, rk.Sequence.open(old, features=["a", "b"]), 3)


def test_a_stream_and_a_run_without_names_take_rows_alone():
    run = trained(rk.Sequence(VALUES[:, :2], VALUES[:, 2]))
    whole = np.asarray(rk.predict(run, rk.Sequence(VALUES[:, :2])))
    stream = rk.Stream(run)
    np.testing.assert_allclose([stream.step(row[None])[0] for row in VALUES[:, :2]], whole, rtol=1e-5)


# what refuses it


def refusals():
    model, run = MODEL, trained(rk.Sequence(VALUES, target=2))

    def schedule(series):
        return rk.Schedule(series, rk.Continuation(8), rk.Carry())

    def compared(series):
        rk.compare(model, series.split(), splitters=[rk.Continuation(8)], backends=["numpy"], equal=rk.Equal(rows=64))

    return {
        "fit": lambda series: rk.fit(model, schedule(series), backend="numpy"),
        "validation": lambda series: rk.fit(
            model, schedule(rk.Sequence(VALUES, target=2)), backend="numpy", validation=series
        ),
        "evaluate": lambda series: rk.evaluate(run, series),
        "trace": lambda series: rk.trace(run, series, (0, 5)),
        "compare": compared,
        "curriculum": lambda series: rk.Curriculum([series], rk.Continuation(8)).facts,
        "bias": lambda series: rk.gradient_bias(model, run.params, schedule(series), backend="numpy"),
        "plot": lambda series: rk.plots.plot_forecast(series, np.zeros((60, 1))),
    }


@pytest.mark.parametrize("who", ["fit", "validation", "evaluate", "trace", "compare", "curriculum", "bias", "plot"])
def test_whoever_needs_a_target_says_how_to_name_one(who):
    with pytest.raises(
        DataError, match=r"expects a target in each row, 'series' has none but 3 features and no y; say .* target=0"
    ):
        refusals()[who](rk.Sequence(VALUES))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_the_advice_for_a_file_works(table, suffix, tmp_path):
    if suffix == ".npy":
        path, likely = tmp_path / "new.npy", 2
        np.save(path, VALUES)
    else:
        path, likely = table(named(VALUES), suffix), "c"
    with pytest.raises(DataError, match=rf"3 features \(.*\); say which to predict: target={likely!r}, or a list"):
        trained(rk.Sequence.open(path))
    assert trained(rk.Sequence.open(path, target=likely)).model.outputs == 1
    assert trained(rk.Sequence.open(path, target=[likely])).model.outputs == 1


@pytest.mark.parametrize(
    ("options", "advice", "followed"),
    [
        ({"x": VALUES}, "target=0, or target=.0, 1.; or give y", {"x": VALUES, "target": [0, 1]}),
        ({"x": VALUES, "horizon": 0}, "no y; give y$", {"x": VALUES, "y": VALUES[:, 0], "horizon": 0}),
        ({"x": VALUES[:, 0], "horizon": 0}, "give y or horizon=1", {"x": VALUES[:, 0], "horizon": 1}),
        ({"x": VALUES[:, 0], "target": []}, r"give y, or leave target=\[\] out", {"x": VALUES[:, 0]}),
    ],
)
def test_the_advice_for_arrays_works(options, advice, followed):
    with pytest.raises(DataError, match=advice):
        rk.Sequence(**options).expect_target("training")
    rk.Sequence(**followed).expect_target("training")


def test_a_named_target_that_is_not_there_stays_an_error(table):
    with pytest.raises(DataError, match="no column 'd', asked for as target; its columns are a, b, c"):
        rk.Sequence.open(table(named(VALUES)), target="d")


def test_a_config_without_a_target_is_refused_where_it_is_trained(table, tmp_path):
    from rnnkit.cli.build import build
    from rnnkit.cli.read import read

    table(named(VALUES), name="series")
    rest = """
        [model]
        layers = [{type = "LSTM", hidden = 4}, {type = "Dense"}]
    """
    one, many = tmp_path / "one.toml", tmp_path / "many.toml"
    one.write_text(f'name = "a"\nout = "runs/a"\n[data]\npath = "series.csv"\n{rest}')
    many.write_text(f'name = "a"\nout = "runs/a"\n[[data]]\npath = "series.csv"\n{rest}')
    advice = r"3 features \(a, b, c\); say which to predict: target='c'"
    with pytest.raises(ConfigError, match=rf"data\.target.*training expects a target in each row.*{advice}"):
        build(read(one))
    with pytest.raises(ConfigError, match=rf"common\.target: data set 'series': training expects .*{advice}"):
        build(read(many))
    assert build(read(one, ["--data.target", "c"])).model.outputs == 1


# a target at horizon 0


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_at_horizon_0_the_target_is_no_feature(table, suffix):
    path = table(named(VALUES), suffix)
    series = rk.Sequence.open(path, target="b", horizon=0)
    assert (series.feature_names, series.target_names, series.target_columns) == (("a", "c"), ("b",), None)
    x, y = series.take(np.arange(60), np.float64)
    np.testing.assert_array_equal(x, VALUES[:, [0, 2]])
    np.testing.assert_array_equal(y, VALUES[:, [1]])
    assert rk.Sequence.open(path, target=["b", "a"], horizon=0).feature_names == ("c",)
    assert rk.Sequence.open(path, target="b", horizon=1).feature_names == ("a", "b", "c")


def test_a_feature_that_is_the_target_is_warned_of_at_horizon_0_alone(table):
    path = table(named(VALUES))
    with pytest.warns(rk.RnnkitWarning, match=r"reads its target 'b' among the features at horizon 0: .* can copy it"):
        series = rk.Sequence.open(path, features=["a", "b"], target="b", horizon=0)
    assert (series.feature_names, series.target_columns) == (("a", "b"), (1,))
    rk.Sequence.open(path, features=["a"], target="b", horizon=0)  # as advised
    rk.Sequence.open(path, features=["a", "b"], target="b", horizon=1)
    with pytest.warns(rk.RnnkitWarning, match="reads its target 'b' among"):
        rk.Sequence.open(path, features=["a", "b"], target=["b", "c"], horizon=0)


def test_a_target_alone_has_nothing_to_be_predicted_from(table):
    path = table({"a": VALUES[:, 0]})
    with pytest.raises(DataError, match=r"no column left to predict 'a' from at horizon 0, .*; say horizon=1"):
        rk.Sequence.open(path, target="a", horizon=0)
    rk.Sequence.open(path, target="a", horizon=1)
    with pytest.raises(DataError, match=r"no column left to predict target=0 from .* horizon=1 .* Sequence\(x, y\)"):
        rk.Sequence(VALUES[:, 0], target=0, horizon=0)
    rk.Sequence(VALUES[:, 0], target=0, horizon=1)
    rk.Sequence(VALUES[:, 0], VALUES[:, 0], horizon=0)


class Slices:
    """A source that answers slices and nothing else."""

    def __init__(self, array):
        self._array, self.shape = array, array.shape

    def __getitem__(self, rows):
        return self._array[rows]


@pytest.mark.parametrize("wrap", [lambda a: a, Slices])
def test_at_horizon_0_a_column_of_an_array_is_target_alone(wrap):
    series = rk.Sequence(wrap(VALUES), target=[2, 0], horizon=0)
    assert (series.features, series.outputs, series.target_columns) == (1, 2, None)
    x, y = series.take(np.array([5, -1, 59, 5]), np.float64)
    np.testing.assert_array_equal(x[[0, 2, 3]], VALUES[[5, 59, 5]][:, [1]])
    np.testing.assert_array_equal(y[[0, 2, 3]], VALUES[[5, 59, 5]][:, [2, 0]])
    np.testing.assert_array_equal(series.read_x(7, 30, np.float64), VALUES[7:30, [1]])
    np.testing.assert_array_equal(series.read_y(7, 30, np.float64), VALUES[7:30, [2, 0]])
    assert series._source.indexable == isinstance(wrap(VALUES), np.ndarray)
    with pytest.raises(DataError, match="row 3, column 2 of x: the value is missing"):
        rk.Sequence(wrap(np.where(np.arange(180).reshape(60, 3) == 11, np.nan, VALUES)), target=2, horizon=0)


def test_columns_are_picked_lazily():
    series = rk.Sequence(VALUES, target=0, horizon=0)
    rows = series._source.x
    assert isinstance(getattr(rows, "rows", None), ArrayRows)
