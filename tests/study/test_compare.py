"""Comparisons: the grid, equal budgets, resuming, what goes wrong, the tables; and the same from a study's file."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import joblib
import numpy as np
import pyarrow.parquet as pq
import pytest
import rnnkit_numpy

import rnnkit as rk
import rnnkit.study.measure as measure
from builders.files import write_csv
from builders.series import wave
from rnnkit.cli.commands import main
from rnnkit.cli.config import POLICIES, SPLITTERS, tables_at
from rnnkit.cli.study import StudyConfig, build_plan, read_study
from rnnkit.model.losses import as_loss
from rnnkit.schedule import Grid
from rnnkit.schedule.brief import brief
from rnnkit.study import Study, Trial
from rnnkit.study.compare import Comparison
from rnnkit.study.equal import OverSteps
from rnnkit.study.measure import one_thread
from rnnkit.study.memory import RESET, begin_peak, peak_memory
from rnnkit.study.pictures import plot_curves
from rnnkit.study.plan import make_plan
from rnnkit.study.report import CARRIED, CHOSEN, NOISY, table, with_spread
from rnnkit.study.results import COLUMNS

EXAMPLES = Path(__file__).parents[2] / "examples"

MODEL = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))

STRIPS, CHUNKS = rk.Continuation(length=10, lanes=2), rk.Chunked(length=10, lanes=2)


def parts_of(rows: int = 300) -> tuple[rk.Sequence, rk.Sequence | None, rk.Sequence | None]:
    """A noisy wave far from 0, its training part scaled."""
    series = rk.Sequence(wave(rows, level=10, scale=10), name="wave")
    training, validation, test = series.split(0.6, 0.2)
    return training.with_scaler(rk.Standard.fit(training)), validation, test


def compared(**changes) -> rk.Comparison:
    """A small comparison in this process."""
    settings = {"splitters": [STRIPS, CHUNKS], "backends": ["numpy"], "equal": rk.Equal(rows=200), "warm": 8, "jobs": 1}
    return rk.compare(MODEL, parts_of(), **(settings | changes))


def errors(found: rk.Comparison) -> list[tuple[float, float]]:
    return [(row["validation_loss"], row["test_mae"]) for row in found.rows if row["status"] == "done"]


def count_trained(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """The trials that are trained from here on."""
    trained, train = [], measure.train_trial

    def counting(study: Study, trial: Trial):
        trained.append(trial)
        return train(study, trial)

    monkeypatch.setattr(sys.modules["rnnkit.study.compare"], "train_trial", counting)
    return trained


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without pictures, which take their time."""
    monkeypatch.setattr("rnnkit.study.pictures.pictures", lambda comparison: {})


# The grid


def test_there_is_a_row_for_every_splitter_policy_backend_and_seed():
    found = compared(backends=["numpy", "numba"], seeds=[4, 1], equal=rk.Equal(epochs=1))
    expected = [
        (splitter, policy, name, seed)
        for splitter in ("Continuation(length=10, lanes=2)", "Chunked(length=10, lanes=2)")
        for policy in ("Carry()", "Reset()")
        for name in ("numpy", "numba")
        for seed in (4, 1)
    ]
    assert [tuple(row[name] for name in ("splitter", "policy", "backend", "seed")) for row in found.rows] == expected
    assert [row["status"] for row in found.rows] == ["done"] * 8 + ["refused"] * 4 + ["done"] * 4


def test_a_pair_that_the_schedule_refuses_is_told_and_not_trained(monkeypatch):
    trained = count_trained(monkeypatch)
    found = compared()
    (refused,) = (row for row in found.rows if row["status"] == "refused")
    assert (refused["splitter"], refused["policy"]) == ("Chunked(length=10, lanes=2)", "Carry()")
    with pytest.raises(rk.ContinuityError) as error:
        rk.Schedule(parts_of()[0], CHUNKS, rk.Carry())
    assert refused["message"] == str(error.value)
    assert (CHUNKS, rk.Carry()) not in [(trial.splitter, trial.policy) for trial in trained]
    assert len(trained) == 3


