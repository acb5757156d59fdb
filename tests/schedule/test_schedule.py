"""Splitters, policies, the continuity proof and coverage, against a walk that follows every row by hand."""

import copy
import itertools
import pickle
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnkit as rk
from rnnkit.schedule.grid import Grid, Pieces

lengths_of_segments = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def series_of(lengths, horizon=0):
    """A sequence of segments with one unused row before each, so that rows and offsets differ."""
    segments, start = [], 0
    for length in lengths:
        segments.append((start + 1, start + 1 + length))
        start += 1 + length
    x = np.arange(start, dtype=float)
    return rk.Sequence(x, x + 1000, horizon=horizon, segments=segments, name="made")


def segment_and_offset(series):
    """Row of the source -> (segment, offset)."""
    return {
        row: (index, row - segment.start)
        for index, segment in enumerate(series.segments)
        for row in range(segment.start, segment.stop)
    }


@dataclass
class Seen:
    """What a lane's state has seen: the rows since it was last the initial state."""

    rows: tuple[int, ...] = ()


def walk(schedule, epoch=0):
    """Follow every lane row by row: yields (row, rows that the state saw, rows that the gradient reaches, weight)."""
    after = {}
    for step, batch in enumerate(schedule.batches(epoch)):
        new_after = {}
        for lane in range(batch.x.shape[1]):
            origin = int(batch.origin[lane])
            seen = Seen() if origin < 0 else after[lane][origin]
            states, reach = [seen], ()
            for t in range(len(batch.x)):
                if batch.reset[t, lane]:
                    seen, reach = Seen(), ()
                if batch.valid[t, lane]:
                    row = int(batch.rows[t, lane])
                    yield step, lane, row, seen.rows, reach, float(batch.weight[t, lane])
                    seen, reach = Seen((*seen.rows, row)), (*reach, row)
                states.append(seen)
            new_after[lane] = states
        after = new_after


def check_state_is_contiguous(schedule):
    """Whatever a state has seen when a row is read are the rows directly before it, in its own segment."""
    where = segment_and_offset(schedule.series)
    for _, _, row, seen, reach, _ in walk(schedule):
        assert seen == tuple(range(row - len(seen), row))
        assert reach == tuple(range(row - len(reach), row))
        assert all(where[r][0] == where[row][0] for r in seen)


def times_scored(schedule, epoch=0):
    return Counter(row for _, _, row, _, _, weight in walk(schedule, epoch) if weight)


def all_rows(series):
    return set(segment_and_offset(series))


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


@pytest.mark.parametrize(
    ("splitter", "remedy"),
    [
        (
            rk.Chunked(8, lanes=32),
            r"step 1, lane 0 reads rows 256 to 263 .* has seen row 7 last; .*Continuation\(length=8, lanes=32\)",
        ),
        (rk.Chunked(8, shuffle=True), r"Chunked\(length=8\), in order and in one lane"),
        (rk.Sliding(8, lanes=4), r"step 1, lane 1 .* another lane .*; use Continuation\(length=8, lanes=4\)"),
        (
            rk.Sliding(8, 8, lanes=4),
            r"step 1, lane 0 .* has seen row 7 last; use Continuation\(length=8, lanes=4\)",
        ),
        (rk.Sliding(8, 4, shuffle=True), r"has seen"),
        (
            rk.Sliding(8, 9),
            r"step 1, lane 0 reads rows 9 to 16 of 'line' \(segment 0\), but .* has seen row 7 last",
        ),
    ],
)
def test_carrying_into_what_is_no_continuation_is_refused(splitter, remedy):
    series = rk.Sequence(np.arange(1000.0), name="line")
    with pytest.raises(rk.ContinuityError, match=remedy) as refused:
        rk.Schedule(series, splitter, rk.Carry())
    assert isinstance(refused.value, ValueError)
    assert rk.Schedule(series, splitter, rk.Reset()).lanes == splitter.lanes


@dataclass(frozen=True)
class Skipping:
    """A splitter of one's own: windows of 4 rows; in the last the row that should come next is left out."""

    skip: int = 0

    def grid(self, lengths, rng, name):
        def pieces(first, stop):
            step = np.arange(first, stop)
            offset = step * 4 + np.where(step == 3, self.skip, 0)
            zero = np.zeros_like(step)
            return Pieces(step, zero, zero, zero, offset, np.full_like(step, 4))

        return Grid(4, 0, 1, 4, pieces)


