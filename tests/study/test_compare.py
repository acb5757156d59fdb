"""Comparisons: the grid, what goes wrong, settings that are refused."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, replace
from threading import Lock

import joblib
import numpy as np
import pytest
import rnnkit_numpy

import rnnkit as rk
from builders.studies import CHUNKS, MODEL, STRIPS, Failing, compared, count_trained, errors, parts_of
from rnnkit.study.measure import one_thread
from rnnkit.study.memory import RESET, begin_peak, peak_memory
from rnnkit.study.report import NOISY

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


# What goes wrong


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
