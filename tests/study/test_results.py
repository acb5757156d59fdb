"""The folder of a comparison: what is finished is kept, whatever came in between; the table in its files."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

import rnnkit as rk
from builders.studies import CHUNKS, MODEL, STRIPS, Failing, compared, count_trained, errors, parts_of, read_table
from rnnkit.study import Study, Trial
from rnnkit.study.results import COLUMNS


def test_what_is_finished_is_not_trained_again(tmp_path, monkeypatch, undrawn):
    first = compared(out=tmp_path / "study", seeds=2)
    trained = count_trained(monkeypatch)
    again = compared(out=tmp_path / "study", seeds=2)
    assert trained == []
    assert again.rows == first.rows
    more = compared(out=tmp_path / "study", seeds=3)
    assert {trial.seed for trial in trained} == {2}
    assert len(trained) == 3
    assert [row for row in more.rows if row["seed"] < 2] == [row for row in first.rows if row["seed"] < 2]
    compared(out=tmp_path / "study", seeds=2, fresh=True)
    assert len(trained) == 3 + 6


def test_a_changed_setting_trains_what_it_determines_and_old_results_stay(tmp_path, monkeypatch, undrawn):
    compared(out=tmp_path / "study")
    trained = count_trained(monkeypatch)
    compared(out=tmp_path / "study", rule=rk.Adam(0.01))
    assert len(trained) == 3
    compared(out=tmp_path / "study")
    compared(out=tmp_path / "study", splitters=[STRIPS], policies=[rk.Carry()])
    assert len(trained) == 3


def test_a_digest_counts_everything_that_determines_a_cell_and_nothing_else():
    training, validation, test = parts_of()
    study = Study(
        MODEL, (training, validation, test), rk.Equal(rows=10), rk.Adam(), rk.MSE(), "float32", None, rk.Constant(),
        8, None, False,
    )  # fmt: skip
    rows = training.read_x(0, 300, "float64")[:, 0]
    moved = rows.copy()
    moved[20] += 1e-9
    scaler = training.scaler
    assert scaler is not None

    def with_rows(values, **settings) -> Study:
        one, two, three = rk.Sequence(values, **settings).split(0.6, 0.2)
        return replace(study, parts=(one, two, three))

    different = [
        study,
        replace(study, model=rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1))),
        replace(study, equal=rk.Equal(rows=11)),
        replace(study, equal=rk.Equal(epochs=10)),
        replace(study, rule=rk.Adam(beta1=0.8)),
        replace(study, loss=rk.Huber()),
        replace(study, loss=rk.Huber(delta=2.0)),
        replace(study, dtype="float64"),
        replace(study, clip=rk.ClipNorm(1.0)),
        replace(study, learning_rate=rk.Cosine()),
        replace(study, warm=9),
        replace(study, period=3),
        replace(study, bias=True),
        replace(study, remat="sqrt"),
        replace(study, parts=(training, validation, None)),
        replace(study, parts=(training.with_scaler(None), validation, test)),
        with_rows(rows),
        with_rows(moved),
        with_rows(rows, horizon=2),
        with_rows(rows, segments=[(0, 150), (150, 300)]),
    ]
    assert len({each.fingerprint() for each in different}) == len(different)
    assert with_rows(rows, name="another").fingerprint() == with_rows(rows.copy()).fingerprint()
    trial = Trial(STRIPS, rk.Carry(), "numpy", 0)
    trials = [
        trial,
        replace(trial, splitter=CHUNKS),
        replace(trial, policy=rk.Reset()),
        replace(trial, backend="numba"),
    ]
    trials += [
        replace(trial, seed=1),
        replace(trial, splitter=replace(STRIPS, lookback=1)),
    ]
    assert len({each.digest("study") for each in trials}) == len(trials)
    assert trial.digest("study") != trial.digest("another")


def test_damaged_and_failed_cells_are_trained_again(tmp_path, monkeypatch, undrawn):
    first = compared(out=tmp_path)
    digests = [row["digest"] for row in first.rows if row["status"] == "done"]
    (tmp_path / "trials" / f"{digests[0]}.json").write_text('{"status": "do')
    failed = tmp_path / "trials" / f"{digests[1]}.json"
    failed.write_text(json.dumps(json.loads(failed.read_text()) | {"status": "failed"}))
    trained = count_trained(monkeypatch)
    again = compared(out=tmp_path)
    assert len(trained) == 2
    assert errors(again) == errors(first)


def test_an_interrupted_comparison_keeps_what_is_finished(tmp_path, monkeypatch, undrawn):
    trained = count_trained(monkeypatch)

    def interrupt(row):
        if len(trained) == 2:
            raise KeyboardInterrupt

    said = "2 of 6 trials are finished and kept in .*run it again to go on"
    with pytest.raises(rk.Interrupted, match=said):
        compared(out=tmp_path, seeds=2, on_trial=interrupt)
    assert len(list((tmp_path / "trials").iterdir())) == 2
    found = compared(out=tmp_path, seeds=2)
    assert len(trained) == 6
    assert errors(found) == errors(compared(seeds=2))


def test_a_folder_that_holds_other_things_is_left_alone(tmp_path):
    (tmp_path / "results.csv").write_text("mine")
    with pytest.raises(rk.SourceError, match="holds other files; name another"):
        compared(out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]
    with pytest.raises(rk.SourceError, match="expects a folder that can be written"):
        compared(out=tmp_path / "results.csv")


# Tables, summary, report


def test_the_table_is_the_same_in_both_files_and_holds_the_rows(tmp_path, undrawn):
    found = compared(out=tmp_path, seeds=2, splitters=[STRIPS, CHUNKS, Failing()])
    table = read_table(tmp_path)
    assert list(table[0]) == list(COLUMNS)
    assert len(table) == len(found.rows) == 12
    for line, row in zip(table, found.rows, strict=True):
        assert line == {name: row.get(name) for name in COLUMNS}
    assert pq.read_table(tmp_path / "results.parquet").to_pylist() == table
    assert {line["status"] for line in table} == {"done", "refused", "failed"}


def test_every_value_of_a_row_has_its_column(tmp_path):
    found = compared(splitters=[STRIPS], policies=[rk.Carry(), rk.Stored()])
    for row in found.rows:
        assert set(row) - set(COLUMNS) <= {"curve", "age"}
        for name in set(row) & set(COLUMNS):
            assert row[name] is None or isinstance(row[name], COLUMNS[name]), name


def test_without_pyarrow_the_parquet_file_is_left_out_and_the_report_says_so(tmp_path, monkeypatch, undrawn):
    compared(out=tmp_path)
    assert (tmp_path / "results.parquet").exists()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    compared(out=tmp_path)
    assert not (tmp_path / "results.parquet").exists()
    assert len(read_table(tmp_path)) == 4
    assert "pip install 'rnnkit[parquet]'" in (tmp_path / "report.md").read_text()