def test_a_cell_is_what_fit_and_evaluate_give():
    training, validation, test = parts = parts_of()
    settings = {"rule": rk.Adam(0.02), "clip": rk.ClipNorm(0.5), "loss": "mae", "dtype": "float64", "warm": 7}
    found = rk.compare(
        MODEL, parts, splitters=[STRIPS], policies=[rk.Carry()], backends=["numpy"], seeds=[3], jobs=1,
        equal=rk.Equal(epochs=2), learning_rate=rk.StepDecay(1), period=31, **settings,
    )  # fmt: skip
    (row,) = found.rows
    schedule = rk.Schedule(training, STRIPS, rk.Carry(), seed=3)
    run = rk.fit(MODEL, schedule, backend="numpy", epochs=2, seed=3, learning_rate=rk.StepDecay(1), **settings)
    for name, part in (("validation", validation), ("test", test)):
        expected = rk.evaluate(run, part, warm=7)
        assert row[f"{name}_mae"] == expected.model.mae
        assert row[f"{name}_rmse"] == expected.model.rmse
        assert row[f"{name}_loss"] == expected.loss
        assert row[f"{name}_ratio"] == expected.model.mae / expected.persistence.mae
    assert row["steps"] == len(run.history.steps["loss"]) == 2 * len(schedule)
    assert row["rows_read"] == row["rows_scored"] == 2 * len(training)
    assert row["epochs"] == 2
    covered = schedule.coverage()
    assert row["scored_once"] == covered.scored_once == len(training)
    assert row["padding"] == covered.padding
    assert row["state_reach_median"] == covered.state_reach.median
    assert row["gradient_reach_maximum"] == covered.gradient_reach.maximum == 9
    assert row["rows_per_second"] == pytest.approx(row["rows_scored"] / row["seconds"])
    assert row["peak_memory"] > 10


def test_a_learning_curve_goes_from_the_start_of_training_to_its_end():
    (row,) = compared(splitters=[STRIPS], policies=[rk.Carry()], equal=rk.Equal(epochs=10)).rows
    curve = row["curve"]
    assert len(curve) == 20
    for key in ("rows", "seconds"):
        assert sorted(point[key] for point in curve) == [point[key] for point in curve]
    assert curve[-1]["rows"] == row["rows_scored"]
    assert curve[-1]["validation_loss"] == row["validation_loss"]
    assert curve[-1]["validation_mae"] == row["validation_mae"]
    assert curve[0]["rows"] < row["rows_scored"] / 10


def test_the_bias_of_a_cells_gradient_is_measured_where_it_is_asked_for():
    settings = {"splitters": [STRIPS, rk.Continuation(length=200)], "policies": [rk.Carry()], "dtype": "float64"}
    found = compared(bias=True, equal=rk.Equal(epochs=1), **settings)
    truncated, whole = found.rows
    assert "gradient: cosine" in repr(found)
    assert NOISY in repr(found)
    assert whole["bias_cosine"] == pytest.approx(1)
    assert whole["bias_norm_ratio"] == pytest.approx(1)
    assert truncated["bias_cosine"] < 0.9999
    assert "bias_cosine" not in compared(equal=rk.Equal(epochs=1), **settings).rows[0]


def test_cells_in_other_processes_are_the_same_to_the_bit():
    here, elsewhere = compared(seeds=2), compared(seeds=2, jobs=2)
    assert len(errors(here)) == 6
    assert errors(here) == errors(elsewhere)
    assert [row["status"] for row in here.rows] == [row["status"] for row in elsewhere.rows]


def test_dask_serves_without_a_change():
    from dask.distributed import Client, LocalCluster

    here = {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    with LocalCluster(n_workers=1, threads_per_worker=2, **here) as cluster, Client(cluster) as client:
        with joblib.parallel_config(backend="dask"):
            found = compared(jobs=-1)
        trained_there = client.run(lambda: "rnnkit.study.measure" in sys.modules)
    assert list(trained_there.values()) == [True]
    assert errors(found) == errors(compared())


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
        ({"rows": 5, "seconds": 2.0}, "got rows = 5, seconds = 2.0"),
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


# Going on


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


# What goes wrong


@dataclass(frozen=True)
class Failing:
    """A splitter that breaks in its second epoch."""

    length: int = 10

    def grid(self, lengths: np.ndarray, rng: np.random.Generator, name: str) -> Grid:
        grid = rk.Continuation(self.length).grid(lengths, rng, name)
        if rng.bit_generator.seed_seq.spawn_key == (1,):
            raise RuntimeError("out of luck")
        return grid


def test_a_cell_that_fails_is_told_and_the_others_go_on(tmp_path, undrawn):
    found = compared(splitters=[Failing(), STRIPS], policies=[rk.Reset()], out=tmp_path)
    assert [row["status"] for row in found.rows] == ["failed", "done"]
    assert found.rows[0]["message"] == "RuntimeError: out of luck"
    kept = json.loads((tmp_path / "trials" / f"{found.rows[0]['digest']}.json").read_text())
    assert "in grid" in kept["traceback"]
    assert "out of luck" in (tmp_path / "report.md").read_text()
    assert found.summary[0]["seeds"] == 0
    assert found.summary[0]["failed"] == 1


def test_a_cell_that_diverges_is_a_result(tmp_path, monkeypatch, undrawn):
    settings = {"policies": [rk.Carry()], "splitters": [STRIPS], "rule": rk.SGD(1e30), "out": tmp_path}
    (row,) = compared(**settings).rows
    assert row["status"] == "diverged"
    assert "lower the learning rate" in row["message"]
    assert "test_mae" not in row
    trained = count_trained(monkeypatch)
    compared(**settings)
    assert trained == []


def test_a_schedule_that_scores_nothing_ends():
    @dataclass(frozen=True)
    class Idle:
        def grid(self, lengths, rng, name):
            grid = rk.Continuation(10).grid(lengths, rng, name)
            return replace(grid, lead=grid.length)

    (row,) = compared(splitters=[Idle()], policies=[rk.Reset()]).rows
    assert row["status"] == "failed"
    assert "scores none" in row["message"]


@pytest.mark.parametrize("equal", [rk.Equal(epochs=2), rk.Equal(rows=24), rk.Equal(seconds=0.05)], ids=str)
def test_samples_longer_than_a_window_are_trained_though_their_first_windows_score_nothing(equal):
    samples = np.sin(np.arange(600)).reshape(20, 30)
    parts = rk.Sequence.panel(samples, [0, 1] * 10).split(0.6, 0.2)
    found = rk.compare(
        rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 2)), parts, splitters=[rk.Chunked(10)], policies=[rk.Carry()],
        backends=["numpy"], equal=equal, loss="cross_entropy", jobs=1,
    )  # fmt: skip
    (row,) = found.rows
    assert (row["status"], row["message"]) == ("done", None)
    assert row["rows_scored"] > 0 if equal.seconds else row["rows_scored"] == 24


