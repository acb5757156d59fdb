"""One long table of many series: a segment each, gathered where their rows are scattered."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import rnnkit as rk
from rnnkit.cli.build import build
from rnnkit.cli.read import read
from rnnkit.data import Sequence, series_ids
from rnnkit.data.series import BySeries, Coder, Ids
from rnnkit.data.source import array_source
from rnnkit.errors import ConfigError, DataError, SourceError

SERVERS = ["web-2", "db", "web-1"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of a few rows, of which few stay in memory."""
    monkeypatch.setattr("rnnkit.data.arrays.READ", 8)
    monkeypatch.setattr("rnnkit.data.arrow.SLICE", 16)
    monkeypatch.setattr("rnnkit.data.tables.SLICE", 16)
    monkeypatch.setattr("rnnkit.data.text.CELLS", 40)
    monkeypatch.setattr("rnnkit.data.tables.KEPT", 500)


def table(rows=90, scattered=True):
    """A table by time: at each time a row of each series; or one series after the other."""
    rng = np.random.default_rng(1)
    code = np.arange(rows) % 3 if scattered else np.arange(rows) // (rows // 3)
    t = np.arange(rows) // 3 if scattered else np.arange(rows) % (rows // 3)
    return {"t": t, "server": code, "load": rng.normal(size=rows), "heat": rng.normal(size=rows)}


def named(columns):
    return {**columns, "server": [SERVERS[code] for code in columns["server"]]}


def write_csv(path, columns):
    rows = zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")


def write_hdf5(path, columns):
    with h5py.File(path, "w") as file:
        for name, column in columns.items():
            file[name] = column


def write_zarr(path, columns):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for name, column in columns.items():
        group.create_array(name, data=np.asarray(column), chunks=(7,))


def stacked(columns):
    return np.stack(list(columns.values()), axis=1)


TEXT = {
    "csv": write_csv,
    "parquet": lambda path, columns: pq.write_table(pa.table(columns), path, row_group_size=20),
    "feather": lambda path, columns: feather.write_feather(pa.table(columns), path, chunksize=25),
    "hdf5": write_hdf5,
    "zarr": write_zarr,
}
NUMBERS = {
    "npy": lambda path, columns: np.save(path, stacked(columns)),
    "h5": lambda path, columns: write_hdf5(path, {"x": stacked(columns)}),
    **TEXT,
}


@pytest.fixture(params=TEXT)
def write(request, tmp_path):
    """Write columns in a format that holds text."""

    def write(columns):
        path = tmp_path / f"data.{request.param}"
        TEXT[request.param](path, columns)
        return path

    return write


def of_series(columns, name, keys=("load", "heat")):
    here = np.array([server == name for server in columns["server"]])
    return np.stack([np.asarray(columns[key])[here] for key in keys], axis=1)


@pytest.mark.parametrize("scattered", [True, False])
def test_each_series_is_a_segment_in_order_of_first_appearance(write, scattered):
    columns = named(table(scattered=scattered))
    series = Sequence.open(write(columns), series_id="server", time="t", target="load")
    assert series.series_ids == tuple(SERVERS)
    assert series.segments == ((0, 29), (30, 59), (60, 89))
    assert sorted(series.feature_names) == ["heat", "load"]
    load = series.feature_names.index("load")
    for name, start in zip(SERVERS, (0, 30, 60), strict=True):
        rows = series.read_x(start, start + 30, np.float64)
        np.testing.assert_array_equal(rows[:, [load, 1 - load]], of_series(columns, name))
        assert series.times[start : start + 30].tolist() == list(range(30))


