import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rnnkit as rk
from rnnkit.data import Sequence
from rnnkit.errors import DataError, RnnkitWarning, SourceError

EXAMPLES = Path(__file__).parents[2] / "examples" / "data"


@pytest.fixture
def write(tmp_path):
    """Write text or bytes to `data.csv` and hand back the path."""

    def write(content):
        path = tmp_path / "data.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def parquet(tmp_path):
    """Write columns to `data.parquet`, three rows a group, and hand back the path."""

    def write(**columns):
        path = tmp_path / "data.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=3)
        return path

    return write


def values(series, columns=slice(None)):
    return series.read_x(0, series.rows, np.float64)[:, columns].tolist()


# the example files


def test_a_regular_series_is_one_segment():
    series = Sequence.open(EXAMPLES / "nyc_taxi.csv", time="timestamp", target="value", gap="30min")
    assert series.segments == ((0, 10_319),)
    assert (series.name, series.rows, series.target_columns) == ("nyc_taxi", 10_320, (0,))
    assert series.read_x(0, 2).tolist() == [[10844], [8127]]
    assert series.read_y(10_318, 10_319).tolist() == [[26288]]


def test_time_that_steps_back_cuts_the_machine():
    path = EXAMPLES / "machine_temperature_system_failure.csv"
    series = Sequence.open(path, time="timestamp", target="value")
    assert len(series.segments) == 2
    assert len(series) == 22_695 - 2
    line = path.read_text().splitlines()
    start = series.segments[1].start
    assert line[1 + start] < line[start]  # the header is line 0: the segment's first time is before the last one


def test_gaps_cut_the_office_into_eleven():
    path = EXAMPLES / "ambient_temperature_system_failure.csv"
    series = Sequence.open(path, time="timestamp", target="value", gap="1h")
    assert len(series.segments) == 11
    with pytest.warns(RnnkitWarning, match=r"steps of 1 h, but 10 steps are longer, .* of 2 h to line 580"):
        assert len(Sequence.open(path, time="timestamp", target="value").segments) == 1


# CSV


def test_csv_with_byte_order_mark_blank_end_quotes_and_crlf(write):
    path = write('\ufefftime, value\r\n0,"1.5"\r\n1, 2e1 \r\n\r\n\r\n')
    assert values(Sequence.open(path, time="time")) == [[1.5], [20.0]]


def test_csv_columns_are_chosen_by_name(write):
    path = write("a,note,b,c\n1,x,2,3\n4,y,5,6\n7,z,8,9\n")
    series = Sequence.open(path, features=["c", "a"], target="a", name="mine")
    assert (series.name, series.target_columns, series.horizon) == ("mine", (1,), 1)
    assert values(series) == [[3, 1], [6, 4], [9, 7]]
    assert series.read_y(0, 2, np.float64).tolist() == [[4], [7]]
    other = Sequence.open(path, features=["a"], target=["b", "c"])
    assert other.target_columns is None
    assert other.read_y(0, 2, np.float64).tolist() == [[5, 6], [8, 9]]


def test_csv_without_a_target_takes_the_only_feature(write):
    series = Sequence.open(write("v\n1\n2\n3\n"))
    assert series.target_columns == (0,)
    assert len(series) == 2


def test_csv_in_several_chunks_is_one_series(write, monkeypatch):
    monkeypatch.setattr("rnnkit.data.text.CELLS", 10)
    rows = [f"{row},{row / 8}" for row in range(1000)]
    series = Sequence.open(write("t,v\n" + "\n".join(rows)), time="t", gap=1)
    assert values(series) == [[row / 8] for row in range(1000)]
    rows[700] = "700,oops"
    with pytest.raises(DataError, match="line 702, column 'v' expects a number, got 'oops'"):
        Sequence.open(write("t,v\n" + "\n".join(rows)), time="t")


