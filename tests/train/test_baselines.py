"""Naive predictions know what was known when the prediction was made, and nothing later."""

import dataclasses
import json

import numpy as np
import pytest

import rnnkit as rk
from builders import series as small
from builders.configs import config
from builders.files import write_csv
from rnnkit.cli.commands import main
from rnnkit.data.typical import all_together, typical

MODEL = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))


def wave(rows=120):
    return small.wave(rows, level=5)


def ahead_of(values, steps):
    """The next `steps` values after each row, `(n, steps)`."""
    rows = len(values) - steps
    return np.column_stack([values[k : k + rows] for k in range(1, steps + 1)])


def fitted(series, outputs=1, loss="mse"):
    model = rk.Chain(rk.LSTM(series.features, 3), rk.Dense(3, outputs))
    return rk.fit(model, rk.Schedule(series, rk.Chunked(20), rk.Reset()), backend="numpy", loss=loss, epochs=1)


def test_targets_given_apart_have_no_persistence_but_the_mean_of_training():
    values = wave()
    x, y = values[:-4], ahead_of(values, 4)
    train, _, test = rk.Sequence(x, y).split(0.5, 0.0)
    run = fitted(train, 4)
    report = rk.evaluate(run, test, period=31)
    assert report.persistence is None
    assert report.seasonal_naive is None
    assert report.baseline == "training mean"
    assert report.mean.rows == len(test)
    assert report.mean.mae == pytest.approx(np.abs(y[58:] - y[:58].mean(0)).mean())
    assert report.ratio == pytest.approx(report.model.mae / report.mean.mae)
    lines = [line.split("  ")[0] for line in str(report).splitlines()[1:]]
    assert lines == ["model", "training mean"]
    assert "MAE / training mean" in str(report)


@pytest.mark.parametrize("named", [0, "value", ["value"] * 4])
def test_targets_given_apart_are_the_future_of_a_column_that_is_named(tmp_path, named):
    values = wave()
    y = ahead_of(values, 4)
    write_csv(tmp_path / "ahead.csv", value=values[:-4], **dict(zip("abcd", y.T, strict=True)))
    series = rk.Sequence.open(tmp_path / "ahead.csv", features=["value"], target=["a", "b", "c", "d"], horizon=0)
    report = rk.evaluate(fitted(series, 4), series, period=31, baseline=named)
    assert report.baseline == "persistence"
    assert report.persistence.rows == 116
    assert report.persistence.mae == pytest.approx(np.abs(values[:116, None] - y).mean())
    rows = np.arange(30, 116)  # those whose value a season before the nearest target is known
    season = np.column_stack([values[rows + k - 31] for k in range(1, 5)])
    assert report.seasonal_naive.rows == len(rows)
    assert report.seasonal_naive.mae == pytest.approx(np.abs(season - y[rows]).mean())
    assert report.seasonal_naive.rmse == pytest.approx(np.sqrt(np.mean((season - y[rows]) ** 2)))
    assert report.mean.rows == 116
    assert list(report.naive) == ["persistence", "seasonal naive"]


def test_each_target_has_a_season_of_its_own_column():
    x = np.column_stack([wave(), 3 - 2 * small.wave(120, 1)])
    for columns in ([0, 1], [1, 0]):
        for series in (rk.Sequence(x, target=columns), rk.Sequence(x[:-1], x[1:, columns])):
            baseline = None if series.target_columns else columns
            report = rk.evaluate(fitted(series, 2), series, period=31, baseline=baseline)
            error = x[31:, columns] - x[:-31, columns]
            assert report.seasonal_naive.rows == len(error)
            assert report.seasonal_naive.mae == pytest.approx(np.abs(error).mean())


@pytest.mark.parametrize(("rows", "found"), [(20, True), (19, False)])
def test_a_season_is_looked_for_in_the_longest_segment_in_twenty_rows_at_least(rows, found):
    values = np.random.default_rng(0).integers(0, 3, 60).astype(float)  # the first of which come again and again
    series = rk.Sequence(values[:-4], values[4:], segments=[(0, 9), (10, 10 + rows + 4)])
    column = rk.Sequence(values, values, segments=[(0, 9), (10, 10 + rows)])
    report = rk.evaluate(fitted(series), series, period=5, baseline=0)
    assert (report.seasonal_naive is None) != found
    now = rk.evaluate(fitted(column), column, period=5, baseline=0).seasonal_naive
    assert (now is None) != found
    if now is not None:  # a target that is its own row's value is not known there
        places = np.r_[5:9, 15 : 10 + rows]
        assert now.mae == pytest.approx(np.abs(values[places] - values[places - 5]).mean())