def test_a_process_that_is_lost_is_told():
    @dataclass(frozen=True)
    class Fatal:
        here: int

        def grid(self, lengths, rng, name):
            if os.getpid() != self.here:
                os._exit(1)
            return rk.Continuation(10).grid(lengths, rng, name)

    with pytest.raises(rk.RnnkitError, match=r"lost a process that trained a trial.*run it again to go on"):
        compared(splitters=[Fatal(os.getpid())], policies=[rk.Reset()], seeds=2, jobs=2)


def test_data_that_cannot_travel_are_told():
    class Held:
        """Rows behind a lock."""

        shape, dtype = (300, 1), np.dtype(float)

        def __init__(self):
            self.lock = Lock()

        def __getitem__(self, rows):
            return np.sin(np.arange(300.0))[rows, None]

    parts = rk.Sequence(Held()).split(0.6, 0.2)
    settings = {"splitters": [STRIPS], "backends": ["numpy"], "equal": rk.Equal(rows=100), "seeds": 2}
    with pytest.raises(rk.ConfigError, match=r"cannot send its data to another process.*jobs=1"):
        rk.compare(MODEL, parts, jobs=2, **settings)
    assert len(errors(rk.compare(MODEL, parts, jobs=1, **settings))) == 4


def test_without_joblib_cells_are_trained_here_or_not_at_all(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(rk.ConfigError, match=r"pip install 'rnnkit\[study\]'.*jobs=1 \(--jobs 1\)"):
        compared(jobs=2)
    assert len(errors(compared(jobs=1))) == 3


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"splitters": []}, rk.ConfigError, "expects splitters to have at least one entry"),
        ({"splitters": STRIPS}, rk.ConfigError, r"expects splitters to be a list, got Continuation\("),
        ({"backends": "numpy"}, rk.ConfigError, r"expects backends to be a list, got 'numpy'; write \['numpy'\]"),
        ({"policies": [rk.Reset(), rk.Reset()]}, rk.ConfigError, r"policies to differ, got Reset\(\) more than once"),
        ({"seeds": 0}, rk.ConfigError, "expects seeds to have at least one entry"),
        ({"seeds": [0, -1]}, rk.ConfigError, "expects seeds to be whole numbers from 0 on, got -1"),
        ({"seeds": [0, 0]}, rk.ConfigError, "seeds to differ, got 0 more than once"),
        ({"equal": 5}, rk.ConfigError, "expects equal to be an Equal, got 5"),
        ({"jobs": 0}, rk.ConfigError, "expects jobs to be a number of processes, or -1"),
        ({"backends": ["nunpy"]}, rk.BackendError, "did you mean 'numpy'"),
        ({"loss": "cross_entropy"}, rk.ModelError, "cross_entropy expects whole-number labels"),
        (
            {"splitters": [CHUNKS], "policies": [rk.Carry()]},
            rk.ScheduleError,
            "at least one splitter and policy that can be trained(.|\n)*use Continuation",
        ),
    ],
)
def test_settings_that_no_cell_could_be_trained_with_are_refused(changes, kind, said):
    with pytest.raises(kind, match=said):
        compared(**changes)


def test_parts_and_model_are_what_they_should_be():
    settings = {"splitters": [STRIPS], "backends": ["numpy"], "jobs": 1}
    with pytest.raises(rk.ConfigError, match=r"expects parts as series.split\(0.7, 0.15\) gives them"):
        rk.compare(MODEL, parts_of()[0], **settings)
    with pytest.raises(rk.ModelError, match="compare expects a Chain first"):
        rk.compare(rk.LSTM(1, 3), parts_of(), **settings)
    with pytest.raises(rk.ModelError, match="the model expects 2 features"):
        rk.compare(rk.Chain(rk.LSTM(2, 3), rk.Dense(3, 1)), parts_of(), **settings)