@pytest.mark.parametrize("form", NUMBERS)
def test_ids_may_be_whole_numbers(tmp_path, form):
    columns = table()
    columns["server"] = columns["server"] * 7 - 5  # -5, 2, 9
    NUMBERS[form](tmp_path / f"data.{form}", columns)
    column, target = (1, 2) if form in ("npy", "h5") else ("server", "load")
    path = tmp_path / f"data.{form}"
    assert series_ids(path, column) == ["-5", "2", "9"]
    series = Sequence.open(path, series_id=column, features=[target], target=target, only=[9, -5])
    assert series.series_ids == ("-5", "9")
    expected = np.concatenate([of_series(columns, code, ("load",)) for code in (-5, 9)])
    np.testing.assert_array_equal(series.read_x(0, 60, np.float64), expected)
    rows = np.array([59, -1, 3, 30])
    np.testing.assert_array_equal(series.take(rows, np.float64)[0][[0, 2, 3]], expected[[59, 3, 30]])
    np.testing.assert_array_equal(series.take(rows, np.float64)[1][[2, 3]], expected[[4, 31]])


def test_only_one_series_is_a_sequence_of_its_own(write):
    columns = named(table())
    path = write(columns)
    assert series_ids(path, "server") == SERVERS
    for name in series_ids(path, "server"):
        series = Sequence.open(path, series_id="server", only=name, features=["load"], target="heat", time="t")
        assert (series.rows, series.segments, series.series_ids) == (30, ((0, 29),), (name,))
        np.testing.assert_array_equal(series.read_x(0, 30, np.float64), of_series(columns, name, ("load",)))
        np.testing.assert_array_equal(series.read_y(0, 29, np.float64), of_series(columns, name, ("heat",))[1:])


def test_time_gaps_and_missing_values_cut_inside_a_series(write):
    columns = named(table(rows=36))
    columns["t"] = columns["t"] + np.where((columns["t"] > 5) & (np.arange(36) % 3 == 1), 10, 0)  # db: a gap
    columns["load"][3 * 4 + 2] = np.nan  # web-1: its fifth row
    path = write(columns)
    series = Sequence.open(path, series_id="server", time="t", target="load", gap=1, missing="cut")
    assert series.segments == ((0, 11), (12, 17), (18, 23), (24, 27), (29, 35))
    assert series.series_ids == ("web-2", "db", "db", "web-1", "web-1")
    place = "line 16" if path.suffix == ".csv" else "row 14"
    with pytest.raises(DataError, match=rf"data.*', {place}, column 'load': the value is missing"):
        Sequence.open(path, series_id="server", time="t", target="load")


def test_parts_know_their_series(write):
    series = Sequence.open(write(named(table())), series_id="server", time="t", target="load")
    training, validation, test = series.split(0.5, 0.3)
    assert training.series_ids == validation.series_ids == test.series_ids == ("web-2", "db", "web-1")
    assert [part.series_ids for part in series.split(1, 1, by="series")] == [("web-2",), ("db",), ("web-1",)]
    assert Sequence(np.arange(9.0)).series_ids is None


def test_the_id_is_a_feature_where_it_is_named(tmp_path):
    write_csv(tmp_path / "data.csv", table(rows=9))
    series = Sequence.open(tmp_path / "data.csv", series_id="server", features=["server", "load"], target="load")
    assert series.read_x(0, 9)[:, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert series.series_ids == ("0", "1", "2")


def test_batches_never_carry_from_one_series_to_the_next(write):
    series = Sequence.open(write(named(table())), series_id="server", time="t", target="load")
    schedule = rk.Schedule(series, rk.Continuation(length=8, lanes=1), rk.Carry())
    resets = np.concatenate([batch.reset[:, 0] for batch in schedule.batches()])
    assert np.flatnonzero(resets).tolist() == [29, 58]  # the first row of all starts from the initial state without one


def test_labels_stay_labels_when_rows_are_gathered(write):
    columns = named(table(rows=12)) | {"kind": np.arange(12)}
    series = Sequence.open(write(columns), series_id="server", features=["load"], target="kind", horizon=0)
    assert series.labels
    assert series.read_y(0, 12).tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=60), st.data())
