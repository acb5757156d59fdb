"""Pictures of predictions and of the transfer matrix: as large as a screen, and nothing joined that is apart."""

import dataclasses

import numpy as np
import pytest

import rnnkit as rk
from builders.series import wave
from rnnkit.view.forecasts import plot_forecasts

POINTS = 400


def pixels(figure):
    return (figure.get_size_inches() * figure.dpi).round().astype(int).tolist()


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def heights(figure):
    return [axes.get_ylabel() for axes in figure.axes]


@pytest.mark.parametrize(("targets", "panels"), [(1, 1), (3, 3), (8, 8), (24, 8), (500, 8)])
def test_many_targets_are_shown_by_some(targets, panels):
    y = np.random.default_rng(0).normal(size=(50, targets))
    figure = rk.plots.plot_forecast(rk.Sequence(wave(50), y), y)
    assert len(figure.axes) == panels
    assert pixels(figure)[1] < 1800
    title = figure.axes[0].get_title(loc="left")
    assert ("targets" in title) == (targets > panels)
    if targets > 1:
        assert heights(figure)[0] == "column 0"
        assert heights(figure)[-1] == f"column {targets - 1}"
        shown = int(heights(figure)[1].split()[1])
        assert lines(figure.axes[1])["observed"].get_ydata().tolist() == y[:, shown].tolist()


def test_a_forecast_of_many_columns_is_shown_by_some():
    x = np.random.default_rng(0).normal(size=(50, 12))
    figure = rk.plots.plot_continuation(rk.Sequence(x, target=list(range(12))), np.zeros((5, 12)))
    assert len(figure.axes) == 8
    assert "8 of 12 targets" in figure.axes[0].get_title(loc="left")
    assert pixels(figure)[1] < 1800


@pytest.mark.parametrize(
    ("horizon", "said"), [(0, "predicted"), (1, "predicted 1 row ahead"), (3, "predicted 3 rows ahead")]
)
def test_how_far_ahead_is_said_where_it_is_known(horizon, said):
    series = rk.Sequence(wave(), wave(60, 1), horizon=horizon)
    (axes,) = rk.plots.plot_forecast(series, np.zeros((60, 1))).axes
    assert list(lines(axes)) == ["observed", said]


@pytest.mark.parametrize("horizon", [0, 1])
def test_no_line_is_drawn_from_one_sample_to_the_next(horizon):
    series = rk.Sequence.panel([wave(10), wave(12), wave(9)], [wave(10), wave(12), wave(9)], horizon=horizon)
    (axes,) = rk.plots.plot_forecast(series, np.zeros((31, 1))).axes
    for line in axes.get_lines():
        place, value = line.get_xdata(), line.get_ydata()
        gaps = np.flatnonzero(np.isnan(value))
        assert gaps.tolist() == [10 - horizon, 23 - 2 * horizon]
        assert np.isnan(place[gaps]).all()
        known = place[~np.isnan(place)] - horizon
        assert known.tolist() == np.concatenate([np.arange(s.start, s.stop) for s in series.segments]).tolist()


def test_a_segment_of_one_row_is_seen():
    series = rk.Sequence(wave(), wave(60, 1), segments=[(0, 30), (30, 31), (31, 60)])
    (axes,) = rk.plots.plot_forecast(series, np.zeros((60, 1))).axes
    assert {line.get_marker() for line in axes.get_lines()} == {"."}


def test_classes_are_steps_and_marks_where_they_are_scored():
    labels = np.array([0, 2, 1] * 20)
    series = rk.Sequence(wave(), labels, segments=[(0, 25), (30, 60)])
    logits = np.eye(3)[labels]
    logits[40] = [9, 0, 0]
    logits[25:30] = np.nan
    (axes,) = rk.plots.plot_forecast(series, logits).axes
    observed, predicted = axes.get_lines()
    assert observed.get_drawstyle() == "steps-mid"
    assert predicted.get_linewidth() == 0
    place, value = predicted.get_xdata(), predicted.get_ydata()
    known = ~np.isnan(value)
    assert not set(place[known]) & set(range(25, 30))
    wrong = place[known][value[known] != labels[place[known].astype(int)]]
    assert wrong.tolist() == [40]
    assert all(float(tick).is_integer() for tick in axes.get_yticks())


@pytest.mark.parametrize("labelled", [True, False])
def test_samples_are_a_mark_each(labelled):
    lengths = [5, 9, 4, 7]
    y = np.array([0, 1, 1, 0]) if labelled else np.array([0.5, 2.5, 1.0, 3.0])
    series = rk.Sequence.panel([wave(rows) for rows in lengths], y)
    predicted = np.full((25, 2 if labelled else 1), -1.0)
    ends = np.cumsum(lengths) - 1
    predicted[ends] = np.eye(2)[y] if labelled else y[:, None] + 1
    (axes,) = rk.plots.plot_forecast(series, predicted).axes
    assert axes.get_xlabel() == "sample"
    assert "the last 4 samples" in axes.get_title(loc="left")
    for line, shift in zip(axes.get_lines(), (0, 0 if labelled else 1), strict=True):
        assert line.get_linestyle() == "None"
        known = ~np.isnan(line.get_xdata())
        assert line.get_xdata()[known].tolist() == [0, 1, 2, 3]
        assert line.get_ydata()[known].tolist() == (y + shift).tolist()