def test_a_folder_that_holds_other_things_is_left_alone(tmp_path):
    (tmp_path / "results.csv").write_text("mine")
    with pytest.raises(rk.SourceError, match="holds other files; name another"):
        compared(out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]
    with pytest.raises(rk.SourceError, match="expects a folder that can be written"):
        compared(out=tmp_path / "results.csv")


# Tables, summary, report


def read_table(folder: Path) -> list[dict]:
    with (folder / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    return [{name: COLUMNS[name](text) if text else None for name, text in line.items()} for line in lines]


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


def test_the_summary_is_over_seeds():
    found = compared(seeds=3)
    assert [(line["splitter"][:4], line["policy"], line["seeds"]) for line in found.summary] == [
        ("Cont", "Carry()", 3), ("Cont", "Reset()", 3), ("Chun", "Carry()", 0), ("Chun", "Reset()", 3),
    ]  # fmt: skip
    values = [row["test_mae"] for row in found.rows if row["policy"] == "Reset()" and row["splitter"][:4] == "Chun"]
    assert found.summary[3]["test_mae_mean"] == pytest.approx(sum(values) / 3)
    variance = sum((value - sum(values) / 3) ** 2 for value in values) / 2
    assert found.summary[3]["test_mae_spread"] == pytest.approx(variance**0.5)
    assert found.summary[2]["refused"] == 3
    assert found.summary[2]["test_mae_mean"] is None
    assert compared(seeds=1).summary[0]["test_mae_spread"] is None


def test_the_report_has_pictures_the_summary_and_what_was_refused(tmp_path):
    found = compared(out=tmp_path, seeds=2)
    report = (tmp_path / "report.md").read_text()
    for name in ("error_by_policy.png", "error_against_time.png", "learning_curves.png"):
        assert f"]({name})" in report
        assert (tmp_path / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    best = min((line for line in found.summary if line["seeds"]), key=lambda line: line["validation_mae_mean"])
    told = with_spread(best["validation_mae_mean"], best["validation_mae_spread"]).partition(" ")[0]
    ranked = [line for line in report.splitlines() if line.startswith("| C")]
    assert ranked[0].startswith(f"| {best['splitter']} | {best['policy']} | 2 | {told} ± ")
    assert "Chunked(length=10, lanes=2), Carry(): refused" in report
    assert "Every trial was trained for 200 scored rows." in report
    assert report.count(CARRIED) == repr(found).count(CARRIED) == 1
    assert "Errors are in the data's own units." in report
    assert NOISY not in report
    assert {path.name for path in tmp_path.iterdir()} == {
        "trials", "results.csv", "results.parquet", "report.md",
        "error_by_policy.png", "error_against_time.png", "learning_curves.png",
    }  # fmt: skip


def test_a_comparison_of_classifiers_tells_shares_of_wrong_classes(tmp_path, monkeypatch):
    import rnnkit.study.pictures as drawing

    rng = np.random.default_rng(0)
    parts = rk.Sequence(rng.standard_normal(300), rng.integers(0, 2, 300)).split(0.6, 0.2)
    drawn, draw = {}, drawing.pictures
    monkeypatch.setattr(drawing, "pictures", lambda found: drawn.update(draw(found)) or drawn)
    model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 2))
    found = rk.compare(
        model, parts, splitters=[STRIPS], backends=["numpy"], loss="cross_entropy", equal=rk.Equal(rows=200),
        seeds=2, jobs=1, out=tmp_path,
    )  # fmt: skip
    report = (tmp_path / "report.md").read_text()
    assert "| validation share wrong | test share wrong | share wrong / most frequent class |" in report
    assert "Errors are shares of classes that are wrong." in report
    said = [caption for _, caption in drawn.values()]
    said += [text() for figure, _ in drawn.values() for a in figure.axes for text in (a.get_xlabel, a.get_ylabel)]
    for text in (report, repr(found), *said):
        assert "MAE" not in text
        assert "own units" not in text
    assert said.count("share of wrong classes on the validation part") == 3


@pytest.mark.parametrize(
    ("mean", "spread", "said"),
    [
        (1043.7, 162.0, "1040 ± 160"),
        (0.2461, 0.1704, "0.25 ± 0.17"),
        (12.3456, 0.0996, "12.35 ± 0.10"),
        (3.0, 25.2, "3 ± 25"),
        (99.96, 9.96, "100 ± 10"),
        (0.0, 0.0, "0 ± 0"),
        (1.5, 0.0, "1.5 ± 0"),
        (2e-9, 3.14e-10, "2e-09 ± 3.1e-10"),
    ],
)
def test_a_mean_has_the_digits_of_its_spread(mean, spread, said):
    assert with_spread(mean, spread) == said