def test_a_model_is_not_held_against_a_baseline_without_an_error():
    still, run = rk.Sequence(np.full(60, 2.0)), fitted(rk.Sequence(wave()))
    report = rk.evaluate(run, still)
    assert (report.persistence.mae, report.ratio) == (0, None)
    assert str(report).splitlines()[0].split() == ["MAE", "RMSE", "rows"]


def test_a_season_that_no_column_shows_is_not_made_up():
    values = wave()
    smooth = np.convolve(values, np.ones(5) / 5, "same")  # a filter that sees two rows ahead
    series = rk.Sequence(values, smooth)
    report = rk.evaluate(fitted(series), series, period=31, baseline=0)
    assert report.persistence.mae == pytest.approx(np.abs(values - smooth).mean())
    assert report.seasonal_naive is None


@pytest.mark.parametrize(("horizon", "period"), [(1, 24), (3, 24), (30, 24), (24, 24)])
def test_the_season_before_is_known_where_the_prediction_is_made(horizon, period):
    values = wave()
    series = rk.Sequence(values, horizon=horizon, segments=[(0, 50), (50, 120)])
    report = rk.evaluate(fitted(series), series, period=period)
    known, lag = [], period * -(-horizon // period)
    for start, stop in ((0, 50), (50, 120)):
        rows = np.arange(start, stop - horizon)
        known.append(rows[rows + horizon - lag >= start])
    rows = np.concatenate(known)
    assert report.seasonal_naive.rows == len(rows)
    expected = np.abs(values[rows + horizon - lag] - values[rows + horizon]).mean()
    assert report.seasonal_naive.mae == pytest.approx(expected)
    assert lag >= horizon


def test_no_baseline_changes_when_the_future_does():
    """The values that each naive prediction repeats are the same, whatever stands in later rows."""
    values = wave()
    changed = np.concatenate([values[:80], values[80:] + 1000])
    for given_apart in (False, True):

        def series(v, apart=given_apart):
            return rk.Sequence(v[:-1], v[1:]) if apart else rk.Sequence(v)

        errors = []
        for v in (values, changed):
            part = series(v).split(79, 0)[0]  # its targets end at row 79
            report = rk.evaluate(fitted(part), part, period=24, baseline=0 if given_apart else None)
            errors.append((report.persistence, report.seasonal_naive))
        assert errors[0] == errors[1]
    run = fitted(rk.Sequence(values).split(60, 0)[0])
    by_training = {rk.evaluate(run, rk.Sequence(v).split(60, 19)[1]).mean for v in (values, changed)}
    assert len(by_training) == 1


def test_classes_are_compared_with_the_most_frequent_one_of_training():
    labels = np.array([0, 2, 2, 1, 2] * 10)
    labels[40:] = 0
    train, _, test = rk.Sequence(wave(50), labels).split(40, 0)
    report = rk.evaluate(fitted(train, 3, "cross_entropy"), test)
    assert report.persistence is None
    assert report.baseline == "most frequent class"
    assert report.mean.mae == 1.0
    assert "share wrong / most frequent class" in str(report)


def test_two_classes_likewise():
    labels = np.array([0.0, 1.0, 1.0] * 20)[:, None]
    train, _, test = rk.Sequence(wave(60), labels).split(30, 0)
    run = fitted(train, 1, "binary_cross_entropy")
    report = rk.evaluate(run, test)
    assert report.mean.mae == pytest.approx(1 / 3)
    logits = np.asarray(rk.predict(run, test))[30:60]
    assert ((logits > 0) & (logits < 0.5)).any()
    assert report.model.mae == pytest.approx(np.mean((logits > 0) != labels[30:]))
    assert report.of_classes
    spoilt = dataclasses.replace(report, model=dataclasses.replace(report.model, mae=np.nan))
    assert not spoilt.of_classes  # but errors of numbers that are not finite


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_a_sample_counts_once(loss):
    lengths, labels = [3, 9, 4, 5, 6], [1, 0, 1, 1, 0]
    series = rk.Sequence.panel([wave(rows) for rows in lengths], labels)
    run = fitted(series, 1 if loss == "mse" else 2, loss)
    assert run.typical.rows == 5
    assert run.typical.mean == pytest.approx((0.6,))
    report = rk.evaluate(run, series)
    assert report.mean.rows == 5
    wanted = np.abs(np.array(labels) - 0.6).mean() if loss == "mse" else 0.4
    assert report.mean.mae == pytest.approx(wanted)
    assert report.persistence is None


def test_a_run_keeps_what_its_targets_were_like(tmp_path):
    run = fitted(rk.Sequence(wave()))
    assert run.typical == typical(rk.Sequence(wave()))
    assert run.typical.mean == pytest.approx((wave()[1:].mean(),))
    again = rk.load(run.save(tmp_path / "run"))
    assert again.typical == run.typical
    plain = json.loads((tmp_path / "run" / "run.json").read_text())
    del plain["typical"], plain["digest"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(plain))
    old = rk.load(tmp_path / "run")
    series = rk.Sequence(wave()[:-1], wave()[1:], horizon=1)
    report = rk.evaluate(old, series)
    assert (report.mean, report.baseline, report.ratio, report.naive) == (None, None, None, {})
    assert str(report).splitlines()[0].split() == ["MAE", "RMSE", "rows"]
    assert rk.evaluate(old, rk.Sequence(wave())).baseline == "persistence"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ([119, [5.0, 5.0], None, 0], "expects the mean of 1 target, got 2"),
        ([119, [float("nan")], None, 0], "expects finite means"),
        ([-1, [5.0], None, 0], "expects a whole number from 0"),
        ([119, [5.0], None, 120], "expects a whole number from 0 to 119, got 120"),
        ([119, [5.0], "a", 0], "expects a whole number"),
        ([119, 5.0, None, 0], "expects a list"),
        ([119], "not enough values"),
        ("mean", "expects a list"),
    ],
)
def test_a_damaged_mean_is_no_mean(tmp_path, damage, told):
    folder = fitted(rk.Sequence(wave())).save(tmp_path / "run")
    plain = json.loads((folder / "run.json").read_text())
    del plain["digest"]
    (folder / "run.json").write_text(json.dumps(plain | {"typical": damage}))
    with pytest.raises(rk.SourceError, match=rf"run.json, typical: {told}.*; the files are damaged"):
        rk.load(folder)


