"""Equal budgets: rows, epochs or seconds of training, and where inside an epoch it stops."""

from __future__ import annotations

import numpy as np
import pytest
import rnnkit_numpy

import rnnkit as rk
import rnnkit.study.measure as measure
from builders.studies import CHUNKS, MODEL, STRIPS, compared, parts_of
from rnnkit.study.equal import OverSteps

# Equal budgets


def test_equal_rows_are_equal_whatever_the_splitter():
    sliding = rk.Sliding(length=10, lanes=2, shuffle=True)
    found = compared(splitters=[STRIPS, CHUNKS, sliding], policies=[rk.Reset()], equal=rk.Equal(rows=1000))
    for row in found.rows:
        assert 1000 <= row["rows_scored"] <= 1000 + row["lanes"] * row["length"]
    epochs = [row["epochs"] for row in found.rows]
    assert epochs[0] == pytest.approx(1000 / 179, rel=0.05)
    assert epochs[2] == pytest.approx(1000 / 1700, rel=0.05)  # each row is scored about ten times


def test_equal_seconds_are_of_training_alone(monkeypatch):
    class SlowStart:
        """A backend that takes its time at the first call, as one that compiles does: by a clock of its own."""

        started, now = False, 0.0

        def perf_counter(self):
            return self.now

        thread_time = perf_counter

        def __getattr__(self, name):
            return getattr(rnnkit_numpy, name)

        def forward(self, *arguments):
            self.now += 0.01 if self.started else 0.6
            self.started = True
            return rnnkit_numpy.forward(*arguments)

    slow = SlowStart()
    monkeypatch.setattr(measure, "find_backend", lambda name: slow)
    monkeypatch.setattr(measure, "time", slow)
    (row,) = compared(splitters=[STRIPS], policies=[rk.Carry()], equal=rk.Equal(seconds=0.2)).rows
    assert slow.started
    assert slow.now > 0.8
    assert 0.2 <= row["seconds"] < 0.5
    assert row["steps"] > 10


def test_equal_epochs_are_equal_whatever_they_cost():
    found = compared(
        splitters=[STRIPS, rk.Sliding(length=10, lanes=2)], policies=[rk.Reset()], equal=rk.Equal(epochs=1)
    )
    assert [row["epochs"] for row in found.rows] == [1, 1]
    assert found.rows[1]["rows_scored"] > 5 * found.rows[0]["rows_scored"]


@pytest.mark.parametrize("rate", [rk.Cosine(floor=0.1), rk.OneCycle()])
def test_a_learning_rate_moves_over_the_rows_of_a_budget_whatever_its_epochs(rate):
    total = 400
    moved = [OverSteps(rate, total).factors(epoch, 10**9, 50, ()) for epoch in range(9)]
    expected = np.concatenate([rate.factors(step, total, 1, ()) for step in range(total)])
    assert np.abs(np.concatenate(moved)[:total] - expected).max() < 0.02
    assert (moved[8] == moved[7][-1]).all()  # beyond the budget it stays


def test_an_annealed_cell_ends_with_a_small_learning_rate(monkeypatch):
    runs, fit = [], measure.fit
    monkeypatch.setattr(measure, "fit", lambda *a, **settings: runs.append(fit(*a, **settings)) or runs[-1])
    for splitter in (STRIPS, rk.Sliding(length=10, lanes=2)):
        compared(splitters=[splitter], policies=[rk.Reset()], equal=rk.Equal(rows=1000), learning_rate=rk.Cosine())
        rates = runs[-1].history.steps["learning_rate"]
        assert rates[0] == pytest.approx(1e-3)
        assert 0 < rates[-1] < 0.05e-3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "Equal expects exactly one of rows, seconds and epochs, got none"),
        ({"rows": 5, "seconds": 2.0}, "got rows=5, seconds=2.0"),
        ({"rows": 0}, "Equal expects rows to be a whole number >= 1, got 0"),
        ({"rows": 2.5}, "Equal expects rows to be a whole number >= 1, got 2.5"),
        ({"epochs": True}, "Equal expects epochs to be a whole number >= 1, got True"),
        ({"seconds": -1}, "Equal expects seconds to be a number > 0, got -1"),
        ({"seconds": float("inf")}, "Equal expects seconds to be a number > 0, got inf"),
    ],
)
def test_a_budget_is_one_positive_number(values, said):
    with pytest.raises(rk.ConfigError, match=said):
        rk.Equal(**values)


@pytest.mark.parametrize(
    ("equal", "rate", "fits"),
    [
        (rk.Equal(rows=100), rk.Plateau(), False),
        (rk.Equal(rows=100), rk.StepDecay(2), False),
        (rk.Equal(rows=100), rk.OneCycle(), True),
        (rk.Equal(seconds=0.01), rk.Cosine(), False),
        (rk.Equal(seconds=0.01), rk.Constant(), True),
        (rk.Equal(epochs=1), rk.Plateau(), True),
    ],
)
def test_a_learning_rate_that_cannot_move_alike_in_all_cells_is_refused(equal, rate, fits):
    if fits:
        assert compared(equal=equal, learning_rate=rate).rows[0]["status"] == "done"
    else:
        with pytest.raises(rk.ConfigError, match=r"expects learning_rate to be Constant.*or equal epochs"):
            compared(equal=equal, learning_rate=rate)


# Stopping inside an epoch


def test_fit_stops_where_it_is_told_to_and_records_the_part_of_an_epoch():
    schedule = rk.Schedule(parts_of()[0], STRIPS, rk.Carry())
    seen = []
    whole = rk.fit(
        MODEL, schedule, backend="numpy", epochs=2, block_rows=60, stop=lambda run: bool(seen.append(run.params))
    )
    assert len(seen) == 2 * 3  # 9 steps of 20 rows times lanes, 3 in a block
    assert all(np.array_equal(seen[-1][key], value) for key, value in whole.params.items())
    cut = rk.fit(
        MODEL, schedule, backend="numpy", epochs=9, block_rows=60, stop=lambda run: len(run.history.steps["loss"]) > 10
    )
    assert all(np.array_equal(seen[3][key], value) for key, value in cut.params.items())
    assert len(cut.history.steps["loss"]) == 9 + 3
    assert cut.history.epochs["rows"] == [179, 60]
    assert cut.history.epochs["loss"][1] == pytest.approx(np.mean(cut.history.steps["loss"][9:]))
    with pytest.raises(rk.ModelError, match="fit expects block_rows to be a number of rows >= 1, got 0"):
        rk.fit(MODEL, schedule, backend="numpy", block_rows=0)
