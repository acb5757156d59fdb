"""A CSV larger than memory is converted once, in bounded memory, and read from there until it changes."""

import gzip
import json
import os
import pickle
import time
import tracemalloc
import warnings

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.data import Sequence, Standard
from rnnkit.data.columns import Wanted
from rnnkit.data.converted import read_converted
from rnnkit.errors import DataError, SourceError

WANTED = Wanted("t", ["a", "b"], "b", 1)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Few rows in a block, so that a small file has many."""
    monkeypatch.setattr("rnnkit.data.text.CELLS", 60)


@pytest.fixture
def big(tmp_path):
    """A CSV file with dates, numbers, a missing value, a class, and scattered series."""
    rng = np.random.default_rng(2)
    dates = np.datetime64("2014-01-01T00:00:00.000001") + np.arange(200).astype("timedelta64[h]")
    lines = ["t,server,a,b,class"]
    for row in range(200):
        a = "" if row == 50 else repr(rng.normal() / 3)
        lines.append(f"{dates[row]},web-{row % 3},{a},{rng.normal() * 1e30!r},{row % 4}")
    path = tmp_path / "big.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def conversions(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_equal(series, csv):
    assert (series.name, series.segments, series.series_ids) == (csv.name, csv.segments, csv.series_ids)
    assert (series.labels, series.target_columns) == (csv.labels, csv.target_columns)
    np.testing.assert_array_equal(series.read_x(0, series.rows, np.float64), csv.read_x(0, csv.rows, np.float64))
    np.testing.assert_array_equal(series.read_y(0, series.rows, np.float64), csv.read_y(0, csv.rows, np.float64))
    rows = np.array([[3, -1], [csv.rows - 1, 0]])
    for found, expected in zip(series.take(rows, np.float64), csv.take(rows, np.float64), strict=True):
        np.testing.assert_array_equal(found, expected)
    if csv.times is not None:
        assert series.times.dtype == csv.times.dtype
        np.testing.assert_array_equal(series.times, csv.times)


@pytest.mark.parametrize(
    "options",
    [
        {"time": "t", "features": ["a", "b"], "target": "b", "missing": "cut", "gap": "1h"},
        {"features": ["b"], "target": ["class", "b"], "horizon": 2},
        {"features": ["b"], "target": "class", "horizon": 0},
        {"features": ["b"], "target": "a", "horizon": 0, "missing": "cut"},
        {"features": ["b"], "target": "class", "horizon": 0, "score": "last", "segments": [(0, 60), (70, 200)]},
        {"time": "t", "series_id": "server", "features": ["b"], "target": "b"},
        {"time": "t", "series_id": "server", "features": ["b"], "target": "class", "horizon": 0, "only": "web-1"},
    ],
)
def test_a_conversion_equals_the_file_bit_for_bit(big, tmp_path, options):
    csv = Sequence.open(big, **options)
    for _ in range(2):  # when it is made, and when it is found
        series = Sequence.open(big, memmap=tmp_path / "maps", **options)
        assert_equal(series, csv)
    assert len(conversions(tmp_path / "maps")) == 1
    assert Standard.fit(series) == Standard.fit(csv)


def test_batches_of_a_conversion_are_those_of_the_file(big, tmp_path):
    options = {"time": "t", "features": ["b"], "target": "b"}
    schedules = [
        rk.Schedule(Sequence.open(big, memmap=folder, **options), rk.Continuation(length=9, lanes=2), rk.Carry())
        for folder in (None, tmp_path / "maps")
    ]
    for batch, expected in zip(*(schedule.batches() for schedule in schedules), strict=True):
        np.testing.assert_array_equal(batch.x, expected.x)
        np.testing.assert_array_equal(batch.y, expected.y)


def test_rows_stay_on_disk(big, tmp_path):
    source = read_converted(big, WANTED, tmp_path / "maps").source
    assert source.x.array.base is not None
    values = np.load(next((tmp_path / "maps").glob("*/values.npy")), mmap_mode="r")
    assert (values.dtype, values.shape) == (np.float64, (200, 2))


def test_it_is_told_once_and_read_from_there(big, tmp_path, capsys):
    said = []
    for _ in range(2):
        read_converted(big, WANTED, tmp_path / "maps", said.append)
    assert len(said) == 1
    assert said[0].startswith(f"converting {str(big)!r} to ")
    assert conversions(tmp_path / "maps")[0] in said[0]
    Sequence.open(big, features="b", target="b", memmap=tmp_path / "others")
    printed = capsys.readouterr()
    assert printed.err.startswith("converting ")
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_a_found_conversion_is_read_and_not_the_file(big, tmp_path, monkeypatch):
    before = read_converted(big, WANTED, tmp_path / "maps")
    monkeypatch.setattr("rnnkit.data.text.text_table", None)  # any row that is read fails
    after = read_converted(big, WANTED, tmp_path / "maps")
    np.testing.assert_array_equal(after.source.x.read(0, 200), before.source.x.read(0, 200))


@pytest.mark.parametrize("form", ["gz", "latin", "blanks", "plain"])
def test_a_found_conversion_needs_no_look_into_the_file(tmp_path, monkeypatch, form):
    text = "idx,a,é\n" + "".join(f"{row},{row}.5,{row % 7}\n" for row in range(50))
    text = text.replace(",", "  ") if form == "blanks" else text.replace("idx", "Unnamed: 0")
    path = tmp_path / f"a.csv{'.gz' if form == 'gz' else ''}"
    content = text.encode("cp1252" if form == "latin" else "utf-8")
    path.write_bytes(gzip.compress(content) if form == "gz" else content)
    options = {"target": "a", "memmap": tmp_path / "maps"}
    if form == "latin":
        options["encoding"] = "cp1252"
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        before = Sequence.open(path, **options)
        before.read_x(0, 50)
        longer = Sequence.open(path, **options, horizon=3)
        if form != "blanks":
            indexed = Sequence.open(
                path, **options, features=["Unnamed: 0", "a"]
            )  # an index is a column where it is named
            assert indexed.features == 2
    monkeypatch.setattr("rnnkit.data.text.plain_text", None)  # any look at the text fails
    after = Sequence.open(path, **options)
    assert (after.feature_names, after.features) == (before.feature_names, before.features)
    np.testing.assert_array_equal(after.read_x(0, 50), before.read_x(0, 50))
    assert len(Sequence.open(path, **options, horizon=3)) == len(longer) == len(before) - 2
    assert Sequence.open(path, **options | {"horizon": 2}).features == before.features
    with pytest.raises(TypeError):
        Sequence.open(path, target="é", memmap=tmp_path / "maps")  # which was not asked before


def test_a_file_that_changed_is_converted_again(big, tmp_path):
    said = []

    def read():
        return read_converted(big, WANTED, tmp_path / "maps", said.append).source.x.read(199, 200)[0].tolist()

    read()
    text = big.read_text()
    state = big.stat()
    big.write_text(text.rpartition(",")[0].rpartition(",")[0] + ",2.5,1\n")  # another size
    os.utime(big, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert read()[1] == 2.5
    big.write_text(big.read_text().replace(",2.5,", ",3.5,"))  # another time
    os.utime(big, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))
    assert read()[1] == 3.5
    assert len(said) == 3
    assert len(conversions(tmp_path / "maps")) == 1


def test_other_columns_are_another_conversion(big, tmp_path):
    said = []
    for wanted in (
        WANTED,
        WANTED._replace(features=["b", "a"]),
        WANTED._replace(time=None),
        WANTED._replace(target="class"),
        WANTED._replace(series_id="server"),
    ):
        read_converted(big, wanted, tmp_path / "maps", said.append)
    assert len(said) == len(conversions(tmp_path / "maps")) == 5
    read_converted(big, WANTED._replace(target="a", horizon=3), tmp_path / "maps", said.append)
    assert len(said) == 5  # the same columns


def test_a_conversion_that_was_not_finished_is_never_used(big, tmp_path, monkeypatch):
    good = big.read_text()
    big.write_text(good + "2015-01-01,web-1,1,oops,1\n")
    with pytest.raises(DataError, match=r"big.csv', line 202, column 'b' expects a number, got 'oops'"):
        read_converted(big, WANTED, tmp_path / "maps")
    assert conversions(tmp_path / "maps") == []
    big.write_text(good)

    def interrupted(*names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rnnkit.data.converted.os.rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            read_converted(big, WANTED, tmp_path / "maps")
    assert conversions(tmp_path / "maps") == []
    read_converted(big, WANTED, tmp_path / "maps")
    (made,) = (tmp_path / "maps").iterdir()
    for content in ("", "{", "[]", json.dumps({"version": 1})):
        (made / "about.json").write_text(content)
        said = []
        read_converted(big, WANTED, tmp_path / "maps", said.append)
        assert len(said) == 1
    said.clear()
    (made / "about.json").unlink()
    read_converted(big, WANTED, tmp_path / "maps", said.append)
    (made / "lines.npy").unlink()
    read_converted(big, WANTED, tmp_path / "maps", said.append)
    (made / "values.npy").write_bytes((made / "values.npy").read_bytes()[:-8])
    read_converted(big, WANTED, tmp_path / "maps", said.append)
    assert len(said) == 3


def test_two_processes_may_convert_at_once(big, tmp_path, monkeypatch):
    """The one that comes second finds the conversion of the first when it renames its own."""
    rename = os.rename

    def late(part, made):
        monkeypatch.setattr("rnnkit.data.converted.os.rename", rename)
        read_converted(big, WANTED, tmp_path / "maps")
        rename(part, made)

    monkeypatch.setattr("rnnkit.data.converted.os.rename", late)
    assert read_converted(big, WANTED, tmp_path / "maps").source.x.shape == (200, 2)
    assert len(conversions(tmp_path / "maps")) == 1


def test_what_a_killed_conversion_left_is_removed_after_a_day(big, tmp_path):
    folder = tmp_path / "maps"
    read_converted(big, WANTED, folder)
    (made,) = folder.iterdir()
    old = time.time() - 25 * 3600
    for name, ages in (("old", (old, old)), ("busy", (old, time.time())), ("new", (time.time(), time.time()))):
        part = folder / f"{made.name}.part-{name}"
        part.mkdir()
        (part / "values.npy").write_bytes(b"1")
        os.utime(part / "values.npy", (ages[1], ages[1]))
        os.utime(part, (ages[0], ages[0]))
    other = folder / "other-0123456789.part-old"
    other.mkdir()
    os.utime(other, (old, old))
    big.write_text(big.read_text() + "2015-01-01,web-1,1,2,1\n")
    read_converted(big, WANTED, folder)
    assert conversions(folder) == sorted([made.name, f"{made.name}.part-busy", f"{made.name}.part-new", other.name])


@pytest.mark.parametrize("series_id", [None, "server"])
def test_a_conversion_is_sent_as_the_place_where_it_stands(big, tmp_path, series_id):
    header, *rows = big.read_text().splitlines()
    big.write_text("\n".join([header, *rows[:45] * 40]) + "\n")  # 1800 rows
    options = {"time": "t", "features": ["b"], "target": "class", "series_id": series_id, "missing": "cut"}
    csv, series = (Sequence.open(big, memmap=memmap, **options) for memmap in (None, tmp_path / "maps"))
    for part, expected in zip((series, *series.split()), (csv, *csv.split()), strict=True):
        sent = pickle.dumps(part)
        gathered = 0 if series_id is None else 3 * 8 * part.rows  # which, their lines and times
        segments = part.runs.nbytes + part.starts.nbytes + part.lengths.nbytes
        assert len(sent) < 5000 + gathered + segments
        assert_equal(pickle.loads(sent), expected)


def test_messages_of_a_conversion_tell_the_line(big, tmp_path):
    for _ in range(2):
        with pytest.raises(DataError, match=r"big.csv', line 52, column 'a': the value is missing; fill it in"):
            Sequence.open(big, time="t", features=["a"], target="a", memmap=tmp_path / "maps")


def test_converting_holds_a_block_and_not_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("rnnkit.data.text.CELLS", 2000)
    path = tmp_path / "big.csv"
    rows = 40_000
    path.write_text("t,s,a,b\n" + "".join(f"{row},{row % 2},{row / 7!r},{row / 9!r}\n" for row in range(rows)))
    wanted = WANTED._replace(series_id="s")
    tracemalloc.start()
    opened = read_converted(path, wanted, tmp_path / "maps", lambda line: None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < rows * 2 * 8 / 1.5  # less than the numbers alone
    assert opened.source.x.read(rows - 1, rows).tolist() == [[(rows - 1) / 7, (rows - 1) / 9]]


def test_memmap_is_for_csv_and_needs_a_folder_that_can_be_written(big, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(5))
    with pytest.raises(DataError, match=r"a.npy' is read as its rows are asked for, got memmap='x', .*; leave it out"):
        Sequence.open(tmp_path / "a.npy", memmap="x")
    with pytest.raises(DataError, match="holds no arrays by name, got array='x'"):
        Sequence.open(big, memmap=tmp_path / "maps", array="x")
    with pytest.raises(SourceError, match=r"cannot convert .*big.csv' to memmap='.*big.csv': "):
        Sequence.open(big, features="b", target="b", memmap=big)
    with pytest.raises(SourceError, match=r"found no file .*none.csv'; check the path"):
        Sequence.open(tmp_path / "none.csv", memmap=tmp_path / "maps")


def test_a_folder_that_goes_missing_is_not_the_file(big, tmp_path, monkeypatch):
    def gone(*names):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("rnnkit.data.converted.os.rename", gone)
    with pytest.raises(SourceError, match=r"cannot convert .*big.csv' to memmap='.*maps': No such file or directory"):
        Sequence.open(big, features="b", target="b", memmap=tmp_path / "maps")