def test_a_splitter_of_ones_own_is_proven_too():
    series = rk.Sequence(np.arange(40.0))
    check_state_is_contiguous(rk.Schedule(series, Skipping(0), rk.Carry()))
    with pytest.raises(rk.ContinuityError, match=r"step 3, lane 0 reads rows 13 to 16 .* has seen row 11 last"):
        rk.Schedule(series, Skipping(1), rk.Carry())
    assert len(rk.Schedule(series, Skipping(1), rk.Reset())) == 4


@dataclass
class ByEpoch:
    """A splitter of one's own whose windows differ in some epochs: there the last one leaves a row out."""

    wrong: tuple[int, ...] = ()
    asked: list[int] = field(default_factory=list)

    def grid(self, lengths, rng, name):
        (epoch,) = rng.bit_generator.seed_seq.spawn_key
        self.asked.append(epoch)
        return Skipping(int(epoch in self.wrong)).grid(lengths, rng, name)


@dataclass(frozen=True)
class LiesIn:
    """A policy of one's own that carries into the first step of an epoch, too, in one of them."""

    epoch: int

    def origins(self, grid, first, stop):
        origin = np.full((stop - first, grid.lanes), 4)
        origin[: int(first == 0 and grid.epoch != self.epoch)] = -1
        return origin


def test_every_epoch_of_a_splitter_of_ones_own_is_proven():
    series, model = rk.Sequence(np.arange(40.0)), rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1))
    schedule = rk.Schedule(series, ByEpoch(wrong=(2,)), rk.Carry())
    for ask in (schedule.steps, schedule.slots, schedule.coverage, schedule.grid, lambda e: list(schedule.blocks(e))):
        for epoch in (1, 3):
            ask(epoch)
        with pytest.raises(rk.ContinuityError, match="step 3, lane 0"):
            ask(2)
    with pytest.raises(rk.ContinuityError, match="step 3, lane 0 reads rows 13 to 16") as refused:
        rk.fit(model, schedule, backend="numpy", epochs=4)
    assert len(refused.value.run.history.epochs["loss"]) == 2
    with pytest.raises(rk.ContinuityError, match="step 3, lane 0"):
        rk.fit(model, pickle.loads(pickle.dumps(schedule)), backend="numpy", epochs=4)


@pytest.mark.parametrize("windows", [1, 2, 3, 100])
def test_the_proof_goes_on_from_one_lot_of_windows_to_the_next(monkeypatch, windows):
    monkeypatch.setattr("rnnkit.schedule.proof.PROOF_WINDOWS", windows)
    series = rk.Sequence(np.sin(np.arange(60.0)), segments=[(0, 33), (33, 60)])
    for splitter in (rk.Continuation(4, lanes=2), rk.Continuation(4, lookback=3), rk.Sliding(6, 2)):
        assert len(rk.Schedule(series, splitter, rk.Carry())) == len(rk.Schedule(series, splitter, rk.Stored())) >= 8
    with pytest.raises(rk.ContinuityError, match=r"step 3, lane 0 reads rows 13 to 16 .* has seen row 11 last"):
        rk.Schedule(rk.Sequence(np.arange(40.0)), Skipping(1), rk.Carry())


def test_every_epoch_of_a_policy_of_ones_own_is_proven():
    schedule = rk.Schedule(rk.Sequence(np.arange(40.0)), ByEpoch(), LiesIn(1))
    list(schedule.blocks(2))
    with pytest.raises(rk.ContinuityError, match=r"step 0, lane 0 .* no row yet"):
        list(schedule.blocks(1))


def test_who_carries_across_epochs_has_nothing_to_carry_into_the_first():
    policy = LiesIn(0)
    object.__setattr__(policy, "across_epochs", True)
    with pytest.raises(rk.ContinuityError, match=r"step 0, lane 0 .* no row yet"):
        rk.Schedule(rk.Sequence(np.arange(40.0)), Skipping(0), policy)


def test_windows_are_cut_and_proven_once_an_epoch(monkeypatch):
    proven = []
    prove = rk.schedule.schedule.prove
    monkeypatch.setattr("rnnkit.schedule.schedule.prove", lambda s, grid: (proven.append(grid.epoch), prove(s, grid)))
    splitter = ByEpoch()
    schedule = rk.Schedule(rk.Sequence(np.arange(40.0)), splitter, rk.Carry())
    rk.fit(rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1)), schedule, backend="numpy", epochs=3)
    assert splitter.asked == proven == [0, 1, 2]
    schedule.grid(0)  # is kept
    assert splitter.asked == [0, 1, 2]
    schedule.grid(1)  # is not
    assert splitter.asked == proven == [0, 1, 2, 1]