def test_csv_whole_numbers_outside_the_features_are_labels_at_horizon_0(write):
    path = write("x,class,y\n1,0,0.5\n2,2,1\n3,1,2\n")
    series = Sequence.open(path, features=["x"], target="class", horizon=0)
    assert series.labels
    assert series.read_y(0, 3).tolist() == [0, 2, 1]
    assert not Sequence.open(path, features=["x"], target="class", horizon=1).labels
    assert not Sequence.open(path, features=["x"], target="y", horizon=0).labels
    with pytest.warns(rk.RnnkitWarning, match="reads its target 'class' among the features at horizon 0"):
        assert not Sequence.open(path, features=["x", "class"], target="class", horizon=0).labels


def test_csv_empty_cells_are_missing(write):
    path = write("a,b\n1,1\n2,\n3,3\n nan ,4\n5,5\n6,6\n")
    with pytest.raises(
        DataError, match=r"line 3, column 'b': the value is missing, one of 2 in 2 rows; .*missing='cut'"
    ):
        Sequence.open(path, target="a")
    series = Sequence.open(path, target="a", missing="cut", short="drop")
    assert series.segments == ((4, 5),)
    labels = Sequence.open(write("x,y\n1,0\n2,\n3,1\n"), features="x", target="y", horizon=0, missing="cut")
    assert labels.labels
    assert labels.segments == ((0, 1), (2, 3))
    assert labels.read_y(2, 3).tolist() == [1]


