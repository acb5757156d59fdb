"""Every format gives the same rows; those that stream read what they need and hold little of it."""

import pickle
import subprocess
import sys
import tracemalloc

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import zarr

import rnnkit as rk
from rnnkit.cli.build import build
from rnnkit.cli.read import read
from rnnkit.data import Sequence, Standard
from rnnkit.data.arrays import ArrayTable
from rnnkit.data.arrow import ArrowTable, ParquetTable
from rnnkit.errors import ConfigError, DataError, SourceError

NAMES = ["t", "a", "b", "c"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of a few rows, of which few stay in memory, so that small files have many."""
    monkeypatch.setattr("rnnkit.data.arrays.READ", 32)
    monkeypatch.setattr("rnnkit.data.arrow.SLICE", 50)
    monkeypatch.setattr("rnnkit.data.tables.KEPT", 4000)


def table(rows):
    """Times with a gap and a step back, two columns of numbers, one of classes."""
    rng = np.random.default_rng(3)
    t = np.arange(rows)
    t[rows // 3 :] += 100
    t[rows // 2 :] -= 200
    return {"t": t, "a": rng.normal(size=rows), "b": rng.normal(size=rows) * 1e9, "c": rng.integers(0, 3, rows)}


def write_csv(path, columns):
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(repr, row)) for row in rows)]) + "\n")


def write_hdf5(path, columns, **options):
    with h5py.File(path, "w") as file:
        for name, column in columns.items():
            file.create_dataset(name, data=column, **options)


def write_zarr(path, columns, **options):
    group = zarr.open_group(path, mode="w")
    for name, column in columns.items():
        group.create_array(name, data=column, **options)


def write_arrow(path, columns, **options):
    whole = pa.table(columns)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, whole.schema, **options) as writer:
        writer.write_table(whole, max_chunksize=max(120, len(whole) // 100))


def length(columns):
    return len(next(iter(columns.values())))


def stacked(columns):
    return np.stack([column.astype(float) for column in columns.values()], axis=1)


WRITERS = {
    "npy": lambda path, columns: np.save(path, stacked(columns)),
    "parquet": lambda path, columns: pq.write_table(
        pa.table(columns), path, row_group_size=max(70, length(columns) // 100)
    ),
    "arrow": write_arrow,
    "packed.arrow": lambda p, c: write_arrow(p, c, options=pa.ipc.IpcWriteOptions(compression="lz4")),
    "feather": lambda path, columns: feather.write_feather(
        pa.table(columns), path, chunksize=max(80, length(columns) // 100)
    ),
    "h5": lambda path, columns: write_hdf5(path, {"x": stacked(columns)}),
    "packed.h5": lambda path, columns: write_hdf5(path, {"x": stacked(columns)}, chunks=(24, 2), compression="gzip"),
    "table.hdf5": write_hdf5,
    "zarr": lambda path, columns: write_zarr(path, {"g/x": stacked(columns)}, chunks=(-(-length(columns) // 100), 2)),
    "table.zarr": lambda path, columns: write_zarr(path, columns, chunks=(-(-length(columns) // 16),)),
}
STREAMED = [name for name in WRITERS if name != "npy"]
BY_NUMBER = ("npy", "h5", "packed.h5", "zarr")


@pytest.fixture
def opened(tmp_path):
    """Write `table(rows)` in a format and open it; options name columns, which become numbers where they must."""

    def opened(form, rows=400, **options):
        path = tmp_path / f"data.{form}"
        if not path.exists():
            (write_csv if form == "csv" else WRITERS[form])(path, table(rows))
        if form in BY_NUMBER:
            options = {key: number(key, value) for key, value in options.items()}
        return Sequence.open(path, **options)

    def number(key, value):
        if key not in ("time", "features", "target"):
            return value
        return [NAMES.index(name) for name in value] if isinstance(value, list) else NAMES.index(value)

    return opened


CASES = [
    {"time": "t", "features": ["a", "b"], "target": "b", "gap": 10},
    {"features": ["b", "t", "a"], "target": ["a", "c"], "horizon": 3},
    {"time": "t", "features": ["c", "a"], "target": "b", "horizon": 0},
    {"time": "t", "target": "a", "horizon": 0},
    {"features": ["c", "a"]},
    {"features": ["a"], "target": "a", "segments": [(5, 90), (120, 399)]},
]


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("form", WRITERS)
def test_every_format_equals_csv_bit_for_bit(opened, form, options):
    series, csv = opened(form, **options), opened("csv", **options)
    assert (series.name, csv.name) == (f"data.{form}".rpartition(".")[0], "data")
    assert series.segments == csv.segments
    assert series.target_columns == csv.target_columns
    if csv.times is None:
        assert series.times is None
    else:
        np.testing.assert_array_equal(series.times, csv.times)
    np.testing.assert_array_equal(series.read_x(0, 400, np.float64), csv.read_x(0, 400, np.float64))
    np.testing.assert_array_equal(series.read_y(7, 211, np.float64), csv.read_y(7, 211, np.float64))
    rows = np.random.default_rng(0).integers(-1, 400, (30, 4))
    for found, expected in zip(series.take(rows, np.float64), csv.take(rows, np.float64), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert Standard.fit(series) == Standard.fit(csv)


@pytest.mark.parametrize("splitter", [rk.Continuation(length=7, lanes=3), rk.Sliding(length=9, lanes=4, shuffle=True)])
@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_the_batches_of_csv(opened, form, splitter):
    parts = [opened(kind, time="t", features=["a", "b"], target="c", gap=10) for kind in (form, "csv")]
    scaler = Standard.fit(parts[1].split()[0])
    schedules = [rk.Schedule(part.split()[0].with_scaler(scaler), splitter, rk.Reset(), 5) for part in parts]
    for batch, expected in zip(*(schedule.batches(dtype=np.float64) for schedule in schedules), strict=True):
        np.testing.assert_array_equal(batch.x, expected.x)
        np.testing.assert_array_equal(batch.y, expected.y)


@pytest.mark.parametrize("form", WRITERS)
def test_integers_outside_the_features_are_labels_where_their_type_is(opened, form):
    series = opened(form, features=["a"], target="c", horizon=0)
    assert series.labels == (form not in BY_NUMBER)  # these hold one array of floats
    expected = table(400)["c"]
    assert series.read_y(0, 400).reshape(-1).tolist() == expected.tolist()


@pytest.mark.parametrize("form", STREAMED)
def test_streamed_formats_read_only_the_chunks_they_need(opened, form, monkeypatch):
    series = opened(form, features=["a", "b"], target="b")
    read = []
    for kind in (ArrayTable, ArrowTable, ParquetTable):
        original = kind.read

        def counted(self, chunk, columns, original=original):
            block = original(self, chunk, columns)
            read.append(len(block))
            return block

        monkeypatch.setattr(kind, "read", counted)
    series.read_x(200, 203)
    assert sum(read) <= 80  # a chunk at most, of 400 rows
    read.clear()
    rows = np.array([390, 3, 391, 4, 3])
    with monkeypatch.context() as patch:
        patch.setattr("rnnkit.data.tables.KEPT", 0)
        series.take(rows)
    assert len(read) <= 3  # rows from two places, those one later among them: each chunk once
    series.take(rows)
    read.clear()
    series.take(rows)
    assert not read  # the last chunks stay


@pytest.mark.parametrize("form", STREAMED)
def test_streamed_formats_never_hold_the_file(opened, form, monkeypatch):
    monkeypatch.setattr("rnnkit.data.arrays.READ", 1024)
    monkeypatch.setattr("rnnkit.data.arrow.SLICE", 1024)
    for module in ("source", "scaling", "tables"):
        monkeypatch.setattr(f"rnnkit.data.{module}.SLICE", 1024)
    opened(form, rows=100_000, features=["a", "b", "c"], target="b")
    tracemalloc.start()
    series = opened(form, features=["a", "b", "c"], target="b")
    Standard.fit(series)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000 * 3 * 8 / 2


@pytest.mark.parametrize("form", STREAMED)
def test_a_streamed_sequence_can_be_sent_to_another_process(opened, form):
    series = opened(form, features=["a", "b"], target="b")
    sent = pickle.dumps(series)
    assert len(sent) < 3000  # without the rows that it keeps
    arrived = pickle.loads(sent)
    rows = np.array([399, 0, 17])
    np.testing.assert_array_equal(arrived.take(rows)[0], series.take(rows)[0])


@pytest.mark.parametrize("form", [name for name in STREAMED if name not in BY_NUMBER and "table" not in name])
def test_arrow_keeps_dates_and_nulls(tmp_path, form):
    dates = np.datetime64("2014-01-01", "us") + np.arange(5).astype("timedelta64[h]")
    columns = {"t": dates, "v": [1, 2, None, 4, 5], "n": [0.5, 1.5, 2.5, 3.5, 4.5]}
    WRITERS[form](tmp_path / f"data.{form}", columns)
    series = Sequence.open(tmp_path / f"data.{form}", time="t", target="n", missing="cut", gap="1h")
    assert series.segments == ((0, 1), (3, 4))
    np.testing.assert_array_equal(series.times, dates)
    with pytest.raises(DataError, match=r"row 2, column 'v': the value is missing; fill it in"):
        Sequence.open(tmp_path / f"data.{form}", time="t", target="n")
    with pytest.raises(DataError, match=r"column 't' expects numbers, got timestamp\[us\]; leave it out"):
        Sequence.open(tmp_path / f"data.{form}", target="n")


def test_an_array_of_one_axis_is_one_column(tmp_path):
    write_hdf5(tmp_path / "a.h5", {"x": np.arange(50)})
    write_zarr(tmp_path / "a.zarr", {"x": np.arange(50)})
    zarr.create_array(tmp_path / "root.zarr", data=np.arange(50))
    for name in ("a.h5", "a.zarr", "root.zarr"):
        series = Sequence.open(tmp_path / name)
        assert series.read_x(30, 50, np.float64).ravel().tolist() == list(range(30, 50))
        assert series.read_y(3, 4).tolist() == [[4]]


def test_times_of_a_table_in_hdf5_may_be_text(tmp_path):
    times = ["2014-01-01", "2014-01-02", "2014-01-04", "2014-01-05"]
    write_hdf5(tmp_path / "a.h5", {"t": times, "v": np.arange(4.0)})
    series = Sequence.open(tmp_path / "a.h5", time="t", gap="1d")
    assert series.segments == ((0, 1), (2, 3))


TABLES = [name for name in WRITERS if name not in BY_NUMBER]


def write_text(path, form, columns):
    """Zarr keeps text of one width, in its older format."""
    if form != "table.zarr":
        WRITERS[form](path, columns)
        return
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for name, column in columns.items():
        group.create_array(name, data=np.asarray(column), chunks=(19,))


@pytest.mark.parametrize("form", TABLES)
@pytest.mark.parametrize(
    "text",
    [
        [f"2014-01-{day:02} 00:30" for day in range(1, 30)],
        [f"2014-01-{day:02}T00:30:00.25+02:00" for day in range(1, 30)],
        [f" {day / 4} " for day in range(29)],
    ],
    ids=["dates", "zone", "numbers"],
)
def test_text_times_of_a_table_are_those_of_csv(tmp_path, form, text):
    columns = {"t": text * 10, "v": np.arange(290.0)}
    write_text(tmp_path / f"a.{form}", form, columns)
    pairs = zip(columns["t"], columns["v"], strict=True)
    (tmp_path / "a.csv").write_text("t,v\n" + "".join(f"{t},{v}\n" for t, v in pairs))
    series, csv = (Sequence.open(tmp_path / name, time="t", target="v") for name in (f"a.{form}", "a.csv"))
    assert series.times.dtype == csv.times.dtype
    np.testing.assert_array_equal(series.times, csv.times)
    assert len(series.segments) == 10
    assert series.segments == csv.segments


@pytest.mark.parametrize("form", TABLES)
def test_text_that_is_no_time_is_told_with_its_row(tmp_path, form):
    def open_with(place, value):
        text = [f"2014-01-01 {hour // 60:02}:{hour % 60:02}" for hour in range(290)]
        text[place] = value
        path = tmp_path / f"{place}.{form}"
        write_text(path, form, {"t": text, "v": np.arange(290.0)})
        Sequence.open(path, time="t", target="v")

    with pytest.raises(
        DataError,
        match=r"row 201, column 't' expects a time, got '2014-13-01'; the times before it are read with the year first",
    ):
        open_with(201, "2014-13-01")
    with pytest.raises(DataError, match="expects a time for each row, got none at row 7"):
        open_with(7, "")


def test_text_times_that_are_missing_or_of_two_kinds_are_refused(tmp_path):
    def write(times):
        pq.write_table(pa.table({"t": times, "v": np.arange(4.0)}), tmp_path / "a.parquet", row_group_size=2)
        return tmp_path / "a.parquet"

    with pytest.raises(DataError, match="expects a time for each row, got none at row 3"):
        Sequence.open(write(["2014-01-01", "2014-01-02", "2014-01-03", None]), time="t", target="v")
    with pytest.raises(
        DataError, match="row 2, column 't' expects a time, got '3'; the times before it are read with the year"
    ):
        Sequence.open(write(["2014-01-01", "2014-01-02", "3", "4"]), time="t", target="v")


@pytest.mark.parametrize("form", ["csv", *WRITERS])
def test_targets_can_be_read_up_to_the_last_row(opened, form):
    series = opened(form, features=["a", "b"], target="b")
    beside = opened(form, features=["a"], target=["b"])
    for rows in (series, beside):
        assert rows.read_y(399, 400).tolist() == [[0]]
        assert rows.read_y(400, 400).shape == (0, 1)
        assert rows.read_y(398, 400, np.float64)[:, 0].tolist() == [table(400)["b"][399], 0]
        assert rows.read_x(3, 3).shape == (0, rows.features)
        assert rows.read_x(400, 400).shape == (0, rows.features)
        assert rows.take(np.zeros((0, 3), int))[0].shape == (0, 3, rows.features)


@pytest.mark.parametrize("form", ["h5", "zarr"])
def test_an_array_that_stands_alone_is_a_column_of_its_name(tmp_path, form):
    path = tmp_path / f"a.{form}"
    (write_hdf5 if form == "h5" else write_zarr)(path, {"deep/load": np.arange(9)})
    for array in (None, "deep"):
        series = Sequence.open(path, target="load", array=array)
        assert series.feature_names == ("load",)
        assert series.read_x(7, 9).tolist() == [[7], [8]]
    assert Sequence.open(path, target=0, array="deep/load").feature_names == ("0",)


@pytest.mark.parametrize("features", [[0, 1, 2], [1, 2], [2, 0]])
def test_a_mapped_sequence_is_sent_as_the_place_where_it_stands(tmp_path, features):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32))
    series = Sequence.open(tmp_path / "a.npy", features=features, target=1)
    memmap = np.load(tmp_path / "a.npy", mmap_mode="r")
    parts = (*series.split(), series, Sequence(memmap[100:4000, 1:], target=0), Sequence(memmap[::-2], target=0))
    for part in parts:
        sent = pickle.dumps(part)
        assert len(sent) < 3000
        arrived = pickle.loads(sent)
        assert (arrived.segments, arrived.rows) == (part.segments, part.rows)
        rows = np.append(part.segments[0].start + np.arange(40), part.rows - 1)
        for found, expected in zip(arrived.take(rows), part.take(rows), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_what_is_in_memory_alone_is_sent_whole(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((50, 1)))
    changed = np.load(tmp_path / "a.npy", mmap_mode="c")
    changed[3] = 7
    for array in (changed, np.array(changed)):
        assert pickle.loads(pickle.dumps(Sequence(array))).read_x(3, 4).tolist() == [[7]]


def test_a_mapped_file_that_is_gone_or_shorter_is_told_where_it_arrives(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((50, 1)))
    sent = pickle.dumps(Sequence.open(path))
    np.save(path, np.zeros((40, 1)))
    with pytest.raises(SourceError, match=r"a.npy' is shorter than when rows of it were sent here; open it anew"):
        pickle.loads(sent)
    path.unlink()
    with pytest.raises(SourceError, match=r"a.npy', rows of which were sent here, cannot be read: No such file"):
        pickle.loads(sent)


# one of several arrays


@pytest.fixture(params=["h5", "zarr"])
def several(request, tmp_path):
    """A file that holds several arrays: two alone, a table, one of three axes, text in HDF5."""
    path = tmp_path / f"data.{request.param}"
    arrays = {
        "x": np.arange(12.0).reshape(6, 2),
        "g/a": np.arange(5.0),
        "g/b": np.arange(5) * 2,
        "odd/a": np.arange(5.0),
        "odd/b": np.arange(4.0),
        "mixed/a": np.zeros((5, 2)),
        "mixed/b": np.zeros(5),
        "alone/deep/one": np.arange(3.0),
        "cube": np.zeros((4, 3, 2)),
        "empty": np.zeros((0, 2)),
        "complex": np.zeros(4, complex),
    }
    if request.param == "h5":
        write_hdf5(path, arrays)
    else:
        write_zarr(path, arrays)
    return path


def test_array_names_an_array_or_a_group(several):
    assert Sequence.open(several, array="x", target=1).read_x(2, 3).tolist() == [[4, 5]]
    assert Sequence.open(several, array="/g/b").read_x(2, 3).tolist() == [[4]]
    table = Sequence.open(several, array="g/", target="b")
    assert (table.feature_names, table.target_names) == (("a", "b"), ("b",))
    assert table.read_x(1, 3).tolist() == [[1, 2], [2, 4]]
    assert Sequence.open(several, array="alone").read_x(0, 2).tolist() == [[0], [1]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (None, r"data.*' holds 11 arrays \(.*\); name one: array='alone/deep/one'"),
        ("y", "has no array 'y', asked for as array; its arrays are .*x"),
        ("g/aa", "has no array 'g/aa', asked for as array; .*; did you mean 'g/a'"),
        ("odd", r"group 'odd' of .* expects arrays of one length as its columns, got \(a: 5, b: 4\); .*array='odd/a'"),
        ("mixed", r"group 'mixed' of .* holds 2 arrays \(a \(5, 2\), b \(5,\)\); name one: array='mixed/a'"),
        ("cube", r"array 'cube' expects an array of shape \(N,\) or \(N, F\), got \(4, 3, 2\); .* Sequence.panel"),
        ("empty", "array 'empty' has no rows"),
        ("complex", "array 'complex' expects numbers, got dtype complex128; convert it"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(several, array, message):
    with pytest.raises(DataError, match=message):
        Sequence.open(several, array=array)


def test_columns_of_arrays_that_are_not_there_are_refused(several):
    with pytest.raises(DataError, match="no column 2, asked for as target; its columns are 0, 1"):
        Sequence.open(several, array="x", target=2)
    with pytest.raises(DataError, match="no column 'c', asked for as time; its columns are a, b"):
        Sequence.open(several, array="g", time="c", target="b")


def test_a_file_that_holds_no_or_only_text_arrays_is_refused(tmp_path):
    write_hdf5(tmp_path / "none.h5", {"scalar": 3.0})
    zarr.open_group(tmp_path / "none.zarr", mode="w")
    for name in ("none.h5", "none.zarr"):
        with pytest.raises(DataError, match="holds no array"):
            Sequence.open(tmp_path / name)
    write_hdf5(tmp_path / "text.h5", {"x": ["a", "b"]})
    with pytest.raises(DataError, match=r"text.h5', array 'x' expects numbers, got text; convert it"):
        Sequence.open(tmp_path / "text.h5")
    write_hdf5(tmp_path / "table.h5", {"x": ["a", "b"], "v": [1, 2]})
    with pytest.raises(DataError, match=r"column 'x' expects numbers, got text; leave it out: features="):
        Sequence.open(tmp_path / "table.h5", target="v")
    zarr.create_array(tmp_path / "root.zarr", data=np.arange(5))
    with pytest.raises(DataError, match=r"root.zarr' is one array, got array='x'; leave it out"):
        Sequence.open(tmp_path / "root.zarr", array="x")


def test_array_is_for_files_that_name_arrays(opened):
    for form in ("csv", "npy", "parquet", "arrow"):
        with pytest.raises(DataError, match=r"holds no arrays by name, got array='x', which is for .h5, .hdf5, .zarr"):
            opened(form, array="x")


def test_an_npy_array_of_three_axes_is_sent_to_panel(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 3, 2)))
    with pytest.raises(DataError, match=r"got \(4, 3, 2\); give samples \(S, T, F\) to Sequence.panel"):
        Sequence.open(tmp_path / "a.npy")


# segments


def test_segments_given_to_open_are_checked_like_any(opened):
    with pytest.raises(DataError, match=r"data.csv' expects segments with 0 <= start < stop <= 400, got \(5, 401\)"):
        opened("csv", features=["a"], target="a", segments=[(5, 401)])
    with pytest.raises(DataError, match="takes its segments from segments= or from time=, got both"):
        opened("csv", features=["a"], target="a", time="t", segments=[(5, 40)])


# what cannot be read


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("parquet", "is no Parquet file"),
        ("arrow", "is no Arrow IPC file: .*; write it with pyarrow.feather.write_feather"),
        ("feather", "is no Arrow IPC file"),
        ("h5", "is no HDF5 file that can be read"),
        ("hdf5", "is no HDF5 file that can be read"),
        ("zarr", "is no Zarr folder that can be read"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path, form, message):
    path = tmp_path / f"data.{form}"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match=message):
        Sequence.open(path)
    path.write_bytes(b"")
    with pytest.raises(SourceError, match=message):
        Sequence.open(path)


def test_a_folder_that_is_no_zarr_is_refused(tmp_path):
    (tmp_path / "data.zarr").mkdir()
    with pytest.raises(SourceError, match="is no Zarr folder that can be read"):
        Sequence.open(tmp_path / "data.zarr")


@pytest.mark.parametrize("form", ["parquet", "packed.arrow", "packed.h5", "zarr"])
def test_damage_inside_a_file_is_told(opened, tmp_path, form):
    opened(form, target="b")
    path = tmp_path / f"data.{form}"
    file = next(path.glob("g/x/c/3/1")) if form == "zarr" else path
    whole = bytearray(file.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 1500] = bytes(255 - byte for byte in whole[middle : middle + 1500])
    file.write_bytes(whole)
    with pytest.raises(SourceError, match=r"data.*' cannot be read: .*; it seems to be damaged, make it again"):
        opened(form, target="b")


@pytest.mark.parametrize("form", ["arrow", "table.hdf5"])
def test_a_table_without_rows_is_refused(tmp_path, form):
    WRITERS[form](tmp_path / f"data.{form}", {"a": np.zeros(0)})
    with pytest.raises(DataError, match="has no rows"):
        Sequence.open(tmp_path / f"data.{form}")


@pytest.mark.parametrize(
    ("form", "library", "extra"),
    [
        ("h5", "h5py", "hdf5"),
        ("zarr", "zarr", "zarr"),
        ("arrow", "pyarrow", "parquet"),
        ("feather", "pyarrow", "parquet"),
    ],
)
def test_a_library_that_is_not_installed_is_named(opened, monkeypatch, form, library, extra):
    opened(form, target="b")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SourceError, match=rf"needs {library}, which is not installed; pip install 'rnnkit\[{extra}\]'"):
        opened(form, target="b")


def test_rnnkit_imports_no_library_of_a_format():
    code = "import sys, rnnkit; sys.exit(any(name in sys.modules for name in ('pyarrow', 'h5py', 'zarr')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# in a config


def test_a_config_names_an_array_its_segments_and_a_folder_for_big_csv(tmp_path, monkeypatch):
    write_hdf5(tmp_path / "data.h5", {f"g/{name}": column for name, column in table(60).items()} | {"x": np.zeros(3)})
    write_csv(tmp_path / "data.csv", table(60))
    monkeypatch.chdir(tmp_path)
    rest = '[[model.layers]]\ntype = "LSTM"\nhidden = 2\n[[model.layers]]\ntype = "Dense"\n'
    data = 'features = ["a"]\ntarget = "b"\nsegments = [[0, 40], [45, 60]]\n'
    for name, option in (("h5", 'array = "g"'), ("csv", 'memmap = "maps"')):
        (tmp_path / "c.toml").write_text(f'[data]\npath = "data.{name}"\n{option}\n{data}{rest}')
        series = build(read(tmp_path / "c.toml")).data.series
        assert series.segments == ((0, 39), (45, 59))
    assert len(list((tmp_path / "maps").iterdir())) == 1
    (tmp_path / "c.toml").write_text(f'[data]\npath = "data.h5"\narray = "h"\n{data}{rest}')
    with pytest.raises(ConfigError, match=r"line 3, data.array: .* has no array 'h', asked for as array"):
        build(read(tmp_path / "c.toml"))
    (tmp_path / "c.toml").write_text(f'[data]\npath = "data.csv"\n{data.replace("[45, 60]", "[45]")}{rest}')
    with pytest.raises(ConfigError, match=r"line 5, data.segments: .* expects segments=\[\(start, stop\), ...\]"):
        build(read(tmp_path / "c.toml"))
