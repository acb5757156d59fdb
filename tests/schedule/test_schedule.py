"""Schedules: coverage, blocks of steps, what they tell and draw."""

import copy
import itertools
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnkit as rk
from builders.walks import (
    all_rows,
    lengths_of_segments,
    series_of,
    walk,
)


@settings(max_examples=40, deadline=None)
@given(
    lengths_of_segments,
    st.sampled_from(
        [
            (rk.Continuation(5, 2), rk.Carry()),
            (rk.Continuation(4, 3, lookback=7), rk.Carry()),
            (rk.Continuation(4, 2, lookback=3), rk.Reset()),
            (rk.Sliding(6, 2), rk.Carry()),
            (rk.Sliding(6, 4, 3), rk.Reset()),
            (rk.Sliding(3, 5), rk.Reset()),
            (rk.Chunked(7), rk.Carry()),
        ]
    ),
)
def test_coverage_equals_a_count_by_hand(lengths, choice):
    series = series_of([*lengths, 3])
    schedule = rk.Schedule(series, *choice)
    coverage = schedule.coverage()
    steps = list(walk(schedule))
    scored = Counter(row for _, _, row, _, _, weight in steps if weight)
    times = [scored.get(row, 0) for row in all_rows(series)]
    assert (coverage.scored_never, coverage.scored_once) == (times.count(0), times.count(1))
    assert coverage.scored_more == len(times) - times.count(0) - times.count(1)
    cells = coverage.steps * coverage.lanes * coverage.length
    assert coverage.padding == pytest.approx(1 - len(steps) / cells)
    assert coverage.unscored == pytest.approx(sum(not weight for *_, weight in steps) / cells)
    state = [len(seen) for _, _, _, seen, _, weight in steps if weight]
    gradient = [len(reach) for _, _, _, _, reach, weight in steps if weight]
    assert coverage.state_reach == (min(state), np.median(state), max(state))
    assert coverage.gradient_reach == (min(gradient), np.median(gradient), max(gradient))
    firsts = sum(int((batch.origin[batch.row >= 0] < 0).sum() + batch.reset.sum()) for batch in schedule.batches())
    assert coverage.resets == firsts


def test_a_schedule_can_be_sent_after_it_was_asked():
    schedule = rk.Schedule(rk.Sequence(np.arange(90.0)), rk.Chunked(8, shuffle=True), rk.Stored(), seed=3)
    expected = [batch.x for epoch in range(2) for batch in schedule.batches(epoch)]
    for again in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule), replace(schedule)):
        np.testing.assert_array_equal([batch.x for epoch in range(2) for batch in again.batches(epoch)], expected)
    assert (repr(schedule), schedule) == (repr(replace(schedule)), replace(schedule))


def test_schedule_says_what_it_wants():
    series = rk.Sequence(np.arange(10.0))
    with pytest.raises(rk.ScheduleError, match="Schedule expects a Sequence first, got ndarray; wrap it"):
        rk.Schedule(np.arange(10.0), rk.Chunked(4), rk.Reset())
    with pytest.raises(rk.ScheduleError, match="Schedule expects a policy third, got 'carry'"):
        rk.Schedule(series, rk.Chunked(4), "carry")
    with pytest.raises(rk.ScheduleError, match=r"policy third, got <class .*Carry'>; write"):
        rk.Schedule(series, rk.Chunked(4), rk.Carry)


@pytest.mark.parametrize("lookback", [0, 3, 20])
@pytest.mark.parametrize("rows", [1, 80, 10_000])
def test_blocks_are_the_same_steps_in_pieces_of_any_size(rows, lookback):
    series = series_of([50, 3, 17])
    schedule = rk.Schedule(series, rk.Continuation(6, 2, lookback=lookback), rk.Carry())
    batches = list(schedule.batches())
    blocks = list(schedule.blocks(rows=rows))
    again = [block.batch(k) for block in blocks for k in range(len(block.x))]
    assert len(again) == len(batches) == len(schedule)
    for a, b in zip(again, batches, strict=True):
        for name, left, right in zip(a._fields, a, b, strict=True):
            assert np.array_equal(left, right), name
    for block, after in itertools.pairwise(blocks):
        assert np.array_equal(block.origin[-1], after.origin[0])
    assert (blocks[-1].origin[-1] == 6 + lookback).all()