def test_a_schedule_can_be_sent_after_it_was_asked():
    schedule = rk.Schedule(rk.Sequence(np.arange(90.0)), rk.Chunked(8, shuffle=True), rk.Stored(), seed=3)
    expected = [batch.x for epoch in range(2) for batch in schedule.batches(epoch)]
    for again in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule), replace(schedule)):
        np.testing.assert_array_equal([batch.x for epoch in range(2) for batch in again.batches(epoch)], expected)
    assert (repr(schedule), schedule) == (repr(replace(schedule)), replace(schedule))


@dataclass(frozen=True)
class Given:
    """Windows of 8 rows in one lane, each piece as `(step, at, segment, offset, rows)`."""

    pieces: tuple[tuple[int, int, int, int, int], ...]

    def grid(self, lengths, rng, name):
        step, at, segment, offset, rows = np.array(self.pieces).T

        def pieces(first, stop):
            here = (step >= first) & (step < stop)
            return Pieces._make(f[here] for f in (step, np.zeros_like(step), at, segment, offset, rows))

        return Grid(8, 0, 1, int(step.max()) + 1, pieces)


@pytest.mark.parametrize(
    ("pieces", "origin"),
    [
        (((0, 0, 0, 0, 8), (1, 0, 1, 8, 8)), 8),  # the next row, but of another segment
        (((0, 4, 0, 3, 4), (1, 0, 1, 3, 8)), 2),  # nothing but padding before, and another segment
        (((0, 4, 0, 3, 4), (1, 0, 0, 4, 4)), 2),  # nothing but padding before, and another row
        (((0, 0, 0, 0, 4), (0, 4, 1, 5, 4), (1, 0, 1, 5, 8)), 4),  # the row before was never read
        (((0, 0, 0, 0, 8), (1, 0, 0, 8, 8)), 7),  # one row too early
        (((0, 0, 0, 0, 8), (1, 0, 0, 4, 8)), 8),  # windows overlap: the state has seen four of the rows already
        (((0, 0, 0, 0, 8), (1, 0, 0, 7, 8)), 8),  # one of them
        (((0, 0, 0, 0, 8), (1, 0, 0, 9, 8)), 8),  # a row is left out
        (((0, 0, 0, 8, 8), (1, 0, 0, 0, 8)), 8),  # backwards
        (((0, 0, 0, 0, 8), (1, 0, 0, 0, 8)), 8),  # the same window again
        (((0, 0, 0, 0, 8), (1, 0, 0, 8, 8)), 0),  # from where the window before started
        (((0, 0, 0, 0, 8), (1, 0, 1, 0, 8)), 0),  # in another segment
    ],
)
def test_the_proof_compares_segments_and_rows(pieces, origin):
    @dataclass(frozen=True)
    class SecondFrom:
        origin: int

        def origins(self, grid, first, stop):
            return np.where(np.arange(first, stop) == 1, self.origin, -1)[:, None]

    with pytest.raises(rk.ContinuityError, match="step 1, lane 0"):
        rk.Schedule(series_of([20, 20]), Given(pieces), SecondFrom(origin))


@pytest.mark.parametrize("policy", [rk.Reset(), rk.Carry()])
@pytest.mark.parametrize(
    "pieces",
    [
        ((0, 0, 0, 16, 6),),  # over the end of the segment
        ((0, 0, 2, 0, 4),),  # a segment that is not there
        ((0, 4, 0, 0, 6),),  # over the end of the window
        ((0, 0, 0, 0, 4), (0, 2, 1, 0, 4)),  # two pieces in the same place
        ((1, 0, 0, 0, 4), (0, 0, 0, 4, 4)),  # steps out of order
        ((0, 0, 0, -1, 4),),
    ],
)
def test_pieces_outside_their_segment_or_window_are_refused(pieces, policy):
    with pytest.raises(rk.ScheduleError, match="expects pieces inside their segment"):
        rk.Schedule(series_of([20, 20]), Given(pieces), policy)


@dataclass(frozen=True)
class Beside:
    """Two lanes of windows of 4 rows, each lane's windows one after the other from its first row on."""

    starts: tuple[int, int]

    def grid(self, lengths, rng, name):
        def pieces(first, stop):
            step, lane = (a.ravel() for a in np.mgrid[first:stop, :2])
            offset = np.array(self.starts)[lane] + 4 * step
            return Pieces(step, lane, 0 * step, 0 * step, offset, 0 * step + 4)

        return Grid(4, 0, 2, 2, pieces)


