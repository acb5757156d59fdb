"""Splitters against a walk that follows every row by hand."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnkit as rk
from builders.walks import (
    all_rows,
    check_state_is_contiguous,
    lengths_of_segments,
    segment_and_offset,
    series_of,
    times_scored,
    walk,
)


@settings(max_examples=60, deadline=None)
@given(lengths_of_segments, st.integers(1, 12), st.integers(1, 5), st.integers(0, 20))
def test_continuation_scores_every_row_once_and_carries_within_segments(lengths, length, lanes, lookback):
    series = series_of(lengths)
    lanes = min(lanes, len(series))
    schedule = rk.Schedule(series, rk.Continuation(length, lanes, lookback), rk.Carry())
    assert times_scored(schedule) == Counter(all_rows(series))
    check_state_is_contiguous(schedule)
    strips = [[] for _ in range(lanes)]
    for _, lane, row, seen, _, weight in walk(schedule):
        if weight:
            strips[lane].append(row)
            offset = segment_and_offset(series)[row][1]
            in_strip = strips[lane].index(row)
            assert len(seen) == min(offset, in_strip), "state reaches to the start of the segment or of the strip"
    assert [row for strip in strips for row in strip] == sorted(all_rows(series))
    assert max(map(len, strips)) - min(map(len, strips)) <= 1


@settings(max_examples=60, deadline=None)
@given(lengths_of_segments, st.integers(1, 12), st.integers(1, 14), st.integers(1, 5), st.booleans())
def test_sliding_scores_rows_as_often_as_windows_cover_them(lengths, length, stride, lanes, shuffle):
    series = series_of(lengths)
    lanes = min(lanes, len(series))
    schedule = rk.Schedule(series, rk.Sliding(length, stride, lanes, shuffle), rk.Reset())
    expected = Counter()
    for segment in series.segments:
        start = segment.start
        while start < segment.stop:
            rows = range(start, min(start + length, segment.stop))
            expected.update(rows)
            if rows.stop == segment.stop and stride <= length:
                break
            start += stride
    assert times_scored(schedule) == expected
    check_state_is_contiguous(schedule)


@settings(max_examples=40, deadline=None)
@given(lengths_of_segments, st.integers(1, 12), st.integers(1, 5), st.booleans())
def test_chunked_scores_every_row_once_and_in_order_unless_shuffled(lengths, length, lanes, shuffle):
    series = series_of(lengths)
    lanes = min(lanes, len(series))
    schedule = rk.Schedule(series, rk.Chunked(length, lanes, shuffle), rk.Reset())
    assert times_scored(schedule) == Counter(all_rows(series))
    check_state_is_contiguous(schedule)
    firsts = [row for batch in schedule.batches() for row in batch.row if row >= 0]
    assert shuffle or firsts == sorted(firsts)


@settings(max_examples=40, deadline=None)
@given(lengths_of_segments, st.integers(1, 10), st.integers(1, 10))
def test_one_lane_sliding_carries_at_the_stride(lengths, length, stride):
    series = series_of(lengths)
    schedule = rk.Schedule(series, rk.Sliding(length, min(stride, length)), rk.Carry())
    check_state_is_contiguous(schedule)
    for _, _, row, seen, _, _ in walk(schedule):
        assert len(seen) == segment_and_offset(series)[row][1], "state reaches to the start of the segment"


def test_lookback_reads_earlier_rows_again_and_scores_only_new_ones():
    series = rk.Sequence(np.arange(41.0))
    batches = list(rk.Schedule(series, rk.Continuation(10, lookback=4), rk.Carry()).batches())
    assert [batch.rows[:, 0][batch.valid[:, 0]].tolist() for batch in batches] == [
        list(range(10)),
        list(range(6, 20)),
        list(range(16, 30)),
        list(range(26, 40)),
    ]
    for batch in batches:
        assert batch.x.shape == (14, 1, 1)
        assert (batch.weight[:4] == 0).all()
        assert (batch.weight[4:] == 1).all()
    assert [int(batch.origin[0]) for batch in batches] == [-1, 10, 10, 10]


def test_short_segments_are_packed_with_a_reset_and_without_padding():
    series = series_of([3, 4, 2, 7])
    (batch,) = rk.Schedule(series, rk.Continuation(16), rk.Carry()).batches()
    assert batch.valid.all()
    assert np.flatnonzero(batch.reset[:, 0]).tolist() == [3, 7, 9]
    assert batch.x[:, 0, 0].tolist() == batch.rows[:, 0].tolist()
    assert batch.y[:, 0, 0].tolist() == (batch.rows[:, 0] + 1000).tolist()


def test_padding_is_zero_and_marked():
    series = rk.Sequence(np.arange(1.0, 12.0))
    *_, last = rk.Schedule(series, rk.Chunked(4), rk.Carry()).batches()
    assert last.valid[:, 0].tolist() == [True, True, False, False]
    assert last.rows[:, 0].tolist() == [8, 9, -1, -1]
    assert last.x[2:].tolist() == last.y[2:].tolist() == [[[0.0]], [[0.0]]]
    assert last.weight[:, 0].tolist() == [1, 1, 0, 0]


@settings(max_examples=40, deadline=None)
@given(lengths_of_segments, st.integers(1, 6), st.integers(1, 4))
def test_dropped_tails_leave_no_padding(lengths, length, lanes):
    lengths = [n + length for n in lengths]
    series = series_of(lengths)
    lanes = min(lanes, sum(lengths) // length)
    for splitter in (rk.Continuation(length, lanes, tail="drop"), rk.Chunked(length, 1, tail="drop")):
        coverage = rk.Schedule(series, splitter, rk.Carry()).coverage()
        assert coverage.padding == 0
        assert coverage.scored_more == 0
    lost = rk.Schedule(series, rk.Chunked(length, tail="drop"), rk.Reset()).coverage().scored_never
    assert lost == sum(n % length for n in lengths)
    packed = rk.Schedule(series, rk.Continuation(length, lanes, tail="drop"), rk.Reset()).coverage().scored_never
    assert packed == sum(lengths) - sum(lengths) // lanes // length * length * lanes


@pytest.mark.parametrize(
    "splitter", [rk.Continuation(100), rk.Continuation(rk.Uniform(50, 60)), rk.Chunked(100), rk.Sliding(100)], ids=str
)
def test_windows_are_no_longer_than_what_there_is_to_read(splitter):
    schedule = rk.Schedule(series_of([20]), splitter, rk.Reset())
    assert (schedule.steps(), schedule.grid().length, schedule.coverage().padding) == (1, 20, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda s: rk.Chunked(64, tail="drop"),
            r"Chunked\(length=64\): segment 1 of 'made' has 40 rows, fewer than one window; use length <= 40 or tail",
        ),
        (
            lambda s: rk.Chunked(101, tail="drop"),
            r"segment 1 of 'made' has 40 rows, fewer than one window, and is the shortest of 2 such; use length <= 40",
        ),
        (
            lambda s: rk.Continuation(200, tail="drop"),
            r"a strip of 'made' has 140 rows, fewer than one window; use length <= 140",
        ),
        (lambda s: rk.Continuation(8, lanes=141), r"'made' has 140 rows, fewer than lanes; use lanes <= 140"),
        (lambda s: rk.Chunked(8, lanes=141), r"'made' has 140 rows, fewer than lanes"),
        (
            lambda s: rk.Chunked(20, lanes=9, tail="drop"),
            r"'made' has 7 windows, fewer than lanes; use lanes <= 7",
        ),
        (lambda s: rk.Chunked(0), r"Chunked expects length to be a whole number >= 1 or .segment., got 0"),
        (lambda s: rk.Sliding(4, stride=1.5), r"Sliding expects stride to be a whole number >= 1, got 1.5"),
        (lambda s: rk.Continuation(4, lookback=-1), r"Continuation expects lookback >= 0, got -1"),
        (lambda s: rk.Continuation(4, tail="cut"), r"expects tail to be 'keep' or 'drop', got 'cut'"),
        (lambda s: "Chunked", r"Schedule expects a splitter second, got 'Chunked'"),
    ],
)
def test_bad_splitters_say_what_to_do(make, message):
    series = series_of([100, 40])
    with pytest.raises(rk.ScheduleError, match=message):
        rk.Schedule(series, make(series), rk.Reset())


def test_shuffled_order_is_drawn_from_seed_and_epoch():
    series = rk.Sequence(np.arange(200.0))
    order = lambda seed, epoch: [  # noqa: E731
        int(b.row[0]) for b in rk.Schedule(series, rk.Chunked(8, shuffle=True), rk.Reset(), seed=seed).batches(epoch)
    ]
    assert order(0, 0) == order(0, 0)
    assert sorted(order(0, 0)) == sorted(order(0, 1)) == list(range(0, 199, 8))
    assert len({tuple(order(0, 0)), tuple(order(0, 1)), tuple(order(1, 0))}) == 3