@pytest.mark.parametrize("word", ["", " ", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", " NA "])
def test_csv_words_for_missing_values_are_missing(write, word):
    path = write(f"a,b\n1,1\n2,{word}\n3,3\n4,4\n")
    with pytest.raises(DataError, match=r"line 3, column 'b': the value is missing; fill it in"):
        Sequence.open(path, target="a")
    series = Sequence.open(path, target="a", missing="cut", short="drop")
    assert series.segments == ((2, 3),)
    assert values(series)[2:] == [[3, 3], [4, 4]]


def test_missing_values_are_counted_in_all():
    x = np.ones((200_000, 2))
    x[5, 1] = x[5, 0] = x[199_999, 0] = np.nan
    y = np.ones(200_000)
    with pytest.raises(DataError, match="row 5, column 0 of x: the value is missing, one of 3 in 2 rows; fill them in"):
        Sequence(x, y)
    y[7] = np.nan
    with pytest.raises(DataError, match="one of 4 in 3 rows"):
        Sequence(x, y)
    with pytest.raises(DataError, match="one of 2 in this row"):
        Sequence(x, y, segments=[(0, 6), (8, 100)])


def test_csv_a_target_may_stand_among_features_and_beside_them(write):
    series = Sequence.open(write("a,b,c\n1,2,3\n4,5,6\n7,8,9\n"), features=["a", "b"], target=["b", "c"])
    assert values(series) == [[1, 2], [4, 5], [7, 8]]
    assert series.read_y(0, 2, np.float64).tolist() == [[5, 6], [8, 9]]


def test_csv_a_blank_line_between_rows_is_not_passed_over(write):
    with pytest.raises(DataError, match="line 3 has 0 cells, but the header names 2 columns"):
        Sequence.open(write("a,b\n1,1\n\n3,3\n"), target="a")
    with pytest.raises(DataError, match="line 3, column 'a': the value is missing"):
        Sequence.open(write("a\n1\n\n3\n"))


def test_csv_times_with_a_zone_are_compared_in_utc(write):
    path = write("t,v\n2014-01-01T02:00:00+02:00,1\n2014-01-01T00:30:00Z,2\n2014-01-01 01:31:00-00:00,3\n")
    assert Sequence.open(path, time="t", gap="1h", short="drop", zone="UTC").segments == ((0, 1),)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "is empty; a CSV file begins with a line of column names"),
        ("a,b\n", {"target": "a"}, "has a header line and no rows"),
        ("a,b\n\n\n", {"target": "a"}, "has a header line and no rows"),
        ("1.5,2\n2,3\n", {}, r"begins with numbers \(1.5, 2\); put a line of column names first, or say header=False"),
        ("a,b\n1,2\n3\n", {"target": "a"}, "line 3 has 1 cell, but the header names 2 columns"),
        ("a,b\n1,2\n3,4,5\n", {"target": "a"}, "line 3 has 3 cells, but the header names 2 columns"),
        (
            "a,b\n1,2\n3,four\n",
            {"target": "a"},
            "line 3, column 'b' expects a number, got 'four'; .*features=",
        ),
        (
            "when,b\n2014-01-01,2\n",
            {"target": "b"},
            r"line 2, column 'when' expects a number, got '2014-01-01'; correct it, "
            r"or leave it out: features=\['b'\], or say time='when' if it holds the times",
        ),
        ("a,b\n1,inf\n2,3\n", {"target": "a"}, "line 2, column 'b': the value is infinite; correct it"),
        ("a,b\n1,1\n2,3\n", {"target": "c"}, "has no column 'c', asked for as target; its columns are a, b"),
        ("value,b\n1,1\n", {"target": "valeu"}, "no column 'valeu'.*; did you mean 'value'"),
        ("a,b\n1,1\n2,3\n", {"time": "t", "target": "a"}, "no column 't', asked for as time"),
        ("a,b\n1,1\n2,3\n", {"features": ["z"], "target": "a"}, "no column 'z', asked for as features"),
        ("a,b\n1,1\n2,3\n", {"features": ["a", "a"], "target": "b"}, "features names column 'a', .* twice"),
        ("a,a\n1,1\n2,3\n", {"target": "a"}, "column 'a', which stands there twice"),
        ("a,b\n1,1\n2,3\n", {"features": [], "target": "b"}, "at least one column for features, got none"),
        ("t,b\n2014-01-01,1\nsoon,2\n", {"time": "t"}, "line 3, column 't' expects a time, got 'soon'"),
        ("t,b\n2014-01-01,1\n,2\n", {"time": "t"}, "expects a time for each row, got none at line 3"),
        ("t,b\n1,1\n2014-01-01,2\n", {"time": "t"}, "line 3, column 't' expects a time, got '2014-01-01'"),
        ("t,b\n1,1\nnan,2\n", {"time": "t"}, "expects a time for each row, got none at line 3"),
        (
            "a\n1\n2\n",
            {"horizon": 2},
            "no row with a target: the longest run has 2 rows, and horizon=2 needs 3",
        ),
        (
            "t,b\n0,1\n1,1\n9,1\n",
            {"time": "t", "gap": 1},
            r"data.csv': segment 1 \(line 4\) has 1 row, but horizon=1 needs at least 2; leave out .*short='drop'",
        ),
        (
            "t,b\n0,1\n1,1\n2,1\n8,1\n9,1\n",
            {"time": "t", "gap": 1, "horizon": 2},
            r"segment 1 \(lines 5 to 6\) has 2 rows, .*; use horizon <= 1, or leave out",
        ),
        ("a\n1\n", {}, "the longest run has 1 row, and horizon=1 needs 2"),
        (
            "a,note,b,kind,v\n1,x,2,y,3\n",
            {"target": "v"},
            r"column 'note' expects .*, or leave it out: features=\['a', 'b', 'v'\], or say series_id='note'",
        ),
        (
            "a,note,v\n1,x,3\n",
            {"features": ["note", "a"], "target": "v"},
            r"column 'note' expects a number, got 'x'; .*, or leave it out: features=\['a'\], or say series_id='note'",
        ),
        (
            "a,note\n1,x\n",
            {"features": "a", "target": "note"},
            "column 'note' expects a number, got 'x'; correct it, or choose a column of numbers$",
        ),
        ("note\nx\n", {}, "column 'note' expects a number, got 'x'; correct it, or choose a column of numbers$"),
        (
            "when,v\n2014-01-01,2\n2014-01-02,2\n",
            {},
            r"has 2 columns \(when, v\), and 'when' seems to hold the times; say time='when'$",
        ),
        (
            "a,when,v\n1,2014-01-01 00:30:00,2\n",
            {},
            "'when' seems to hold the times; say time='when', and which to predict: target='v', or a list$",
        ),
        ("a\n1\n2\n", {"gap": 1}, "got gap=1 and no time"),
        ('a,b\n1,"2\n3,4\n', {"target": "a"}, "line 2: Value with unterminated quote found; correct the quoting"),
    ],
)
def test_csv_that_cannot_be_used_is_refused(write, content, options, message):
    with pytest.raises(DataError, match=message) as caught:
        Sequence.open(write(content), **options)
    assert "data.csv'" in str(caught.value)