@pytest.mark.parametrize("first", [0, 1, 3])
def test_blocks_from_some_step_on_start_anew_there_and_go_on_afterwards(first):
    schedule = rk.Schedule(series_of([50, 3, 17]), rk.Continuation(6, 2), rk.Carry())
    origins = np.concatenate([block.origin[:-1] for block in schedule.blocks(rows=24, first=first, stop=5)])
    whole = np.concatenate([block.origin[:-1] for block in schedule.blocks()])[first:5]
    assert (origins[0] == -1).all()
    assert (first == 0) == (whole[0] == -1).all()
    np.testing.assert_array_equal(origins[1:], whole[1:])


def test_a_step_that_scores_no_row_is_scaled_by_one():
    samples = rk.Sequence.panel([np.arange(rows, dtype=float) for rows in (30, 9)], [0.0, 1.0])
    schedule = rk.Schedule(samples, rk.Continuation(rk.Uniform(2, 4), reweight=True), rk.Carry())
    steps = [(batch.weight.sum(), batch.scale) for batch in schedule.batches()]
    assert {rows for rows, _ in steps} == {0, 1}
    assert {scale for rows, scale in steps if not rows} == {1}
    for rows, scale in steps:
        assert scale == pytest.approx(1 / (3 * 2 / 39) if rows else 1)  # of 3 rows on average, 2 of 39 are scored


def test_a_weight_multiplies_what_the_length_of_a_window_makes_of_its_loss():
    series, splitter = rk.Sequence(np.arange(60.0)), rk.Continuation(rk.Uniform(2, 6), lanes=2, reweight=True)
    alone, heavy = (
        np.concatenate([block.scale for block in rk.Schedule(each, splitter, rk.Carry()).blocks()])
        for each in (series, series.with_weight(3.0))
    )
    np.testing.assert_allclose(heavy, 3 * alone)
    assert len(set(alone)) > 2


def arrays_of(block):
    """Every array of a block, those of its slots among them."""
    slots = () if block.slots is None else block.slots
    return [array for array in (*block, *slots) if isinstance(array, np.ndarray)]


@pytest.mark.parametrize(
    ("splitter", "policy"),
    [
        (rk.Continuation(rk.Geometric(8), reweight=True), rk.Carry()),
        (rk.Continuation(8, lanes=2), rk.Carry(reset_every=3)),
        (rk.Chunked(8, lanes=2, shuffle=True), rk.Stored(burn_in=2)),
        (rk.Chunked(60), rk.Stored()),
    ],
)
def test_whoever_writes_into_a_block_changes_no_other(splitter, policy):
    schedule = rk.Schedule(rk.Sequence(np.arange(60.0)), splitter, policy)
    untouched = [[array.copy() for array in arrays_of(block)] for block in schedule.blocks(0)]
    for block in schedule.blocks(0):
        for array in arrays_of(block):
            array[...] = 0
    for block, wanted in zip(schedule.blocks(0), untouched, strict=True):
        for array, expected in zip(arrays_of(block), wanted, strict=True):
            np.testing.assert_array_equal(array, expected)


def test_blocks_have_the_dtype_asked_for():
    schedule = rk.Schedule(rk.Sequence(np.arange(20.0)), rk.Chunked(8), rk.Reset())
    for dtype in ("float32", "float64"):
        block = next(schedule.blocks(dtype=dtype))
        assert block.x.dtype == block.y.dtype == block.weight.dtype == dtype