def test_a_curve_is_the_mean_of_its_seeds_in_the_band_that_they_fill():
    def row(seed, *points):
        curve = [dict(zip(("rows", "seconds", "validation_mae"), point, strict=True)) for point in points]
        return {"splitter": "s", "policy": "p", "backend": "b", "seed": seed, "curve": curve}

    rows = [row(0, (10, 1.0, 4.0), (20, 2.0, 2.0)), row(1, (10, 1.5, 6.0), (20, 3.5, 2.0))]
    scored, seconds = plot_curves(rows).axes
    (mean,), (band,) = scored.lines, scored.collections
    assert mean.get_xydata().tolist() == [[10, 5], [20, 2]]
    assert band.get_paths()[0].get_extents().extents.tolist() == [10, 2, 20, 6]
    (mean,) = seconds.lines
    assert mean.get_xydata().tolist() == [[1.5, (3 + 6) / 2], [2, (2 + 5) / 2]]  # where both have been
    alone = plot_curves(rows[:1]).axes[0]
    assert not alone.collections


def test_a_comparison_says_what_it_is():
    found = compared(seeds=2)
    head, names, *lines = repr(found).splitlines()
    assert head == "Comparison of 8 trials, 200 scored rows each: 6 done, 2 refused"
    assert names.split()[:7] == ["splitter", "policy", "seeds", "validation", "MAE", "test", "MAE"]
    best = min((line for line in found.summary if line["seeds"]), key=lambda line: line["validation_mae_mean"])
    assert lines[0].split("  ")[1].strip() == best["splitter"]
    assert "Chunked(length=10, lanes=2), Carry(): refused" in lines[-1]


def test_without_later_parts_cells_are_told_by_their_time(tmp_path):
    training, _, _ = parts_of()
    settings = {"splitters": [STRIPS], "backends": ["numpy"], "equal": rk.Equal(rows=100), "jobs": 1, "out": tmp_path}
    found = rk.compare(MODEL, (training, None, None), **settings)
    assert [row["status"] for row in found.rows] == ["done", "done"]
    assert "MAE" not in repr(found)
    assert (tmp_path / "learning_curves.png").exists()


# What is chosen


STUDY_OF_NUMBERS = Study(
    MODEL, parts_of(), rk.Equal(rows=100), rk.Adam(), as_loss("mse"),
    "float32", None, rk.Constant(), 8, None, False,
)  # fmt: skip


def row_of(splitter, validation, test, seed=0, status="done", **others):
    errors = {"validation_mae": validation, "test_mae": test} if status == "done" else {}
    place = {"splitter": splitter, "policy": "Reset()", "backend": "numpy", "seed": seed}
    return {**place, "status": status, "message": None, **errors, **others}


def comparison_of(rows):
    return Comparison(STUDY_OF_NUMBERS, rows, None)


def test_validation_chooses_and_test_is_told():
    """The trial that is best on the test part is not the one that is best on the validation part."""
    rows = [
        row_of("lucky", 3.0, 1.0), row_of("lucky", 3.0, 1.0, 1),
        row_of("best", 1.0, 2.0), row_of("best", 2.0, 2.5, 1),
        row_of("one good seed", 0.5, 0.9), row_of("one good seed", 3.0, 9.0, 1),
    ]  # fmt: skip
    found = comparison_of(rows)
    assert found.chosen is not None
    assert (found.chosen["splitter"], found.chosen["validation_mae_mean"]) == ("best", 1.5)
    names, *lines = table(found)
    assert names[:5] == ["splitter", "policy", "seeds", "validation MAE", "test MAE"]
    assert [line[0] for line in lines] == ["best", "one good seed", "lucky"]
    said = (
        "Chosen by its MAE on the validation part: best, Reset(). On the test part, which had no say in it, its MAE is"
    )
    assert f"{said} 2.25 ± 0.35." in repr(found)
    assert " ".join(CHOSEN.split()) in repr(found)


def test_a_place_that_lost_a_seed_is_chosen_only_where_all_did():
    rows = [row_of("a", 1.0, 1.0), row_of("a", 0, 0, 1, "diverged"), row_of("b", 2.0, 2.0), row_of("b", 2.0, 2.0, 1)]
    for row in rows:
        row["message"] = "m"
    found = comparison_of(rows)
    assert found.chosen is not None
    assert found.chosen["splitter"] == "b"
    assert [line[0] for line in table(found)[1:]] == ["b", "a"]
    alone = comparison_of(rows[:2]).chosen
    assert alone is not None
    assert alone["splitter"] == "a"
    assert comparison_of([row_of("a", 0, 0, 0, "failed")]).chosen is None


