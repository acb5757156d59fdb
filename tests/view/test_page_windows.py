"""What the page compares: a trace in the windows of schedules, and the lanes and steps of these."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rnnkit as rk
from builders.traces import DEEP, broken_walk, traced
from rnnkit.errors import ScheduleError
from rnnkit.tracing.windows import first_reached, in_windows
from rnnkit.view.page import variants_of
from rnnkit.view.page.lanes import LANES, lanes_of


@pytest.mark.parametrize("length", [1, 8, 50])
def test_windows_without_lookback_are_what_a_truncated_trace_is(length: int) -> None:
    found, expected = in_windows(traced(), length), traced(truncate=length)
    assert (found.truncate, found.cut.tolist()) == (length, expected.cut.tolist())
    for a, b in zip(found.layers, expected.layers, strict=True):
        for name in a:
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-12, atol=1e-16, err_msg=name)


@pytest.mark.parametrize(("lookback", "fresh"), [(3, False), (30, False), (0, True)])
def test_windows_add_up_to_what_the_backend_computes_for_each(lookback: int, fresh: bool) -> None:
    model = rk.Chain(*DEEP.layers, initial=rk.Learned())
    seen = traced((26, 50), model, warm=2)
    found, engine = in_windows(seen, 7, lookback, fresh), rk.backend("numpy")
    total = {key: np.zeros_like(p) for key, p in seen.params.items()}
    for start in range(0, 24, 7):
        rows = slice(max(start - lookback, 0), min(start + 7, 24))
        state: list[Any] = []
        for index in (0, 1):
            layer: Any = seen.layers[index]
            begun = layer.h_before[rows][:1], layer.c_before[rows][:1]
            if fresh:
                begun = seen.params[f"{index}.initial_h"][None], seen.params[f"{index}.initial_c"][None]
            state.append(rk.LSTMState(*begun))
        reset = np.zeros((rows.stop - rows.start, 1), bool)
        reset[0] = fresh
        y, _, tape = engine.forward(model, seen.params, seen.x[rows, None], (*state, ()), reset)
        d_y = 2 * (y - seen.target[rows, None]) / 24
        d_y[: start - rows.start] = 0
        for key, d in engine.backward(model, seen.params, tape, d_y).params.items():
            total[key] += d
    for key, expected in total.items():
        np.testing.assert_allclose(found.gradient[key], expected, rtol=1e-10, atol=1e-13, err_msg=key)
    assert first_reached(seen, 7, lookback).tolist() == [max(t // 7 * 7 - lookback, 0) for t in range(24)]


def test_windows_may_begin_anew_with_every_segment() -> None:
    seen = traced()
    assert np.flatnonzero(seen.reset).tolist() == [0, 15]
    found = in_windows(seen, 8, anew=True)
    assert np.flatnonzero(found.cut).tolist() == [8, 15, 23, 31]
    assert first_reached(seen, 8, anew=True).tolist() == [0] * 8 + [8] * 7 + [15] * 8 + [23] * 8 + [31] * 6
    before, after = traced((5, 20), truncate=8), traced((23, 45), truncate=8)  # each segment by itself
    for key, d in found.gradient.items():
        expected = (15 * before.gradient[key] + 22 * after.gradient[key]) / 37
        np.testing.assert_allclose(d, expected, rtol=1e-12, atol=1e-15, err_msg=key)


def test_windows_that_cannot_be_are_refused() -> None:
    with pytest.raises(ScheduleError, match=r"in_windows expects length to be a whole number of rows >= 1, got 0"):
        in_windows(traced(), 0)
    with pytest.raises(ScheduleError, match=r"in_windows expects lookback to be .* rows >= 0, got -1"):
        in_windows(traced(), 8, -1)
    with pytest.raises(ScheduleError, match=r"in_windows expects lookback=0 with fresh=True: windows that overlap"):
        in_windows(traced(), 8, 2, True)


@pytest.mark.parametrize(
    ("splitter", "policy"),
    [
        (rk.Continuation(4, lanes=3), rk.Carry()),
        (rk.Continuation(4, lanes=2, lookback=3), rk.Carry(reset_every=2)),
        (rk.Chunked(6, lanes=2), rk.Reset()),
        (rk.Chunked(6, lanes=2, shuffle=True), rk.BurnIn(2)),
        (rk.Chunked(6, lanes=2), rk.Stored()),
        (rk.Sliding(5, stride=3, lanes=2), rk.Reset()),
        (rk.Continuation(30), rk.Carry()),
    ],
    ids=repr,
)
def test_lanes_are_those_of_the_schedule_s_batches(splitter: Any, policy: Any) -> None:
    schedule = rk.Schedule(broken_walk(), splitter, policy)
    held, rows = lanes_of(schedule, np.arange(30, 34)), np.arange(30, 34)
    batches = list(schedule.batches())
    assert (held["all_steps"], held["all_lanes"]) == (len(batches), schedule.lanes)
    assert held["lead"] == max(cell["unscored"] for cell in held["cells"])
    assert held["steps"][:2] == list(range(min(2, len(batches))))
    scoring = [step for step, batch in enumerate(batches) if np.isin(batch.rows[batch.weight > 0], rows).any()]
    assert set(scoring[:6]) <= set(held["steps"])
    for step in held["steps"]:
        batch = batches[step]
        drawn, scored = np.full(batch.rows.shape, -1), np.zeros(batch.rows.shape, bool)
        for cell in (cell for cell in held["cells"] if cell["step"] == step):
            place = slice(cell["at"], cell["at"] + cell["rows"])
            drawn[place, cell["lane"]] = cell["first"] + np.arange(cell["rows"])
            scored[cell["at"] + cell["unscored"] : cell["at"] + cell["rows"], cell["lane"]] = True
            inner = batch.reset[cell["at"], cell["lane"]]
            origin = -1 if inner else batch.origin[cell["lane"]]
            assert cell["source"] == {-1: "initial", -2: "recorded"}.get(int(origin), "carried")
        np.testing.assert_array_equal(drawn, batch.rows)
        np.testing.assert_array_equal(scored, batch.weight > 0)


def test_more_lanes_than_can_be_drawn_are_left_out() -> None:
    held = lanes_of(rk.Schedule(broken_walk(), rk.Continuation(2, lanes=20), rk.Carry()), np.arange(5))
    assert (held["lanes"], held["all_lanes"]) == (LANES, 20)
    assert max(cell["lane"] for cell in held["cells"]) == LANES - 1


def test_the_run_s_own_schedule_is_offered_first_and_others_beside_it() -> None:
    own = rk.Schedule(broken_walk(), rk.Continuation(8, lanes=2), rk.Carry())
    assert [variant.label for variant in variants_of(traced(), [own])] == [
        "Continuation(length=8, lanes=2) with Carry()",
        "Continuation(length=4, lanes=2) with Carry()",
        "Continuation(length=16, lanes=2) with Carry()",
        "Continuation(length=8, lanes=2, lookback=8) with Carry()",
        "Chunked(length=8, lanes=2) with Reset()",
    ]
    assert [variant.key for variant in variants_of(traced(), [own])][3:] == [(8, 8, False, False), (8, 0, True, True)]
    labels = [variant.label for variant in variants_of(traced(truncate=6))]
    assert labels[0] == "Continuation(length=6) with Carry()"


@pytest.mark.parametrize(
    ("splitter", "policy", "key", "note"),
    [
        (
            rk.Chunked(8),
            rk.BurnIn(2),
            (8, 0, False, True),
            "the state is carried, whereas BurnIn would start each window",
        ),
        (rk.Sliding(8, stride=2), rk.Reset(), (8, 0, True, True), "its windows stand side by side, without overlap"),
        (rk.Continuation(rk.Geometric(8)), rk.Carry(), (8, 0, False, False), "every window has the mean length"),
        (rk.Continuation(8, lookback=2), rk.Reset(), (8, 2, False, False), "the state is carried, whereas Reset would"),
    ],
)
def test_what_the_curves_of_a_schedule_leave_out_is_said(splitter: Any, policy: Any, key: Any, note: str) -> None:
    first = variants_of(traced(), [rk.Schedule(broken_walk(), splitter, policy)])[0]
    assert first.key == key
    assert note in first.note