def test_gathering_is_a_stable_sort_by_first_appearance(codes, data):
    values = np.arange(len(codes), dtype=float)
    names = list(dict.fromkeys(map(str, codes)))
    only = data.draw(st.none() | st.lists(st.sampled_from(names), min_size=1))
    coder = Coder("who", "id")
    cut = data.draw(st.integers(0, len(codes)))
    blocks = [coder.codes(np.array(codes[:cut], np.int64)), coder.codes(list(map(str, codes[cut:])))]
    ids = Ids(coder.names, np.concatenate(blocks))
    gathered = BySeries(array_source(values, None, None, "s", 1), values, ids).of(only)
    kept = [name for name in names if only is None or name in only]
    expected = [row for name in kept for row, code in enumerate(codes) if str(code) == name]
    assert gathered.source.x.read(0, len(expected)).ravel().tolist() == expected
    assert gathered.times.tolist() == expected
    assert gathered.source.series.names == tuple(kept)
    assert gathered.source.series.edges.tolist() == [0, *np.cumsum([codes.count(int(name)) for name in kept])]


def test_a_series_whose_rows_stand_together_is_a_view_of_the_memmap(tmp_path):
    np.save(tmp_path / "data.npy", stacked(table(scattered=False)))
    series = Sequence.open(tmp_path / "data.npy", series_id=1, only=1, features=[2], target=2)
    assert isinstance(series._source.x.array.base, np.ndarray)
    assert not series._source.x.array.flags.owndata


def test_series_ids_of_columns_reads_no_other_column(tmp_path, monkeypatch):
    path = tmp_path / "data.parquet"
    TEXT["parquet"](path, named(table()))
    read = []
    original = pq.ParquetFile.read_row_group

    def noted(self, group, columns):
        read.extend(columns)
        return original(self, group, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    assert series_ids(path, "server") == SERVERS
    assert set(read) == {"server"}


def test_series_ids_of_a_group_of_arrays(tmp_path):
    columns = {f"g/{name}": column for name, column in named(table()).items()}
    write_hdf5(tmp_path / "data.h5", columns | {"other": np.zeros(3)})
    assert series_ids(tmp_path / "data.h5", "server", array="g") == SERVERS


# what cannot be used


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"series_id": "sever"},
            "has no column 'sever', asked for as series_id; its columns are .*; did you mean 'server'",
        ),
        (
            {"series_id": "server", "only": "wep-1"},
            r"has no series 'wep-1', asked for with only=; its series are web-2, db, web-1; did you mean 'web-1'",
        ),
        ({"series_id": "server", "only": ["db", 7]}, "has no series '7', asked for with only="),
        ({"series_id": "server", "only": []}, "expects only= to name at least one series, got none"),
        (
            {"only": "db"},
            "chooses series with only='db', got no series_id; name the column of ids: series_id='...'",
        ),
        (
            {"series_id": "server", "segments": [(0, 5)]},
            r"takes its segments from segments= or from series_id=, got both; leave one out",
        ),
        (
            {"series_id": "server", "horizon": 30},
            "has no row with a target: the longest run has 30 rows, and horizon=30 needs 31",
        ),
    ],
)
def test_options_that_cannot_be_used_are_refused(write, options, message):
    path = write(named(table()))
    with pytest.raises(DataError, match=message) as caught:
        Sequence.open(path, features=["load"], target="load", **options)
    assert "data." in str(caught.value)


def test_messages_name_the_series_of_a_segment(write):
    columns = {"server": ["b", "b", "b", "a", "b"], "v": np.arange(5.0)}
    path = write(columns)
    place = "line 5" if path.suffix == ".csv" else "row 3"  # where it stands in the file
    with pytest.raises(
        DataError, match=rf"segment 1 of series 'a' \({place}\) has 1 row, but horizon=1 needs at least"
    ):
        Sequence.open(path, series_id="server", target="v")
    assert Sequence.open(path, series_id="server", target="v", short="drop").series_ids == ("b",)