def test_every_data_set_of_a_curriculum_has_its_own(tmp_path):
    curriculum = rk.Curriculum(
        [rk.DataSet(rk.Sequence(wave(60), name="low")), rk.DataSet(rk.Sequence(wave(90) + 100, name="high"))],
        rk.Chunked(20),
        rk.Reset(),
    )
    run = rk.load(rk.fit(MODEL, curriculum, backend="numpy", epochs=1).save(tmp_path / "run"))
    assert run.on("low").typical.mean == pytest.approx((wave(60)[1:].mean(),))
    assert run.on("high").typical.mean == pytest.approx((wave(90)[1:].mean() + 100,))
    assert run.typical.rows == 59 + 89
    assert run.typical.mean == pytest.approx((np.concatenate([wave(60)[1:], wave(90)[1:] + 100]).mean(),))


def test_data_sets_with_other_targets_have_nothing_in_common():
    one, two = typical(rk.Sequence(wave())), typical(rk.Sequence(np.ones((9, 2)), target=[0, 1]))
    assert all_together([one, two]) is None
    assert all_together([]) is None
    labelled = [typical(rk.Sequence(np.zeros(5), [0, 0, 0, 1, 1])), typical(rk.Sequence(np.zeros(4), [1, 1, 1, 1]))]
    assert all_together(labelled).label == 1
    assert all_together(labelled).mean == pytest.approx((6 / 9,))


def test_a_baseline_that_is_no_column_is_refused():
    series = rk.Sequence(wave()[:-1], wave()[1:], name="heat")
    run = fitted(series)
    with pytest.raises(rk.DataError, match=r"baseline to be a column of x, or its number from 0 to 0, got 'valeu'"):
        rk.evaluate(run, series, baseline="valeu")
    with pytest.raises(
        rk.DataError, match="baseline to be a column, or one for each target, 1 in all, got 2; name as many"
    ):
        rk.evaluate(run, series, baseline=[0, 0])
    for wrong in (1, -1, True, 0.5):
        with pytest.raises(rk.DataError, match="or its number from 0 to 0, got"):
            rk.evaluate(run, series, baseline=wrong)


