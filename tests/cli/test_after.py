"""`rnnkit predict`, `evaluate` and `forecast` on data without a target, of several series, of samples, with zones."""

from pathlib import Path

import numpy as np
import pytest

import rnnkit as rk
from builders.configs import config
from builders.files import read_csv, write_csv
from builders.series import wave
from rnnkit.cli.commands import main


def train(data, layer="", more=""):
    data = f'path = "old.csv"\n{data}'
    text = config(data, dense=layer, splitter="Chunked", policy="Reset", train=f"epochs = 1\n{more}")
    Path("a.toml").write_text(text)
    assert main(["train", "a.toml", "--overwrite"]) == 0


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_new_data_need_no_target(capsys):
    write_csv("old.csv", wind=wave(), sun=wave(60, 1), power=wave(60, 2))
    write_csv("new.csv", wind=wave(20, 3), sun=wave(20, 4))
    train('target = "power"\nhorizon = 0')
    new = ["--data.path", "new.csv", "--part", "all"]
    assert main(["predict", "runs/a", *new, "--out", "p.csv"]) == 0
    assert "new has no column of the target: predictions alone" in capsys.readouterr().out
    rows = read_csv("p.csv")
    assert list(rows[0]) == ["row", "predicted", "is_future"]
    run = rk.load("runs/a")
    series = rk.Sequence.open("new.csv", features=["wind", "sun"], target=[])
    expected = rk.predict(run, series)[:, 0]
    np.testing.assert_allclose([float(row["predicted"]) for row in rows], expected, rtol=1e-6)
    assert main(["evaluate", "runs/a", *new]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "has no column 'power', asked for as target" in said
    assert "evaluate compares with the target: name another, or use rnnkit predict" in said
    with pytest.raises(rk.DataError, match="evaluate expects a target in each row, 'new' has none"):
        rk.evaluate(run, series)


def test_new_data_may_have_more_columns_in_another_order():
    write_csv("old.csv", wind=wave(), sun=wave(60, 1), power=wave(60, 2))
    train('target = "power"\nhorizon = 0')
    write_csv("new.csv", moon=wave(20, 5), sun=wave(20, 4), wind=wave(20, 3), power=wave(20, 6))
    new = ["--data.path", "new.csv", "--part", "all"]
    assert main(["predict", "runs/a", *new, "--out", "p.csv"]) == 0
    series = rk.Sequence.open("new.csv", features=["wind", "sun"], target="power", horizon=0)
    expected = rk.predict(rk.load("runs/a"), series)[:, 0]
    np.testing.assert_allclose([float(row["predicted"]) for row in read_csv("p.csv")], expected, rtol=1e-6)
    np.testing.assert_allclose([float(row["observed"]) for row in read_csv("p.csv")], wave(20, 6), rtol=1e-6)
    assert main(["evaluate", "runs/a", *new]) == 0


def test_what_is_wrong_with_the_target_is_not_taken_for_none(capsys):
    write_csv("old.csv", wind=wave(), power=wave(60, 2))
    train('target = "power"\nhorizon = 0')
    write_csv("new.csv", wind=wave(20), power=[*wave(19).tolist(), ""])
    assert main(["predict", "runs/a", "--data.path", "new.csv", "--part", "all"]) == 2
    assert "missing" in capsys.readouterr().err


def test_several_targets_keep_their_names():
    write_csv("old.csv", wind=wave(), up=wave(60, 1), down=wave(60, 2))
    train('features = ["wind"]\ntarget = ["up", "down"]\nhorizon = 0')
    write_csv("new.csv", wind=wave(9))
    assert main(["predict", "runs/a", "--data.path", "new.csv", "--part", "all", "--out", "p.csv"]) == 0
    assert list(read_csv("p.csv")[0]) == ["row", "predicted_up", "predicted_down", "is_future"]


def test_every_series_of_a_table_has_its_next_row(capsys):
    hours = [f"2024-01-01T{row:02d}:00:00" for row in range(20)]
    write_csv("old.csv", time=hours * 3, store=[*"a" * 20, *"b" * 20, *"c" * 20], sales=wave())
    train('time = "time"\nseries_id = "store"\ntarget = "sales"')
    assert main(["predict", "runs/a", "--part", "all", "--out", "p.csv"]) == 0
    rows = read_csv("p.csv")
    assert list(rows[0]) == ["row", "time", "series", "predicted", "observed", "is_future"]
    ahead = [row for row in rows if row["is_future"] == "1"]
    assert [(row["series"], row["row"], row["time"], row["observed"]) for row in ahead] == [
        ("a", "20", "2024-01-01T20:00:00", ""),
        ("b", "40", "2024-01-01T20:00:00", ""),
        ("c", "60", "2024-01-01T20:00:00", ""),
    ]
    assert len(rows) == 60
    assert rows[20]["series"] == "b"
    np.testing.assert_allclose(float(rows[20]["observed"]), wave()[21])
    capsys.readouterr()
    assert main(["forecast", "runs/a", "--steps", "2", "--out", "f.csv"]) == 0
    said = capsys.readouterr()
    assert "rnnkit: warning: forecast goes on from 'c', the last of the 3 series in 'old'; choose one" in said.err
    out = " ".join(said.out.split())
    assert "2 rows of the series 'c' from row 60 on, 2024-01-01T20:00:00 to 2024-01-01T21:00:00, are in f.csv" in out
    assert [row["series"] for row in read_csv("f.csv")] == ["c", "c"]
    only = ["--data.only", "a", "--steps", "2", "--out", "a.csv"]
    assert main(["forecast", "runs/a", *only]) == 0
    assert capsys.readouterr().err == ""
    assert [(row["series"], row["row"], row["time"]) for row in read_csv("a.csv")] == [
        ("a", "20", "2024-01-01T20:00:00"),
        ("a", "21", "2024-01-01T21:00:00"),
    ]


def test_a_sample_is_a_row_with_its_id():
    lengths = {"slow": 12, "fast": 9, "odd": 15, "late": 10}
    ids = [name for name, rows in lengths.items() for _ in range(rows)]
    kind = [int(rows > 10) for rows in lengths.values() for _ in range(rows)]
    write_csv("old.csv", sample=ids, x=wave(46), kind=kind)
    data = 'series_id = "sample"\nfeatures = ["x"]\ntarget = "kind"\nhorizon = 0\nscore = "last"\n'
    train(data, layer="outputs = 1", more='loss = "binary_cross_entropy"')
    assert main(["predict", "runs/a", "--part", "all", "--out", "p.csv"]) == 0
    rows = read_csv("p.csv")
    assert [(row["sample"], row["row"], row["observed"]) for row in rows] == [
        ("slow", "11", "1"), ("fast", "20", "0"), ("odd", "35", "1"), ("late", "45", "0"),
    ]  # fmt: skip
    assert all(0 < float(row["predicted"]) < 1 for row in rows)
    write_csv("new.csv", sample=ids[:12], x=wave(12, 3))
    assert main(["predict", "runs/a", "--data.path", "new.csv", "--part", "all", "--out", "n.csv"]) == 0
    assert [(row["sample"], row["row"]) for row in read_csv("n.csv")] == [("slow", "11")]


def test_times_go_out_in_their_zone():
    start = np.datetime64("2022-10-29T20:00", "m")
    times = [f"{t}:00Z" for t in (start + np.arange(60) * 15).astype(str)]
    write_csv("old.csv", time=times, value=wave())
    train('time = "time"\ntarget = "value"')
    assert main(["predict", "runs/a", "--part", "all", "--out", "p.csv"]) == 0
    rows = read_csv("p.csv")
    assert (rows[0]["time"], rows[-1]["time"]) == ("2022-10-29T20:15:00+00:00", "2022-10-30T11:00:00+00:00")
    assert main(["forecast", "runs/a", "--steps", "1", "--out", "f.csv"]) == 0
    assert read_csv("f.csv")[0]["time"] == "2022-10-30T11:00:00+00:00"
    assert main(["forecast", "runs/a", "--steps", "1", "--out", "berlin.csv", "--data.zone", "Europe/Berlin"]) == 0
    assert read_csv("berlin.csv")[0]["time"] == "2022-10-30T12:00:00+01:00"
    ahead = rk.forecast(rk.load("runs/a"), rk.Sequence.open("old.csv", time="time", zone="Europe/Berlin"), 1)
    assert ahead.zone == "Europe/Berlin"
    assert "2022-10-30T12:00:00+01:00" in repr(ahead)


def test_numbers_that_are_times_keep_their_digits():
    write_csv("old.csv", time=[1000000000000.25 + row for row in range(60)], value=wave())
    train('time = "time"\ntarget = "value"')
    assert main(["predict", "runs/a", "--part", "all", "--out", "p.csv"]) == 0
    assert read_csv("p.csv")[0]["time"] == "1000000000001.25"


def test_a_forecast_says_that_the_newest_values_are_missing(capsys):
    write_csv("old.csv", time=range(60), value=[*wave(58).tolist(), "", ""])
    train('time = "time"\ntarget = "value"\nmissing = "cut"')
    assert main(["forecast", "runs/a", "--steps", "2", "--out", "f.csv"]) == 0
    said = capsys.readouterr()
    assert "rnnkit: warning: forecast goes on after row 57 (57) of 'old'" in said.err
    assert [row["row"] for row in read_csv("f.csv")] == ["58", "59"]


def test_samples_without_an_id_are_numbered_in_the_whole():
    write_csv("old.csv", x=wave(46), kind=[0] * 12 + [1] * 9 + [0] * 15 + [1] * 10)
    data = 'features = ["x"]\ntarget = "kind"\nhorizon = 0\nscore = "last"\ntrain = 0.5\nvalidation = 0.3\n'
    train(f"{data}segments = [[0, 12], [12, 21], [21, 36], [36, 46]]")
    assert main(["predict", "runs/a", "--part", "test", "--out", "p.csv"]) == 0
    (row,) = read_csv("p.csv")
    assert (row["sample"], row["row"], row["observed"]) == ("3", "45", "1")
    assert main(["predict", "runs/a", "--part", "all", "--out", "all.csv"]) == 0
    assert [row["sample"] for row in read_csv("all.csv")] == ["0", "1", "2", "3"]