@pytest.mark.parametrize("starts", [(0, 0), (0, 1), (0, 2), (0, 3), (3, 0), (1, 0)])
def test_no_row_stands_in_two_lanes_of_a_step_not_even_one(starts):
    series = rk.Sequence(np.arange(40.0))
    with pytest.raises(rk.ContinuityError, match="another lane of that step reads some of them too"):
        rk.Schedule(series, Beside(starts), rk.Carry())
    assert len(rk.Schedule(series, Beside(starts), rk.Reset())) == 2  # who carries nothing may read them twice


@pytest.mark.parametrize("starts", [(0, 4), (4, 0), (0, 20)])
def test_lanes_that_only_touch_share_no_row(starts):
    check_state_is_contiguous(rk.Schedule(rk.Sequence(np.arange(40.0)), Beside(starts), rk.Carry()))


@pytest.mark.parametrize(
    ("pieces", "origin"),
    [
        (((0, 0, 0, 0, 8), (1, 0, 0, 8, 8)), 8),
        (((0, 0, 0, 0, 8), (1, 0, 0, 3, 8)), 3),
        (((0, 0, 0, 0, 4), (1, 0, 0, 4, 8)), 4),  # before the padding, which holds the state
        (((0, 4, 0, 3, 4), (1, 2, 0, 3, 6)), -1),  # starts where the one before started: from the initial state
        (((0, 0, 0, 0, 4), (0, 4, 1, 0, 4), (1, 0, 1, 4, 8)), 8),
    ],
)
def test_carry_finds_the_row_to_go_on_from(pieces, origin):
    schedule = rk.Schedule(series_of([20, 20]), Given(pieces), rk.Carry())
    assert schedule.policy.origins(schedule.grid(), 1, 2).tolist() == [[origin]]
    check_state_is_contiguous(schedule)


@dataclass(frozen=True)
class Always:
    """A policy of one's own that answers the same origin for every window."""

    origin: int

    def origins(self, grid, first, stop):
        return np.full((stop - first, grid.lanes), self.origin)


@pytest.mark.parametrize(("origin", "message"), [(8, "step 0, lane 0 .* no row yet"), (3, "step 0")])
def test_a_policy_that_lies_is_refused(origin, message):
    with pytest.raises(rk.ContinuityError, match=message):
        rk.Schedule(rk.Sequence(np.arange(40.0)), rk.Chunked(8), Always(origin))


def test_a_policy_that_answers_nonsense_is_refused():
    with pytest.raises(rk.ScheduleError, match=r"expects to answer with origins of -1 to 8"):
        rk.Schedule(rk.Sequence(np.arange(40.0)), rk.Chunked(8), Always(9))


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
    for splitter in (rk.Continuation(length, 1, tail="drop"), rk.Chunked(length, 1, tail="drop")):
        coverage = rk.Schedule(series, splitter, rk.Carry()).coverage()
        assert coverage.padding == 0
        assert coverage.scored_more == 0
    lost = rk.Schedule(series, rk.Chunked(length, tail="drop"), rk.Reset()).coverage().scored_never
    assert lost == sum(n % length for n in lengths)
    packed = rk.Schedule(series, rk.Continuation(length, tail="drop"), rk.Reset()).coverage().scored_never
    assert packed == sum(lengths) % length


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


def test_schedule_says_what_it_wants():
    series = rk.Sequence(np.arange(10.0))
    with pytest.raises(rk.ScheduleError, match="Schedule expects a Sequence first, got ndarray; wrap it"):
        rk.Schedule(np.arange(10.0), rk.Chunked(4), rk.Reset())
    with pytest.raises(rk.ScheduleError, match="Schedule expects a policy third, got 'carry'"):
        rk.Schedule(series, rk.Chunked(4), "carry")
    with pytest.raises(rk.ScheduleError, match=r"policy third, got <class .*Carry'>; write"):
        rk.Schedule(series, rk.Chunked(4), rk.Carry)


def test_shuffled_order_is_drawn_from_seed_and_epoch():
    series = rk.Sequence(np.arange(200.0))
    order = lambda seed, epoch: [  # noqa: E731
        int(b.row[0]) for b in rk.Schedule(series, rk.Chunked(8, shuffle=True), rk.Reset(), seed=seed).batches(epoch)
    ]
    assert order(0, 0) == order(0, 0)
    assert sorted(order(0, 0)) == sorted(order(0, 1)) == list(range(0, 199, 8))
    assert len({tuple(order(0, 0)), tuple(order(0, 1)), tuple(order(1, 0))}) == 3


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
    assert "and 1 more steps" in text
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
