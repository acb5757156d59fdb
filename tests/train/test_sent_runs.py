"""Runs and streams that are copied, or sent to another process: the same backend, and the same bits."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import rnnkit as rk

BACKENDS: list[tuple[str, dict[str, Any]]] = [
    ("numpy", {}),
    ("numba", {}),
    ("numba", {"threads": 1}),
    ("torch", {}),
    ("torch", {"device": "cpu"}),
]


def trained(name: str, options: dict[str, Any]) -> tuple[rk.Run, rk.Sequence]:
    series = rk.Sequence(np.sin(np.arange(60) / 3))
    schedule = rk.Schedule(series.with_scaler(rk.Standard.fit(series)), rk.Continuation(16), rk.Carry())
    model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))
    return rk.fit(model, schedule, backend=rk.backend(name, **options), epochs=1), series


def bits(run: rk.Run, series: rk.Sequence) -> bytes:
    return np.asarray(rk.predict(run, series)).tobytes()


def test_a_run_that_is_sent_predicts_the_same_bits_in_another_process():
    runs = [trained(name, options) for name, options in BACKENDS]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.starmap(rk.predict, runs)
    for (run, series), predicted in zip(runs, found, strict=True):
        assert np.asarray(predicted).tobytes() == bits(run, series)


@pytest.mark.parametrize(("name", "options"), BACKENDS)
def test_a_run_that_is_copied_has_its_backend_and_arrays_of_its_own(name, options):
    run, series = trained(name, options)
    for again in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run), copy.copy(run)):
        assert again.backend == run.backend
        assert again.backend.own is run.backend.own or not isinstance(run.backend.own, ModuleType)
        assert bits(again, series) == bits(run, series)
    deep = copy.deepcopy(run)
    deep.params["1.bias"][:] = 9
    assert bits(deep, series) != bits(run, series)


@pytest.mark.parametrize(("name", "options"), BACKENDS[::2])
def test_a_stream_that_is_copied_goes_on_by_itself(name, options):
    stream = rk.Stream(trained(name, options)[0], lanes=2)
    stream.step([[0.5], [0.1]])
    others = [pickle.loads(pickle.dumps(stream)), copy.deepcopy(stream)]
    first = stream.step([[0.2], [0.3]])
    for other in others:
        assert np.array_equal(other.step([[0.2], [0.3]]), first)
    assert not np.array_equal(stream.step([[0.2], [0.3]]), first)
    others[0].step([[0.9], [0.9]])
    assert np.array_equal(others[1].step([[0.2], [0.3]]), stream_twice(name, options))


def stream_twice(name: str, options: dict[str, Any]) -> np.ndarray:
    """What the third step of the streams above gives where the second and third are alike."""
    stream = rk.Stream(trained(name, options)[0], lanes=2)
    rows = ([[0.5], [0.1]], [[0.2], [0.3]], [[0.2], [0.3]])
    return [stream.step(row) for row in rows][-1]


def test_an_error_that_holds_a_run_can_be_sent():
    def interrupt(history: rk.History) -> None:
        raise KeyboardInterrupt

    series = rk.Sequence(np.sin(np.arange(60) / 3))
    schedule = rk.Schedule(series, rk.Continuation(16), rk.Carry())
    with pytest.raises(rk.Interrupted) as caught:
        rk.fit(rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1)), schedule, backend="numpy", on_epoch=interrupt)
    again = pickle.loads(pickle.dumps(caught.value))
    assert bits(again.run, series) == bits(caught.value.run, series)


def test_a_backend_that_is_no_entry_point_is_found_by_its_module(monkeypatch):
    mine = ModuleType("backend_of_mine")
    numpy = rk.backend("numpy")
    for part in ("forward", "backward", "update", "from_numpy", "to_numpy"):
        setattr(mine, part, getattr(numpy, part))
    mine.name = "mine"  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "backend_of_mine", mine)
    series = rk.Sequence(np.sin(np.arange(60) / 3))
    schedule = rk.Schedule(series, rk.Continuation(16), rk.Carry())
    run = rk.fit(rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1)), schedule, backend=mine, epochs=1)  # type: ignore[arg-type]
    sent = pickle.dumps(run)
    assert pickle.loads(sent).backend.own is mine
    monkeypatch.delitem(sys.modules, "backend_of_mine")
    with pytest.raises(rk.BackendError, match=r"needs 'backend_of_mine', which is not installed; pip install backend"):
        pickle.loads(sent)
