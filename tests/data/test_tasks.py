"""Generated tasks: each has the property that its docstring promises, computed in another way here."""

from __future__ import annotations

import math
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import rnnkit as rk
from rnnkit import tasks

EVERY = [
    partial(tasks.adding, 10, 4),
    partial(tasks.delayed_copy, 5, 60),
    partial(tasks.mackey_glass, 50, discard=10),
    partial(tasks.influence_balancing, 60),
]


def rows_of(series: rk.Sequence) -> tuple[np.ndarray, np.ndarray]:
    """All inputs and targets, in float64."""
    return series.read_x(0, series.rows, "float64"), series.read_y(0, series.rows, "float64")


@pytest.mark.parametrize("task", EVERY, ids=lambda task: task.func.__name__)
def test_the_same_seed_gives_the_same_rows_and_another_one_others(task):
    (x, y), (again_x, again_y), (other_x, other_y) = (rows_of(task(seed=seed)) for seed in (3, 3, 4))
    assert np.array_equal(x, again_x)
    assert np.array_equal(y, again_y)
    assert not np.array_equal(x, other_x)
    assert not np.array_equal(y, other_y)


@pytest.mark.parametrize("length", [2, 7, 20])
def test_adding_wants_the_sum_of_the_marked_numbers_of_each_segment(length):
    series = tasks.adding(length, count=50, seed=1)
    x, y = rows_of(series)
    assert [tuple(segment) for segment in series.segments] == [(k * length, (k + 1) * length) for k in range(50)]
    for start, stop in series.segments:
        marked = np.flatnonzero(x[start:stop, 1])
        assert set(x[start:stop, 1]) <= {0.0, 1.0}
        assert len(marked) == 2
        assert marked[0] < length // 2 <= marked[1]
        assert y[stop - 1, 0] == pytest.approx(sum(x[start + place, 0] for place in marked))
        for t in range(start, stop):
            assert y[t, 0] == pytest.approx(sum(x[s, 0] for s in range(start, t + 1) if x[s, 1] == 1))
    assert x[:, 0].min() >= 0
    assert x[:, 0].max() <= 1


def test_the_marks_of_adding_are_anywhere_in_their_halves():
    x, _ = rows_of(tasks.adding(8, count=300, seed=2))
    assert (x[:, 1].reshape(300, 8).sum(0) > 0).all()


@pytest.mark.parametrize("lag", [1, 9, 99])
def test_the_target_of_delayed_copy_is_the_input_lag_rows_before(lag):
    x, y = rows_of(tasks.delayed_copy(lag, rows=100))
    for t in range(100):
        assert y[t, 0] == (x[t - lag, 0] if t >= lag else 0)
    assert np.abs(x).max() <= 1


def test_the_density_of_delayed_copy_is_the_share_of_rows_that_hold_a_number():
    x, _ = rows_of(tasks.delayed_copy(3, rows=20_000, density=0.2))
    assert np.mean(x != 0) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("tau", [1, 17])
def test_mackey_glass_agrees_with_an_integration_in_fine_steps(tau):
    rows, fine = 60, 2000
    x, _ = rows_of(tasks.mackey_glass(rows, tau=tau, discard=0, seed=5))
    step, value = 1 / fine, [x[0, 0]] * (tau * fine + 1)

    def change(now, late):
        return 0.2 * late / (1 + late**10) - 0.1 * now

    for k in range((rows - 1) * fine):  # Heun's method, its delayed values always on the grid
        now, late, next_late = value[-1], value[k], value[k + 1]
        slope = change(now, late)
        value.append(now + step / 2 * (slope + change(now + step * slope, next_late)))
    assert x[:, 0] == pytest.approx(value[tau * fine :: fine], abs=1e-6)
    assert np.ptp(x) > 0.1


def test_mackey_glass_leaves_out_the_rows_before_the_first():
    whole, _ = rows_of(tasks.mackey_glass(100, discard=0))
    later, _ = rows_of(tasks.mackey_glass(60, discard=40))
    assert np.array_equal(whole[40:], later)


def test_mackey_glass_predicts_its_own_rows_ahead():
    series = tasks.mackey_glass(100, horizon=6)
    x, y = rows_of(series)
    assert series.horizon == 6
    assert np.array_equal(y[:94], x[6:])


def test_influence_balancing_is_the_response_of_a_walk_down_the_numbers():
    size, positive, rows = 9, 4, 200
    x, y = rows_of(tasks.influence_balancing(rows, size=size, positive=positive))

    def influence(back: int) -> float:
        """Of an input so many rows back: where a walker of that many coin tosses may have started."""
        chances = [math.comb(back, place) / 2**back if place <= back else 0.0 for place in range(size)]
        return sum(chances[:positive]) - sum(chances[positive:])

    kernel = [influence(back) for back in range(rows)]
    expected = [sum(kernel[back] * x[t - back, 0] for back in range(t + 1)) for t in range(rows)]
    assert y[:, 0] == pytest.approx(expected, abs=1e-12)


def test_in_influence_balancing_the_short_run_helps_and_the_long_run_harms_more():
    x, y = rows_of(tasks.influence_balancing(800))
    kernel = np.linalg.lstsq(np.stack([np.roll(x[:, 0], back) for back in range(120)], 1)[200:], y[200:, 0])[0]
    assert kernel[:17].min() > 0
    assert kernel[20:40].max() < 0
    assert kernel.sum() == pytest.approx(2 * 10 - 2 * 13, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: tasks.adding(1), "adding expects length to be a whole number >= 2, got 1"),
        (lambda: tasks.adding(10, 0), "adding expects count to be a whole number >= 1, got 0"),
        (lambda: tasks.delayed_copy(0), "delayed_copy expects lag to be a whole number >= 1, got 0"),
        (lambda: tasks.delayed_copy(10, rows=10), "more rows than lag=10, got rows=10"),
        (lambda: tasks.delayed_copy(1, density=0), "density above 0 and up to 1, got 0"),
        (lambda: tasks.mackey_glass(100, tau=1.5), "mackey_glass expects tau to be a whole number >= 1, got 1.5"),
        (lambda: tasks.mackey_glass(True), "mackey_glass expects rows to be a whole number >= 2, got True"),
        (lambda: tasks.influence_balancing(10, size=5, positive=5), "positive below size=5, got 5"),
    ],
)
def test_sizes_that_make_no_task_are_refused(make, said):
    with pytest.raises(rk.DataError, match=said):
        make()


def test_tasks_come_with_the_package_and_cost_nothing():
    code = "import sys, rnnkit; print(rnnkit.tasks.__name__, 'joblib' in sys.modules, 'matplotlib' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["rnnkit.data.tasks", "False", "False"]