def test_messages_about_scattered_rows_name_those_of_the_file(write, tmp_path):
    columns = {"server": ["b", "a", "b", "b", "a", "b"], "v": np.arange(6.0)}
    path = write(columns)
    place = "lines 3 ... 6" if path.suffix == ".csv" else "rows 1 ... 4"
    with pytest.raises(DataError, match=rf"segment 1 of series 'a' \({place}\) has 2 rows, but horizon=3"):
        Sequence.open(path, series_id="server", target="v", horizon=3)
    times = np.array(["2020-01-01"] * 4 + ["NaT", "2020-01-02"], "datetime64[us]")
    pq.write_table(pa.table({**columns, "t": times}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="expects a time for each row, got none at row 4"):
        Sequence.open(tmp_path / "t.parquet", series_id="server", target="v", time="t")


@pytest.mark.parametrize("form", ["csv", "h5"])
@pytest.mark.parametrize(
    ("only", "kept"),
    [
        (np.array([2, 0]), (0, 2)),
        (np.int64(1), (1,)),
        (1.0, (1,)),
        (np.float64(2), (2,)),
        (range(2), (0, 1)),
        ([0.0], (0,)),
    ],
    ids=repr,
)
def test_only_takes_what_numbers_come_as(tmp_path, form, only, kept):
    NUMBERS[form](tmp_path / f"data.{form}", table())
    names = {"series_id": "server", "target": "load"} if form == "csv" else {"series_id": 1, "target": 2}
    assert Sequence.open(tmp_path / f"data.{form}", **names, only=only).series_ids == tuple(map(str, kept))


def test_rows_without_an_id_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("id,v\na,1\n\t,2\n")
    with pytest.raises(DataError, match=r"line 3, column 'id' expects the id of a series, .*, got ''; fill it in"):
        Sequence.open(tmp_path / "a.csv", series_id="id")
    pq.write_table(pa.table({"id": ["a", "b", None], "v": [1, 2, 3]}), tmp_path / "a.parquet", row_group_size=2)
    with pytest.raises(DataError, match=r"row 2, column 'id' expects the id of a series, .* got None"):
        Sequence.open(tmp_path / "a.parquet", series_id="id")
    np.save(tmp_path / "a.npy", np.array([[1, 0.5], [1.5, 1], [2.5, 1]]))
    with pytest.raises(DataError, match=r"row 1, column 0 expects the id of a series, .* got 1.5"):
        Sequence.open(tmp_path / "a.npy", series_id=0)
    np.save(tmp_path / "b.npy", np.array([[True, False]] * 3))
    with pytest.raises(DataError, match=r"column 0 expects an id of a series in each row, .* got dtype bool"):
        Sequence.open(tmp_path / "b.npy", series_id=0)


def test_series_ids_refuses_what_open_refuses(tmp_path):
    write_csv(tmp_path / "a.csv", named(table()))
    with pytest.raises(DataError, match="has no column 'x', asked for as series_id"):
        series_ids(tmp_path / "a.csv", "x")
    with pytest.raises(SourceError, match="series_ids found no file"):
        series_ids(tmp_path / "b.csv", "server")
    with pytest.raises(SourceError, match=r"series_ids expects a file that ends in .csv"):
        series_ids(tmp_path / "b.text", "server")
    with pytest.raises(DataError, match="holds no arrays by name, got array='g'"):
        series_ids(tmp_path / "a.csv", "server", array="g")


def test_a_config_chooses_series(tmp_path):
    write_csv(tmp_path / "data.csv", named(table()))
    text = '[data]\npath = "data.csv"\ntime = "t"\ntarget = "load"\nseries_id = "server"\nonly = {}\n'
    text += '[[model.layers]]\ntype = "LSTM"\nhidden = 2\n[[model.layers]]\ntype = "Dense"\n'
    for only, found in (('"db"', ("db",)), ('["web-1", "db"]', ("db", "web-1"))):
        (tmp_path / "c.toml").write_text(text.format(only))
        assert build(read(tmp_path / "c.toml")).data.series.series_ids == found
    (tmp_path / "c.toml").write_text(text.format('"dbs"'))
    with pytest.raises(ConfigError, match=r"line 6, data.only: .* has no series 'dbs'.*; did you mean 'db'"):
        build(read(tmp_path / "c.toml"))
