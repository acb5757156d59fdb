"""Many data sets that are series of one table: it is opened once, and how far the opening is gets told."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.cli import report
from rnnkit.cli.commands import main
from rnnkit.data import readers
from rnnkit.data.survey import Opening

NAMES = ["a", "b", "c"]
ROWS = 30


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "long.csv")


def write(path, shift=0.0, names=NAMES, rows=ROWS):
    """Series one row after the other, in turns: no series stands together."""
    lines = [f"{name},{t},{value(name, t) + shift}" for t in range(rows) for name in names]
    path.write_text("\n".join(["id,t,x", *lines]) + "\n")
    return path


def value(name, t):
    return 100 * NAMES.index(name) + t


@pytest.fixture
def readings(monkeypatch):
    """The files that are read, one entry a reading."""
    read, found = readers.read_csv, []

    def counted(path, *others, **options):
        found.append(path.name)
        return read(path, *others, **options)

    monkeypatch.setattr(readers, "read_csv", counted)
    return found


def each(path):
    return rk.DataSet.each(path, "id", options={"time": "t", "target": "x"})


def rows_of(curriculum):
    return {name: curriculum.open(name).series.take(np.arange(3))[0].ravel().tolist() for name in curriculum.facts}


def alone(name):
    return [value(name, t) for t in range(3)]


def curriculum(sets):
    return rk.Curriculum(sets, rk.Continuation(length=8), split=(0.6, 0.2))


def test_a_table_is_read_once_however_often_its_series_are_opened(path, readings):
    course = curriculum([rk.DataSet(d.source, d.name, scaler=None, options=d.options) for d in each(path)])
    assert rows_of(course) == {name: alone(name) for name in NAMES}
    for epoch in range(2):
        assert sum(1 for _ in course.batches(epoch)) == len(course)
    assert readings == ["long.csv"]


def test_sets_of_each_share_their_table_outside_a_curriculum_too(path, readings):
    opened = [dataset.open() for dataset in each(path)]
    assert [len(each.series) for each in opened] == [ROWS - 1] * 3
    assert readings == ["long.csv"]


def test_sets_that_read_a_table_in_another_way_do_not_share_it(path, readings):
    a, b = each(path)[:2]
    b = rk.DataSet(b.source, b.name, options={**b.options, "horizon": 3})
    course = curriculum([a, b])
    assert [course.facts[name].horizon for name in "ab"] == [1, 3]
    assert readings == ["long.csv", "long.csv"]


def test_a_table_that_nothing_shares_is_not_kept(path, readings):
    (a,) = (dataset for dataset in each(path) if dataset.name == "a")
    lone = curriculum([rk.DataSet(a.source, "a", options=a.options)])
    for _ in range(3):
        lone.open("a")
    assert len(readings) == 4


def test_a_table_that_has_changed_is_read_again_and_refused(path, readings):
    course = curriculum(each(path))
    assert list(course.facts) == NAMES
    write(path, shift=0.5)
    os.utime(path, ns=(1, 1))
    with pytest.raises(rk.SourceError, match="data set 'b' has changed since it was measured"):
        course.open("b")
    assert readings == ["long.csv"] * 2


def test_a_table_that_is_gone_is_missed(path):
    course = curriculum(each(path))
    assert list(course.facts) == NAMES
    path.unlink()
    with pytest.raises(rk.SourceError, match=r"data set 'a': Sequence.open found no file"):
        course.open("a")


def first_rows(dataset):
    return dataset.open().series.take(np.arange(3))[0].ravel().tolist()


def first_rows_of_all(sets):
    return [first_rows(dataset) for dataset in sets]


def test_a_pickled_list_reads_its_table_anew_and_once(path, readings):
    sets = each(path)
    first_rows_of_all(sets)
    assert first_rows_of_all(pickle.loads(pickle.dumps(sets))) == [alone(name) for name in NAMES]
    assert readings == ["long.csv"] * 2
    assert len(pickle.dumps(sets)) < 2000  # the table itself is not sent


@pytest.mark.parametrize(("method", "suffix"), [("fork", "csv"), ("fork", "parquet"), ("fork", "h5"), ("spawn", "csv")])
def test_worker_processes_read_what_their_parent_reads(tmp_path, suffix, method):
    path = write(tmp_path / "long.csv") if suffix == "csv" else convert(tmp_path / f"long.{suffix}")
    sets = rk.DataSet.each(path, "id", options={"target": "x", "features": ["x"]})
    expected = [alone(name) for name in NAMES]
    assert first_rows_of_all(sets) == expected
    with ProcessPoolExecutor(2, get_context(method)) as pool:
        assert list(pool.map(first_rows_of_all, [sets] * 4)) == [expected] * 4
    assert first_rows_of_all(sets) == expected


def convert(path):
    ids = [str(n) for _ in range(ROWS) for n in range(3)]
    x = [float(value(name, t)) for t in range(ROWS) for name in NAMES]
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"id": ids, "x": x}), path)
    else:
        import h5py

        with h5py.File(path, "w") as file:
            file["id"], file["x"] = np.array(ids, int), x
    return path


def test_a_curriculum_tells_what_it_opens(path):
    told = []
    course = rk.Curriculum(each(path), rk.Continuation(length=8), on_open=told.append)
    assert not told
    assert course.facts
    assert told == [Opening("a", 0, 3), Opening("b", 1, 3), Opening("c", 2, 3)]


def test_the_command_line_tells_how_far_it_is(path, monkeypatch, capsys):
    config = path.with_name("m.toml")
    config.write_text(f"""
name = "m"
out = "{path.parent / "out"}"
backend = "numpy"
[[data]]
path = "long.csv"
series_id = "id"
each = true
time = "t"
target = "x"
[model]
layers = [{{type = "LSTM", hidden = 2}}, {{type = "Dense"}}]
[splitter]
type = "Continuation"
length = 8
[train]
epochs = 1
""")
    assert main(["plan", str(config)]) == 0
    quick = capsys.readouterr()
    assert quick.err == ""
    monkeypatch.setattr(report, "NOW_AND_THEN", 0.0)
    assert main(["plan", str(config)]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == [f"{doing} data sets: {n} of 3" for doing in ("measuring", "planning") for n in range(3)]
    assert out == quick.out
    assert main(["train", str(config)]) == 0
    assert "evaluating data sets: 2 of 3" in capsys.readouterr().err


def test_thirty_thousand_names_take_no_time_that_grows_with_their_square(monkeypatch):
    """Counted, not timed: no name is compared with every other."""

    class Name(str):
        compared = 0

        def __eq__(self, other):
            Name.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    series = rk.Sequence(np.arange(20.0))
    sets = [rk.DataSet(series, Name(f"s{n}")) for n in range(300)]
    course = rk.Curriculum(sets, rk.Continuation(length=8), order=[Name(f"s{n}") for n in range(299, -1, -1)])
    assert [turn.names[0] for turn in course.turns()][:2] == ["s299", "s298"]
    assert Name.compared < 20 * len(sets)