def test_csv_times_of_two_kinds_in_two_chunks_are_refused(write, monkeypatch):
    monkeypatch.setattr("rnnkit.data.text.CELLS", 2)
    with pytest.raises(
        DataError, match="line 3, column 't' expects a time, got '2014-01-01'; those before it are numbers"
    ):
        Sequence.open(write("t,b\n1,1\n2014-01-01,2\n"), time="t")


def test_csv_that_is_not_in_its_encoding_is_refused(write):
    path = write("a\n1\n2\n\xe9\n".encode("latin-1"))
    with pytest.raises(SourceError, match=r"is not text in utf-8 .* at byte 6"):
        Sequence.open(path, encoding="utf-8")


# times


def test_files_keep_their_times(write, parquet, tmp_path):
    dates = np.array(["2014-01-01T00:00", "2014-01-01T01:30"], "datetime64[us]")
    path = write("t,v\n2014-01-01,1\n2014-01-01 01:30,2\n")
    assert np.array_equal(Sequence.open(path, time="t").times, dates)
    assert Sequence.open(path, time="t").times.nbytes == 16
    assert Sequence.open(write("v\n1\n2\n")).times is None
    assert Sequence.open(write("t,v\n3,1\n4,2\n"), time="t").times.tolist() == [3, 4]
    assert np.array_equal(Sequence.open(parquet(t=dates, v=[1, 2]), time="t").times, dates)
    np.save(tmp_path / "data.npy", np.array([[3.0, 1.0], [4.0, 2.0]]))
    assert Sequence.open(tmp_path / "data.npy", time=0).times.tolist() == [3, 4]


# npy


def test_npy_is_mapped_and_its_columns_are_numbers(tmp_path):
    path = tmp_path / "data.npy"
    table = np.random.default_rng(0).normal(size=(6, 4))
    table[:, 0] = [0, 1, 2, 7, 8, 9]
    np.save(path, table)
    series = Sequence.open(path, time=0, features=[1, 2], target=2, gap=1)
    assert series.segments == ((0, 2), (3, 5))
    np.testing.assert_array_equal(series.read_x(0, 6, np.float64), table[:, 1:3])
    np.testing.assert_array_equal(series.read_y(0, 2, np.float64), table[1:3, 2:3])
    picked = Sequence.open(path, features=[3, 1], target=[2])
    rows = np.array([4, 0, 0])
    x, y = picked.take(rows, np.float64)
    np.testing.assert_array_equal(x, table[rows][:, [3, 1]])
    np.testing.assert_array_equal(y, table[rows + 1][:, [2]])


def test_npy_integers_outside_the_features_are_labels_at_horizon_0(tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, np.array([[5, 0], [6, 1], [7, 0]]))
    assert Sequence.open(path, features=0, target=1, horizon=0).read_y(0, 3).tolist() == [0, 1, 0]
    assert not Sequence.open(path, features=0, target=1).labels


def test_npy_of_one_axis_is_one_column(tmp_path):
    np.save(tmp_path / "data.npy", np.arange(5))
    assert values(Sequence.open(tmp_path / "data.npy")) == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize(
    ("array", "options", "error", "message"),
    [
        (
            np.zeros((3, 2)),
            {"target": 2},
            DataError,
            "no column 2, asked for as target; its columns are 0, 1",
        ),
        (np.zeros((3, 2)), {"target": "a"}, DataError, "no column 'a', asked for as target"),
        (np.zeros((3, 2, 2)), {}, DataError, r"got \(3, 2, 2\)"),
        (np.zeros((0, 2)), {}, DataError, "at least one row"),
        (np.array(["a"]), {}, DataError, "to be real numbers, got dtype <U1"),
        (
            np.array([[1, np.nan], [2, 3]]),
            {"target": 0},
            DataError,
            "data.npy', row 0, column 1: the value is missing",
        ),
        (np.array([None]), {}, SourceError, "is no array that can be mapped"),
    ],
)
def test_npy_that_cannot_be_used_is_refused(tmp_path, array, options, error, message):
    np.save(tmp_path / "data.npy", array)
    with pytest.raises(error, match=message):
        Sequence.open(tmp_path / "data.npy", **options)