def test_describe_tells_coverage_and_a_timeline():
    schedule = rk.Schedule(series_of([20, 5, 9]), rk.Continuation(8, 2, lookback=2), rk.Carry())
    text = schedule.describe(steps=2)
    assert "once 34, more than once 0, never 0" in text
    assert "gradient reaches back" in text
    assert "lane 1" in text
    assert "and 1 more step\n" in text
    assert "> 7-16" in text


def test_plot_colours_windows_by_where_the_state_comes_from():
    from matplotlib.colors import to_hex

    from rnnkit.view.plots import CARRIED, INITIAL, PADDING

    def colours(schedule):
        return [to_hex(c.get_facecolor()[0]).upper() for c in schedule.plot(steps=3).axes[0].collections]

    series = rk.Sequence(np.arange(41.0))
    carried = rk.Schedule(series, rk.Continuation(10, 2), rk.Carry())
    assert colours(carried).count(INITIAL.upper()) == 2
    assert colours(carried).count(CARRIED.upper()) == 2
    assert colours(carried).count(PADDING.upper()) == 4
    assert CARRIED.upper() not in colours(replace(carried, policy=rk.Reset()))


def test_a_plot_explains_what_occurs_in_it_and_labels_whole_windows_alike():
    def legend_and_labels(splitter, policy, rows=1000):
        figure = rk.Schedule(rk.Sequence(np.arange(float(rows))), splitter, policy).plot(steps=12)
        figure.draw_without_rendering()
        (legend,) = figure.legends
        drawn, axes = legend.get_window_extent(), figure.axes[0]
        around = axes.get_tightbbox()
        assert around is not None
        assert drawn.height > 0
        assert drawn.y1 <= around.y0
        assert figure.bbox.containsx(drawn.x0)
        assert figure.bbox.containsx(drawn.x1)
        return [text.get_text() for text in legend.get_texts()], [text.get_text() for text in axes.texts]

    states, labels = legend_and_labels(rk.Continuation(10, 2), rk.Carry())
    assert states == ["from the initial state", "carried from the window before"]
    assert labels[:4] == ["0-9", "500-509", "10-19", "510-519"]
    states, labels = legend_and_labels(rk.Continuation(20, 2, lookback=10), rk.Carry())
    assert states[2:] == ["read again, not scored", "padding"]
    assert labels[2:4] == ["20-39", "520-539"]
    assert len(labels) == 24
    assert "from a recorded state" in legend_and_labels(rk.Chunked(20, lanes=2, shuffle=True), rk.Stored())[0]
    assert legend_and_labels(rk.Continuation(20, 1), rk.Carry(), 1_000_000)[1]
    assert not legend_and_labels(rk.Continuation(20, 2, lookback=60), rk.Carry(), 1_000_000)[1]


def test_ten_million_windows_are_not_made_at_once():
    """A schedule of overlapping windows holds no copy of the series, and reads only the rows of the block asked for."""

    class Recording:
        shape = (3_000_000, 1)
        read: list[int] = []  # noqa: RUF012

        def __getitem__(self, rows):
            start, stop, _ = rows.indices(self.shape[0])
            self.read.append(stop - start)
            return np.zeros((stop - start, 1))

    source = Recording()
    schedule = rk.Schedule(rk.Sequence(source, horizon=1), rk.Sliding(64, lanes=4), rk.Reset())
    source.read.clear()
    batch = next(schedule.batches())
    assert batch.x.shape == (64, 4, 1)
    assert sum(source.read) < 2 * 70_000


@pytest.mark.parametrize("in_gradient", [True, False])
def test_rows_that_are_read_again_and_rows_that_warm_up_add_up(in_gradient):
    series = rk.Sequence(np.arange(41.0))
    schedule = rk.Schedule(series, rk.Continuation(4, lookback=2), rk.BurnIn(3, in_gradient=in_gradient))
    scored = [batch.rows[batch.weight > 0] for batch in schedule.batches()]
    assert np.concatenate(scored).tolist() == list(range(40))
    assert (schedule.grid().length, schedule.grid().detached) == (9, 0 if in_gradient else 3)