def test_a_forecast_stands_where_it_says(tmp_path):
    series = rk.Sequence(wave(), segments=[(0, 30), (30, 60)])
    schedule = rk.Schedule(series, rk.Chunked(10), rk.Reset())
    run = rk.fit(rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1)), schedule, backend="numpy", epochs=1)
    rows = [f"{name},{value}" for name in "ab" for value in wave(30)]
    (tmp_path / "t.csv").write_text("store,sales\n" + "\n".join(rows) + "\n")
    table = rk.Sequence.open(tmp_path / "t.csv", target="sales", series_id="store")
    ahead = rk.forecast(dataclasses.replace(run, features=None, targets=None), table, 1, only="a")
    (axes,) = rk.plots.plot_continuation(table, ahead).axes
    observed, drawn = axes.get_lines()
    assert observed.get_xdata().tolist() == list(range(30))
    assert drawn.get_xdata().tolist() == [29, 30]
    assert drawn.get_marker() == "."  # a single step is seen
    assert axes.get_title(loc="left").startswith("t, a: 1 row ahead")


def test_panels_of_many_data_sets_say_which_target():
    y = np.random.default_rng(0).normal(size=(50, 3))
    figure = plot_forecasts({"a": (rk.Sequence(wave(50), y), y), "b": (rk.Sequence(wave(50)), np.zeros((50, 1)))})
    assert heights(figure) == ["column 0", ""]


def matrix(sets, stages):
    rng = np.random.default_rng(0)
    names = tuple(f"ec2_cpu_utilization_of_the_server_{k:03}" for k in range(sets))
    trained = np.arange(stages)[:, None] % sets == np.arange(sets)
    said = ("start", *(f"epoch {k}, {names[k % sets]}" for k in range(1, stages)))
    return rk.Transfer(names, said, trained, np.exp(rng.normal(size=(stages, sets))), ("test",) * sets)


@pytest.mark.parametrize(("sets", "stages"), [(3, 4), (20, 21), (20, 400), (200, 3)])
def test_a_transfer_matrix_has_the_size_of_a_screen(sets, stages):
    figure = matrix(sets, stages).plot()
    wide, high = pixels(figure)
    assert wide <= 2200
    assert high <= 1540
    (axes,) = figure.axes
    for labels, room in ((axes.get_xticklabels(), sets), (axes.get_yticklabels(), stages)):
        assert 0 < len(labels) <= min(room, 90)
        assert all(len(label.get_text()) <= 29 for label in labels)
    assert bool(axes.texts) == (sets * stages <= 420)


def test_a_table_of_many_data_sets_is_no_wider_than_a_terminal():
    found = matrix(20, 5)
    text = str(found)
    assert max(map(len, text.splitlines())) <= 120
    for name in found.names:
        assert text.count(f" {name}") >= 1
    head = [line for line in text.splitlines() if line.startswith("trained up to")]
    assert [name for line in head for name in line.split()[3:]] == list(found.names)
    for row in found.errors:
        for error in row:
            assert f"{error:.4g}" in text
    small = str(dataclasses.replace(matrix(3, 3), names=("a", "b", "c"), stages=("start", "a", "b"))).splitlines()
    assert sum(line.startswith("trained up to") for line in small) == 1


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_picture_of_rows_with_times_shows_the_times(zone):
    times = np.datetime64("2024-07-01T00", "us") + np.arange(90) * np.timedelta64(1, "h")
    series = rk.Sequence(wave(80), time=np.delete(times, range(40, 50)), zone=zone, gap="1h")
    model = rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1))
    run = rk.fit(model, rk.Schedule(series, rk.Continuation(16), rk.Carry()), backend="numpy", epochs=1)
    predicted, ahead = rk.predict(run, series), rk.forecast(run, series, 5)
    name = "time" if zone is None else "time (UTC)"
    (axes,) = rk.plots.plot_forecast(series, predicted, rows=60).axes
    drawn = axes.lines[0].get_xdata()
    known = drawn[~np.isnat(drawn)]
    assert axes.get_xlabel() == name
    assert (known[-1], len(drawn) - len(known)) == (series.times[79], 1)  # a line ends with its segment
    (axes,) = rk.plots.plot_continuation(series, ahead).axes
    assert axes.get_xlabel() == name
    assert axes.lines[0].get_xdata()[-1] == series.times[79]
    assert axes.lines[1].get_xdata().tolist()[1:] == ahead.times.tolist()
    assert rk.plots.plot_forecast(series, np.asarray(predicted)).axes[0].get_xlabel() == "row"