# Parquet


def test_parquet_reads_the_row_groups_it_needs(parquet, monkeypatch):
    monkeypatch.setattr("rnnkit.data.tables.KEPT", 0)
    path = parquet(t=np.arange(10), a=np.arange(10.0), b=np.arange(10) * 2)
    series = Sequence.open(path, time="t", features=["b", "a"], target="a")
    read = []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda self, i, **k: read.append(i) or original(self, i, **k))
    assert series.read_x(1, 2, np.float64).tolist() == [[2, 1]]
    assert set(read) == {0}
    read.clear()
    assert series.read_x(0, 3, np.float64).tolist() == [[0, 0], [2, 1], [4, 2]]
    assert not read  # the group is still there
    x, y = series.take(np.array([[2], [8], [-1]]), np.float64)
    assert x.tolist() == [[[4, 2]], [[16, 8]], [[0, 0]]]
    assert y.tolist() == [[[3]], [[9]], [[0]]]
    assert values(series) == [[2.0 * row, row] for row in range(10)]


def test_parquet_times_and_missing_values(parquet):
    time = np.datetime64("2014-01-01") + np.array([0, 1, 2, 5, 6, 7]).astype("timedelta64[h]").astype("timedelta64[s]")
    path = parquet(t=time, v=[0, 1, 2, 3, None, 5])
    with pytest.raises(DataError, match=r"data.parquet', row 4, column 'v': the value is missing"):
        Sequence.open(path, time="t")
    assert Sequence.open(path, time="t", gap="1h", missing="cut", short="drop").segments == ((0, 2),)


def test_parquet_integers_outside_the_features_are_labels_at_horizon_0(parquet):
    path = parquet(x=[0.5, 1.5], c=[1, 0], f=[1.0, 0.0])
    assert Sequence.open(path, features="x", target="c", horizon=0).read_y(0, 2).tolist() == [1, 0]
    assert not Sequence.open(path, features="x", target="f", horizon=0).labels


def test_parquet_that_cannot_be_used_is_refused(parquet, tmp_path):
    path = parquet(a=["x", "y"], b=[1, 2])
    with pytest.raises(DataError, match="column 'a' expects numbers, got string; leave it out"):
        Sequence.open(path, target="b")
    with pytest.raises(DataError, match="no column 'c', asked for as target; its columns are a, b"):
        Sequence.open(path, target="c")
    with pytest.raises(DataError, match="has no rows"):
        Sequence.open(parquet(a=np.zeros(0)))
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match="is no Parquet file"):
        Sequence.open(tmp_path / "text.parquet")


def test_parquet_without_pyarrow_says_what_to_install(parquet, monkeypatch):
    path = parquet(a=[1.0, 2.0])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(SourceError, match=r"needs pyarrow, which is not installed; pip install 'rnnkit\[parquet\]'"):
        Sequence.open(path)


def test_the_data_layer_does_not_import_pyarrow():
    code = "import sys, rnnkit.data; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# any file


def test_files_that_cannot_be_opened_are_refused(tmp_path):
    for suffix in ("csv", "npy", "parquet"):
        with pytest.raises(SourceError, match=f"found no file .*nothing.{suffix}'; check the path"):
            Sequence.open(tmp_path / f"nothing.{suffix}")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(SourceError, match=r"expects a file, got the folder .*folder.csv"):
        Sequence.open(tmp_path / "folder.csv")
    with pytest.raises(SourceError, match=r"ends in .csv, .*, .npy, .parquet, .*, got 'data.cvs'; did you mean '.csv'"):
        Sequence.open("data.cvs")


def test_a_file_that_may_not_be_read_is_refused(write, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, os.strerror(13))

    path = write("a\n1\n2\n")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceError, match=r"cannot read .*data.csv': Permission denied"):
        Sequence.open(path)