def test_a_baseline_may_replace_the_targets_own_column():
    x = np.column_stack([wave(), wave() + 3])
    series = rk.Sequence(x, target=0)
    report = rk.evaluate(fitted(series), series, baseline=1, period=31)
    assert report.persistence.mae == pytest.approx(np.abs(x[:-1, 1] - x[1:, 0]).mean())
    assert report.seasonal_naive is None  # the target is no later value of that column


def config_of(more=""):
    data = 'path = "ahead.csv"\nfeatures = ["value"]\ntarget = ["a", "b"]\nhorizon = 0'
    return config(f"{data}\n{more}", top='name = "ahead"\nout = "runs/ahead"', length=64)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = wave()
    a, b = ahead_of(values, 2).T
    write_csv(tmp_path / "ahead.csv", value=values[:-2], a=a, b=b)
    return tmp_path


@pytest.mark.parametrize(("more", "baseline"), [("", "training mean"), ('baseline = "value"', "persistence")])
def test_the_command_line_says_which_baseline_it_shows(home, capsys, more, baseline):
    (home / "ahead.toml").write_text(config_of(more))
    assert main(["train", "ahead.toml"]) == 0
    said = capsys.readouterr().out
    assert f"MAE / {baseline}" in said
    assert ("persistence" in said) == (baseline == "persistence")
    found = json.loads((home / "runs" / "ahead" / "evaluation.json").read_text())
    assert set(found["test"]) == {"model", baseline.replace(" ", "_")}
    other = ["--data.baseline", "value"] if not more else ["--data.baseline", "none"]
    assert main(["evaluate", "runs/ahead", *other]) == 0
    said = capsys.readouterr().out
    assert f"MAE / {'training mean' if more else 'persistence'}" in said


def test_the_command_line_refuses_a_baseline_before_training(home, capsys):
    (home / "ahead.toml").write_text(config_of('baseline = "vlaue"'))
    assert main(["train", "ahead.toml"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "data.baseline" in said
    assert "got 'vlaue'; did you mean 'value'?" in said
    assert not (home / "runs").exists()
    assert main(["train", "ahead.toml", "--data.baseline", "value"]) == 0


def test_many_data_sets_have_a_baseline_each(home, capsys):
    text = config_of().replace('[data]\npath = "ahead.csv"', "[common]")
    sets = '[[data]]\npath = "ahead.csv"\nbaseline = "value"\n[[data]]\npath = "ahead.csv"\nname = "mean"\n'
    (home / "m.toml").write_text(text.replace("[[model.layers]]", f"{sets}[[model.layers]]", 1))
    assert main(["train", "m.toml"]) == 0
    said = capsys.readouterr().out
    assert "/ baseline" in said
    assert "training mean" in said
    found = json.loads((home / "runs" / "ahead" / "evaluation.json").read_text())
    assert {name: set(parts["test"]) for name, parts in found.items()} == {
        "ahead": {"model", "persistence"},
        "mean": {"model", "training_mean"},
    }
    wrong = (home / "m.toml").read_text().replace('"value"\n[[data]]', '"valu"\n[[data]]')
    (home / "m.toml").write_text(wrong)
    assert main(["train", "m.toml", "--overwrite"]) == 2
    assert "data.0.baseline" in capsys.readouterr().err


def test_compare_says_which_baseline_it_divides_by():
    values = wave()
    parts = rk.Sequence(values[:-2], ahead_of(values, 2)).split(0.5, 0.2)
    model = rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 2))
    common = {"splitters": [rk.Continuation(length=20)], "backends": ["numpy"], "equal": rk.Equal(epochs=1), "jobs": 1}
    for baseline, name in ((None, "training mean"), (0, "persistence")):
        found = rk.compare(model, parts, policies=[rk.Carry()], seeds=1, baseline=baseline, **common)
        row = next(row for row in found.rows if row["status"] == "done")
        assert row["baseline"] == name
        assert row["test_ratio"] is not None
        assert f"MAE / {name}" in str(found)


def test_the_model_is_all_there_is_where_nothing_else_is_known():
    series = rk.Sequence(wave()[:-1], wave()[1:])
    report = rk.evaluate(dataclasses.replace(fitted(series), typical=None), series)
    assert list(report.naive) == []