def test_the_table_of_results_marks_the_rows_of_what_was_chosen(tmp_path):
    found = compared(seeds=2, out=tmp_path)
    best = min((line for line in found.summary if line["seeds"]), key=lambda line: line["validation_mae_mean"])
    marked = [(row["splitter"], row["policy"]) for row in read_table(tmp_path) if row["chosen"]]
    assert marked == [(best["splitter"], best["policy"])] * 2
    assert found.chosen == best
    report = (tmp_path / "report.md").read_text()
    assert f"Chosen by its MAE on the validation part: {best['splitter']}, {best['policy']}. On the test part" in report
    assert [row["chosen"] for row in compared(seeds=2, out=tmp_path).rows] == [row["chosen"] for row in found.rows]


def test_without_a_test_part_that_is_told():
    training, validation, _ = parts_of()
    found = rk.compare(
        MODEL, (training, validation, None), splitters=[STRIPS], backends=["numpy"], equal=rk.Equal(rows=100), jobs=1
    )
    assert "There is no test part; on new data expect it to be worse" in repr(found)


def test_a_test_part_alone_chooses_nothing():
    training, _, test = parts_of()
    settings = {"splitters": [STRIPS], "backends": ["numpy"], "equal": rk.Equal(rows=100), "jobs": 1}
    with pytest.raises(rk.ConfigError, match="expects a validation part to choose by, got a test part alone") as error:
        rk.compare(MODEL, (training, None, test), **settings)
    assert "series.split(0.7, 0.15)" in str(error.value)
    series = rk.Sequence(np.sin(np.arange(300) / 5))
    assert rk.compare(MODEL, series.split(0.7, 0.15), **settings).chosen is not None


@pytest.mark.parametrize(
    ("description", "said"),
    [
        (rk.Continuation(length=5), "Continuation(length=5)"),
        (rk.Continuation(5, lanes=1, lookback=3), "Continuation(length=5, lookback=3)"),
        (rk.Sliding(5, shuffle=True), "Sliding(length=5, shuffle=True)"),
        (rk.Reset(), "Reset()"),
        (3, "3"),
    ],
)
def test_names_leave_out_what_holds_its_default(description, said):
    assert brief(description) == said


# Threads and memory


def test_every_backend_trains_on_one_thread():
    import torch

    with one_thread("numba") as engine:
        assert engine.threads == 1
    torch.set_num_threads(2)
    with one_thread("torch"):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with one_thread("numpy") as engine:
        assert engine.own is rnnkit_numpy


def test_the_peak_of_memory_begins_anew_where_the_system_can():
    begin_peak()
    before = peak_memory()
    held = np.ones(32 * 2**20)  # 256 MiB
    peak = peak_memory()
    del held
    begin_peak()
    anew = peak_memory()
    assert before is not None
    assert peak is not None
    assert anew is not None
    assert peak > before + 200
    assert (anew < peak - 200) == RESET.exists()


# The command line

