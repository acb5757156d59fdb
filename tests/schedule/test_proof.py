"""The continuity proof: what it refuses, of splitters and policies of one's own too."""

import pickle
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

import rnnkit as rk
from builders.walks import check_state_is_contiguous, series_of
from rnnkit.schedule.grid import Grid, Pieces


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


@pytest.mark.parametrize("policy", [rk.Carry(), rk.Carry(across_epochs=True)], ids=str)
def test_every_epoch_of_a_splitter_of_ones_own_is_proven(policy):
    series, model = rk.Sequence(np.arange(40.0)), rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1))
    schedule = rk.Schedule(series, ByEpoch(wrong=(2,)), policy)
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


@pytest.mark.parametrize("epoch", [1, 2])
def test_states_are_recorded_for_the_same_rows_in_every_epoch(epoch):
    schedule = rk.Schedule(rk.Sequence(np.arange(40.0)), ByEpoch(wrong=(epoch,)), rk.Stored())
    list(schedule.blocks(3 - epoch))
    with pytest.raises(rk.ContinuityError, match=f"the windows of epoch {epoch} start at other rows than those of"):
        schedule.blocks(epoch).__next__()


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
        ((0, 0, -1, 0, 4),),
        ((0, -1, 0, 0, 4),),
        ((0, 0, 0, 0, 4), (0, 4, 0, 4, 0)),  # a piece of no rows
    ],
)
def test_pieces_outside_their_segment_or_window_are_refused(pieces, policy):
    with pytest.raises(rk.ScheduleError, match="expects pieces inside their segment"):
        rk.Schedule(series_of([20, 20]), Given(pieces), policy)


@pytest.mark.parametrize(
    ("pieces", "rows", "reset"),
    [
        (((0, 0, 0, 0, 4), (0, 4, 0, 4, 4)), [*range(1, 9)], []),  # one goes on where the other ends
        (((0, 0, 0, 0, 4), (0, 4, 0, 8, 4)), [1, 2, 3, 4, 9, 10, 11, 12], [4]),  # rows are left out between them
        (((0, 0, 0, 4, 4), (0, 4, 0, 0, 4)), [5, 6, 7, 8, 1, 2, 3, 4], [4]),
        (((0, 0, 0, 0, 3), (0, 4, 0, 3, 4)), [1, 2, 3, -1, 4, 5, 6, 7], [4]),  # padding between them
    ],
)
def test_state_flows_only_between_pieces_that_continue_each_other(pieces, rows, reset):
    (batch,) = rk.Schedule(series_of([20, 20]), Given(pieces), rk.Reset()).batches()
    assert batch.rows[:, 0].tolist() == rows
    assert np.flatnonzero(batch.reset[:, 0]).tolist() == reset


def test_a_burn_in_is_read_at_the_head_of_a_window_alone():
    pieces = ((0, 0, 0, 4, 4), (0, 4, 0, 10, 4))
    (batch,) = rk.Schedule(series_of([20, 20]), Given(pieces), rk.BurnIn(3)).batches()
    assert batch.rows[:, 0].tolist() == [2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14]
    assert batch.weight[:, 0].tolist() == [0] * 3 + [1] * 8


@pytest.mark.parametrize(
    ("policy", "outside"), [(rk.BurnIn(3), 5), (rk.BurnIn(3, True), 2), (rk.Stored(3), 5)], ids=str
)
def test_a_burn_in_comes_before_what_a_splitter_of_ones_own_leaves_out(policy, outside):
    grid = replace(Given(((0, 0, 0, 4, 8),)).grid(None, None, ""), lead=2, detached=2, reweight=np.arange(8.0))
    widened = policy.widen(grid)
    assert (widened.length, widened.lead, widened.detached) == (11, 5, outside)
    assert widened.reweight.tolist() == [1, 1, 1, *range(8)]


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
