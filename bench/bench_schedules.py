"""What comes before the backend: splitters, schedules and their share of an epoch, and Reset beside Carry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import CASES, ROWS, ours_of
from measure import Work
from ours import RULE
from recording import compare_and_record

import rnnkit as rk

SPLITTERS = {
    "Continuation, 1 lane": rk.Continuation(64),
    "Continuation, 32 lanes": rk.Continuation(64, lanes=32),
    "Continuation, 32 lanes, lookback 64": rk.Continuation(64, lanes=32, lookback=64),
    "Chunked, 32 lanes, shuffled": rk.Chunked(64, lanes=32, shuffle=True),
    "Sliding, stride 1, 32 lanes, shuffled": rk.Sliding(64, lanes=32, shuffle=True),
}


@pytest.fixture(scope="module")
def series() -> rk.Sequence:
    return rk.Sequence(CASES["epoch-10"].observations())


@pytest.mark.benchmark(group="splitters")
@pytest.mark.parametrize("label", SPLITTERS)
def bench_splitter(benchmark: Any, series: rk.Sequence, label: str) -> None:
    """The grid of an epoch and all of its pieces: index arithmetic, no data."""
    rng = np.random.default_rng(0)

    def cut() -> Any:
        grid = SPLITTERS[label].grid(series.lengths, rng, "series")
        return grid.pieces(0, grid.steps)

    benchmark.extra_info.update(table="plain", title=f"{label}: the grid")
    benchmark(cut)


@pytest.mark.benchmark(group="schedules")
@pytest.mark.parametrize("label", SPLITTERS)
def bench_iteration(benchmark: Any, series: rk.Sequence, label: str) -> None:
    """An epoch of blocks, assembled; the proof included."""
    schedule = rk.Schedule(series, SPLITTERS[label], rk.Reset())
    benchmark.extra_info.update(table="plain", title=f"{label}: an epoch of blocks", rows=ROWS)
    benchmark(lambda: [len(block.x) for block in schedule.blocks()])


@pytest.mark.benchmark(group="schedules")
def bench_batches(benchmark: Any, series: rk.Sequence) -> None:
    """The same, batch by batch."""
    schedule = rk.Schedule(series, rk.Continuation(64), rk.Carry())
    benchmark.extra_info.update(table="plain", title="Continuation, 1 lane, Carry: an epoch of batches", rows=ROWS)
    benchmark(lambda: sum(1 for _ in schedule.batches()))


@pytest.mark.benchmark(group="schedules")
def bench_proof(benchmark: Any, series: rk.Sequence) -> None:
    """Making a schedule that carries: the proof."""
    benchmark.extra_info.update(table="plain", title="Continuation, 1 lane, Carry: made and proven")
    benchmark(lambda: rk.Schedule(series, rk.Continuation(64), rk.Carry()))


@pytest.mark.benchmark(group="schedules")
@pytest.mark.parametrize(("name", "limit"), [("epoch-10", 0.2), ("epoch-32", 0.05)])
def bench_share(benchmark: Any, series: rk.Sequence, name: str, limit: float) -> None:
    """Iteration and batch assembly as a share of an epoch of training."""
    schedule = rk.Schedule(series, rk.Continuation(64), rk.Carry())
    iteration = {"iteration": Work(lambda: [len(block.x) for block in schedule.blocks()])}
    facts: dict[str, Any] = {"table": "share", "title": CASES[name].title, "limit": limit}
    compare_and_record(benchmark, iteration, ours_of(CASES[name]), **facts)


@pytest.mark.benchmark(group="policies")
@pytest.mark.parametrize("lanes", [1, 32])
def bench_policies(benchmark: Any, series: rk.Sequence, lanes: int) -> None:
    """An epoch of training with carried state, beside one that starts every window anew."""
    works = {}
    for policy in (rk.Carry(), rk.Reset()):
        schedule = rk.Schedule(series, rk.Continuation(64, lanes=lanes), policy)
        works[repr(policy)] = Work(lambda s=schedule: rk.fit(CASES["epoch-10"].model, s, rule=RULE, epochs=1))
    facts: dict[str, Any] = {"table": "policies", "title": f"epoch, H 10, {lanes} lane{'s' * (lanes > 1)}"}
    compare_and_record(benchmark, {"Carry()": works["Carry()"]}, {"Reset()": works["Reset()"]}, **facts)