STUDY = """\
splitters = [{type = "Continuation", length = 10, lanes = 2}, {type = "Chunked", length = 10, lanes = 2}]
policies = ["Carry", {type = "Reset"}]
backends = ["numpy"]
seeds = 2
equal = {rows = 200}
[data]
path = "wave.csv"
time = "time"
target = "value"
warm = 2
[[model.layers]]
type = "LSTM"
hidden = 3
[[model.layers]]
type = "Dense"
[train]
rule = {type = "Adam", learning_rate = 0.02}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a study and its data."""
    series = parts_of()[0]
    values = series.with_scaler(None).read_x(0, 300, "float64")[:, 0]
    write_csv(tmp_path / "wave.csv", time=range(300), value=values)
    (tmp_path / "a.toml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_does_what_compare_does(home, capsys, undrawn):
    assert main(["compare", "a.toml", "--jobs", "1"]) == 0
    said = capsys.readouterr().out
    series = rk.Sequence.open("wave.csv", time="time", target="value")
    training, validation, test = series.split(0.7, 0.15)
    parts = (training.with_scaler(rk.Standard.fit(training)), validation, test)
    expected = rk.compare(
        MODEL, parts, splitters=[STRIPS, CHUNKS], backends=["numpy"], seeds=2, equal=rk.Equal(rows=200),
        rule=rk.Adam(0.02), warm=2, jobs=1,
    )  # fmt: skip
    table = read_table(home / "runs" / "a")
    assert [row["test_mae"] for row in table] == [row.get("test_mae") for row in expected.rows]
    assert "8 trials, each trained for 200 scored rows" in said
    assert "refused: Chunked(length=10, lanes=2) with Carry(): " in said
    assert "6 trials to run" in said
    assert "6/6 Chunked(length=10, lanes=2), Reset(), numpy, seed 1: done   validation MAE" in said
    best = expected.summary[0]
    assert with_spread(best["test_mae_mean"], best["test_mae_spread"]) in said
    assert f"the report is {Path('runs/a/report.md')}" in said
    assert main(["compare", "a.toml"]) == 0
    assert "0 trials to run" in capsys.readouterr().out


def test_a_study_without_a_validation_part_is_refused_and_the_advice_works(home, capsys, undrawn):
    assert main(["compare", "a.toml", "--jobs", "1", "--data.validation", "0.0"]) == 2
    said = capsys.readouterr().err
    assert "--data.validation: compare expects a validation part to choose by" in said
    assert "[data] validation = 0.15" in said
    assert main(["compare", "a.toml", "--jobs", "1", "--data.validation", "0.15"]) == 0
    assert "Chosen by its MAE on the validation part: C" in capsys.readouterr().out


def test_options_reach_into_the_study(home, capsys, undrawn):
    tokens = ["--seeds", "[5]", "--policies", '["Reset"]', "--splitters.1.lanes", "3", "--equal", "{epochs = 1}"]
    assert main(["compare", "a.toml", "--jobs", "1", "--out", "here", *tokens]) == 0
    table = read_table(home / "here")
    assert [(row["splitter"], row["seed"], row["epochs"]) for row in table] == [
        ("Continuation(length=10, lanes=2)", 5, 1),
        ("Chunked(length=10, lanes=3)", 5, 1),
    ]
    assert main(["compare", "a.toml", "--jobs", "1", "--out", "here", *tokens, "--fresh"]) == 0
    assert "2 trials to run" in capsys.readouterr().out


def test_a_failed_cell_gives_exit_status_1(home, capsys, monkeypatch):
    monkeypatch.setattr(measure, "errors_of", lambda study, run: 1 / 0)
    assert main(["compare", "a.toml", "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert "failed: ZeroDivisionError: division by zero" in said


def test_ctrl_c_keeps_finished_cells_and_the_same_command_goes_on(home):
    (home / "a.toml").write_text(STUDY.replace("seeds = 2", "seeds = 8").replace("200", "1000"))
    command = [sys.executable, "-u", "-W", "error", "-m", "rnnkit.cli.commands", "compare", "a.toml", "--jobs", "2"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if " 2/24 " in line:
                os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it, to the children too
                break
        said, complaints = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "trials are finished and kept in 'runs/a'; run it again to go on" in said
    assert "Warning" not in complaints
    kept = len(list((home / "runs" / "a" / "trials").glob("*.json")))
    assert 2 <= kept < 24
    plan = build_plan(read_study("a.toml"), fresh=False)
    assert len(plan.remaining) == 24 - kept


def test_splitters_and_policies_of_a_study_are_those_of_a_config():
    for key, kinds in (("splitters", SPLITTERS), ("policies", POLICIES)):
        assert tuple(table.kind for table in tables_at(StudyConfig, key)) == kinds


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'policies = ["Carry"',
            'policies = ["Cary"',
            "line 2, policies.0: expects one of .*'Cary'; did you mean 'Carry'",
        ),
        ("seeds = 2", 'seeds = "two"', "line 4, seeds: expects a whole number or a list, got 'two'"),
        ("seeds = 2", "seeds = [1, -2]", "line 4, seeds: .*whole numbers from 0 on, got -2"),
        ("seeds = 2", "seed = 2", "line 4, seed: unknown key; did you mean 'seeds'"),
        ('backends = ["numpy"]', 'backends = ["numpi"]', "line 3, backends.0: .*'numpi'; did you mean 'numpy'"),
        ('backends = ["numpy"]', 'backends = "numpy"', "line 3, backends: expects a list, got 'numpy'"),
        ("equal = {rows = 200}", "equal = {rows = 0}", "line 5, equal.rows: Equal expects rows to be a whole number"),
        ("equal = {rows = 200}", "equal = {rows = 5, seconds = 2}", "line 5, equal.rows: .*got rows = 5, seconds = 2"),
        ("equal = {rows = 200}", "equal = {row = 5}", "line 5, equal.row: unknown key; did you mean 'rows'"),
        ("[train]", "[train]\nepochs = 7", r"line 17, train.epochs: .*leave it out, or write equal = \{epochs = 7\}"),
        ("[train]", "[train]\nearly_stopping = {}", "line 17, train.early_stopping: .*trains every trial alike"),
        ("[train]", "[train]\nlearning_rate = {type = 'Plateau'}", "line 17, train.learning_rate: .*type = .Plateau."),
        ("length = 10, lanes = 2}, {", "length = 0, lanes = 2}, {", "line 1, splitters.0.length: .*>= 1, got 0"),
        ("length = 10, lanes = 2}]", "length = 10, lane = 2}]", "splitters.1.lane: unknown key; did you mean 'lanes'"),
        ('policies = ["Carry", {type = "Reset"}]', "", "policies: is required, but missing"),
        ('policies = ["Carry", {type = "Reset"}]', "policies = []", "line 2, policies: expects at least one entry"),
        ('policies = ["Carry", ', 'policies = ["Reset", ', "line 2, policies: .*differ, got .Reset."),
        ("hidden = 3", 'hidden = "3"', "line 13, model.layers.0.hidden: expects a whole number, got '3'"),
        ('path = "wave.csv"', 'path = "wafe.csv"', "line 7, data.path: .*did you mean 'wave.csv'"),
    ],
)
def test_what_is_wrong_with_a_study_is_said_with_its_line(home, capsys, old, new, said):
    assert old in STUDY
    (home / "a.toml").write_text(STUDY.replace(old, new))
    assert main(["compare", "a.toml", "--jobs", "1"]) == 2
    complaint = capsys.readouterr().err
    assert "Traceback" not in complaint
    with pytest.raises(rk.ConfigError, match=said):
        raise rk.ConfigError(complaint)
    assert not (home / "runs").exists()


@pytest.mark.parametrize(
    ("old", "new", "tokens", "said"),
    [
        (
            'policies = ["Carry", {type = "Reset"}]',
            'policies = "Carry"',
            [],
            """line 2, policies: expects a list, got 'Carry'; write ["Carry"]""",
        ),
        (
            'policies = ["Carry", {type = "Reset"}]',
            'policies = {type = "Carry"}',
            [],
            'line 2, policies: expects a list, got {type = "Carry"}; write [{type = "Carry"}]',
        ),
        (
            STUDY.splitlines()[0],
            'splitters = {type = "Chunked", length = 10}',
            [],
            'line 1, splitters: expects a list, got {type = "Chunked", length = 10}; '
            'write [{type = "Chunked", length = 10}]',
        ),
        (
            "",
            "",
            ["--policies", "Carry"],
            """option --policies: expects a list, got 'Carry'; write --policies '["Carry"]'""",
        ),
        (
            "length = 10, lanes = 2}, {",
            'length = {type = "Geometric", mean = 0.5}, lanes = 2}, {',
            [],
            "line 1, splitters.0.length.mean: Geometric expects mean > 1 (rows), got 0.5",
        ),
    ],
)
def test_a_table_in_place_of_a_list_and_one_within_another_are_told_in_their_form(home, capsys, old, new, tokens, said):
    assert old in STUDY
    (home / "a.toml").write_text(STUDY.replace(old, new, 1))
    assert main(["compare", "a.toml", "--jobs", "1", *tokens]) == 2
    assert capsys.readouterr().err == f"rnnkit: a.toml, {said}\n"


def test_a_study_draws_lengths(home):
    drawn = '{type = "Geometric", mean = 8}'
    text = STUDY.replace("length = 10, lanes = 2}, {", f"length = {drawn}, lanes = 2, reweight = true}}, {{")
    (home / "a.toml").write_text(text)
    for tokens, mean in (([], 8), (["--splitters.0.length.mean", "16"], 16)):
        plan = build_plan(read_study("a.toml", tokens), fresh=True)
        assert plan.trials[0].trial.splitter == rk.Continuation(rk.Geometric(mean), lanes=2, reweight=True)


def test_all_that_is_wrong_is_said_at_once(home, capsys):
    (home / "a.toml").write_text(STUDY.replace("hidden = 3", "hidden = 0").replace("rows = 200", "rows = -1"))
    assert main(["compare", "a.toml", "--polices", "Reset"]) == 2
    said = capsys.readouterr().err
    assert "has 3 errors" in said
    assert "unknown option --polices; did you mean --policies?" in said


def test_a_study_without_equal_trains_for_the_epochs_of_train(home):
    text = STUDY.replace("equal = {rows = 200}\n", "").replace("[train]", "[train]\nepochs = 3")
    (home / "a.toml").write_text(text)
    assert build_plan(read_study("a.toml"), fresh=False).study.equal == rk.Equal(epochs=3)


def test_the_example_plans_what_its_comments_say():
    plan = build_plan(read_study(EXAMPLES / "compare_states.toml"), fresh=True)
    assert len(plan.trials) == 4 * 2 * 5
    assert set(plan.refused) == {
        ("Chunked(length=40, lanes=4)", "Carry()"),
        ("Sliding(length=40, lanes=4, shuffle=True)", "Carry()"),
    }
    training = plan.study.parts[0]
    assert plan.study.equal.rows / len(training) == pytest.approx(140, abs=3)
    again = make_plan(plan.study, [rk.Sliding(length=40, lanes=4)], [rk.Reset()], ["numba"], 1)
    scored = rk.Schedule(training, again.trials[0].trial.splitter, rk.Reset())
    rows = sum(float(block.weight.sum()) for block in scored.blocks())
    assert plan.study.equal.rows / rows == pytest.approx(3.5, abs=0.05)
