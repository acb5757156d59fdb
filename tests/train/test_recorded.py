"""Recorded states in a run: how far off they are, kept with the run, and initial states where a model is used."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import rnnkit as rk

SERIES = rk.Sequence(np.sin(np.arange(120) / 4), segments=[(0, 70), (70, 120)])
MODEL = rk.Chain(rk.LSTM(1, 3), rk.LSTM(3, 2), rk.Dense(2, 1))
GIVEN = rk.Given(h=((0.5, -0.2, 0.1), (0.3, 0.4)), c=((1.0, 0.0, -1.0), (0.2, 0.1)))


def trained(policy=None, model=MODEL, splitter=None, **settings):
    schedule = rk.Schedule(SERIES, splitter or rk.Chunked(10, shuffle=True), policy or rk.Stored())
    return rk.fit(model, schedule, backend="numpy", dtype="float64", **settings), schedule


def state_before(run, row, start):
    """The state before a row of a segment, by one pass over the rows from its start."""
    _, state = rk.setup(run.model, dtype="float64")
    x = np.sin(np.arange(start, row) / 4)[:, None, None]
    return run.backend.forward(run.model, run.params, x, state)[1]


def test_the_distance_is_that_from_states_computed_anew():
    run, schedule = trained(epochs=2, rule=rk.SGD(0.5))
    found = rk.recorded_distance(run, schedule)
    assert found.rows.tolist() == [10, 20, 30, 40, 50, 60, 80, 90, 100, 110]
    for slot, row in enumerate(found.rows):
        anew = np.concatenate([a[0] for entry in state_before(run, row, 0 if row < 70 else 70) for a in entry])
        kept = np.concatenate([a[slot] for entry in run.store for a in entry])
        assert found.distance[slot] == pytest.approx(np.linalg.norm(kept - anew) / np.linalg.norm(anew), rel=1e-9)
    assert found.distance.max() > 1e-3  # the parameters have moved on
    assert 1 <= found.age.min() < found.age.max() <= len(schedule)
    assert "10 recorded states" in str(found)


def test_states_recorded_in_order_with_still_parameters_are_those_computed_anew():
    run, schedule = trained(splitter=rk.Chunked(10), epochs=1, rule=rk.SGD(1e-30))
    assert rk.recorded_distance(run, schedule).distance.max() < 1e-12


@pytest.mark.parametrize("initial", [rk.Learned(), GIVEN], ids=repr)
def test_states_are_computed_anew_from_the_initial_state_of_the_model(initial):
    model = rk.Chain(*MODEL.layers, initial=initial)
    first = {key: p + 0.3 for key, p in rk.setup(model, dtype="float64")[0].items()}
    settings = {"splitter": rk.Chunked(10), "epochs": 2, "rule": rk.SGD(1e-30), "params": first}
    run, schedule = trained(model=model, **settings)
    found = rk.recorded_distance(run, schedule)
    assert found.distance.max() < 1e-12
    ages = len(schedule) - np.array([0, 1, 2, 3, 4, 5, 7, 8, 9, 10])  # each is recorded in the step before its row
    assert found.age.tolist() == ages.tolist()


def test_the_age_is_that_of_the_last_recording():
    """Windows overlap: the window before a row's own, and the one before that, both record the state before it."""
    run, schedule = trained(splitter=rk.Sliding(8, 4), epochs=1)
    found = rk.recorded_distance(run, schedule)
    for window in range(1, 10):
        assert found.rows[window - 1] == 4 * window
        assert found.age[window - 1] == len(schedule) - (window - 1)


def test_nothing_recorded_is_said():
    run, schedule = trained(rk.Reset(), epochs=1)
    with pytest.raises(rk.ScheduleError, match=r"expects a schedule that records states.*use Stored\(\)"):
        rk.recorded_distance(run, schedule)
    _, other = trained(epochs=1)
    with pytest.raises(rk.ScheduleError, match=r"expects the run of a schedule with 10 recorded rows, got one with 0"):
        rk.recorded_distance(run, other)


def test_recorded_states_are_saved_with_the_run(tmp_path):
    run, schedule = trained(epochs=1)
    again = rk.load(run.save(tmp_path / "run"))
    for kept, loaded in zip(run.store, again.store, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(kept, loaded, strict=True))
    assert np.array_equal(rk.recorded_distance(again, schedule).distance, rk.recorded_distance(run, schedule).distance)
    assert rk.load(trained(rk.Reset(), epochs=1)[0].save(tmp_path / "other")).store is None


@pytest.mark.parametrize("initial", [rk.Learned(), GIVEN, rk.Noise(0.5)], ids=repr)
@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
def test_prediction_streams_and_a_loaded_run_start_from_the_initial_state(initial, backend, tmp_path):
    run, _ = trained(rk.Reset(), rk.Chain(*MODEL.layers, initial=initial), epochs=3, rule=rk.Adam(0.05))
    run = rk.load(run.save(tmp_path / "run"), backend=backend)
    assert run.model.initial == initial
    start = rk.setup(run.model, dtype="float64")[1]
    if isinstance(initial, rk.Learned):
        learned = [run.params[f"{i}.initial_{name}"] for i in (0, 1) for name in "hc"]
        assert all(np.abs(a).max() > 1e-3 for a in learned)
        start = (rk.LSTMState(*(a[None] for a in learned[:2])), rk.LSTMState(*(a[None] for a in learned[2:])), ())
    x = np.sin(np.arange(5) / 4)
    expected, _, _ = rk.backend("numpy").forward(run.model, run.params, x[:, None, None], start)
    np.testing.assert_allclose(rk.predict(run, SERIES)[:5], expected[:, 0], rtol=1e-10)
    np.testing.assert_allclose(rk.predict(run, SERIES)[70], rk.Stream(run).step([[np.sin(70 / 4)]])[0], rtol=1e-10)
    stream = rk.Stream(run)
    np.testing.assert_allclose([stream.step([[v]])[0] for v in x], expected[:, 0], rtol=1e-10)


def test_a_state_can_be_given_on():
    run, _ = trained(rk.Carry(), splitter=rk.Continuation(10), epochs=1)
    given = rk.Given.of(run.state)
    assert given.h == tuple(tuple(entry.h[0].tolist()) for entry in run.state if entry)
    assert rk.setup(rk.Chain(*MODEL.layers, initial=given), lanes=2)[1][1].c[1] == pytest.approx(given.c[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rk.Noise(0), r"Noise expects a scale > 0, got 0; write Zeros\(\)"),
        (lambda: rk.Given(h=1, c=2), r"Given expects h to be a tuple of numbers for each recurrent layer"),
        (lambda: rk.Given(h=((np.nan,),), c=((0,),)), r"Given expects finite numbers"),
        (lambda: rk.Chain(rk.LSTM(1, 2), initial=rk.Given(h=((0, 0),), c=((0,),))), r"initial\.c to have \(2,\) num"),
        (lambda: rk.Chain(rk.LSTM(1, 2), initial="zeros"), r"Chain expects initial to be Zeros\(\), .* got 'zeros'"),
    ],
)
def test_initial_states_that_cannot_be(make, message):
    with pytest.raises(rk.ModelError, match=message):
        make()


@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
def test_a_learned_initial_state_is_the_models_own(backend):
    engine, model = rk.backend(backend), rk.Chain(rk.LSTM(1, 2), initial=rk.Learned())
    params, state = engine.from_numpy(rk.setup(model))
    x = engine.from_numpy(np.zeros((3, 1, 1), np.float32))
    with pytest.raises(rk.ModelError, match=r"expects no initial state for a model with initial=Learned\(\)"):
        engine.forward(model, params, x, state, None, None, state)


@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
def test_what_early_stopping_keeps_is_of_one_epoch(backend):
    """The recorded states, too, are those of the best epoch, though later epochs write over them."""
    schedule = rk.Schedule(SERIES, rk.Chunked(10, shuffle=True), rk.Stored())
    runs = []

    def fit(epochs, **settings):
        return rk.fit(
            MODEL, schedule, backend=backend, dtype="float64", epochs=epochs, rule=rk.Adam(0.5), seed=3, **settings
        )

    run = fit(30, early_stopping=rk.EarlyStopping(patience=2))
    assert run.epoch < len(run.history.epochs["loss"]) - 1
    again = fit(run.epoch + 1)
    for kept, expected in zip(run.store[:2], again.store[:2], strict=True):
        np.testing.assert_allclose(kept.h, expected.h, rtol=1e-12)
        np.testing.assert_allclose(kept.c, expected.c, rtol=1e-12)
    fit(3, stop=lambda run: runs.append(run) or False)
    first, second, third = (run.store[0].h for run in runs)
    assert not np.array_equal(first, second)  # each has its own
    assert not np.array_equal(second, third)


@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
@pytest.mark.parametrize("policy", [rk.BurnIn(4), rk.Stored(burn_in=4)], ids=repr)
@pytest.mark.parametrize("remat", [None, 2])
def test_a_learned_initial_state_is_trained_where_no_row_stands_before_it(policy, backend, remat):
    """Samples of one window each have no burn-in rows: the gradient is that under Reset."""
    series = rk.Sequence.panel(np.sin(np.arange(60)).reshape(10, 6))
    model = rk.Chain(*MODEL.layers, initial=rk.Learned())
    runs = [
        rk.fit(
            model, rk.Schedule(series, rk.Chunked(6, lanes=2), kind), backend=backend, dtype="float64", epochs=2,
            rule=rk.SGD(0.5), remat=remat,
        )
        for kind in (policy, rk.Reset())
    ]  # fmt: skip
    for key, p in runs[1].params.items():
        np.testing.assert_allclose(runs[0].params[key], p, rtol=1e-10, atol=1e-14, err_msg=key)
    assert np.abs(runs[0].params["0.initial_h"]).max() > 1e-6


@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
def test_noise_does_not_depend_on_the_size_of_blocks(backend):
    runs = [
        trained(rk.Carry(), rk.Chain(*MODEL.layers, initial=rk.Noise(0.5)), rk.Continuation(10, lanes=2), block_rows=n,
                epochs=2)[0]
        for n in (1, 45, 65_536)
    ]  # fmt: skip
    for run in runs[1:]:
        for key, p in runs[0].params.items():
            np.testing.assert_allclose(run.params[key], p, rtol=1e-12, err_msg=key)


def test_another_seed_draws_other_noise_and_nothing_else():
    for initial, differ in ((rk.Noise(0.5), True), (rk.Zeros(), False)):
        model = rk.Chain(*MODEL.layers, initial=initial)
        params, _ = rk.setup(model, seed=0, dtype="float64")
        first, second = (trained(rk.Reset(), model, epochs=1, params=params, seed=seed)[0] for seed in (0, 1))
        same = all(np.array_equal(p, second.params[key]) for key, p in first.params.items())
        assert same != differ


@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
def test_windows_as_long_as_samples_record_nothing_and_train(backend):
    schedule = rk.Schedule(rk.Sequence.panel(np.sin(np.arange(60)).reshape(10, 6)), rk.Chunked(8), rk.Stored())
    run = rk.fit(MODEL, schedule, backend=backend, epochs=2)
    assert schedule.coverage(1).recorded == 0
    with pytest.raises(rk.ScheduleError, match="expects a schedule that records states"):
        rk.recorded_distance(run, schedule)


def test_windows_that_start_elsewhere_in_every_epoch_cannot_be_recorded():
    class Shifting:
        def grid(self, lengths, rng, name):
            first = int(rng.integers(1, 5))
            rows = [(step, 0, 0, 0, first + 6 * step, 6) for step in range(8)]
            fields = np.array(rows).T
            return rk.Grid(6, 0, 1, 8, lambda a, b: rk.Pieces(*fields[:, (fields[0] >= a) & (fields[0] < b)]))

    schedule = rk.Schedule(SERIES, Shifting(), rk.Stored())
    with pytest.raises(rk.ContinuityError, match=r"epoch \d start at other rows .* cannot be found again"):
        list(map(schedule.grid, range(8)))


def test_a_reset_that_is_drawn_does_not_hide_a_broken_continuation():
    with pytest.raises(rk.ContinuityError, match="Chunked"):
        rk.Schedule(SERIES, rk.Chunked(20, shuffle=True), rk.Carry(reset_probability=0.99))


def test_training_on_nothing_is_refused():
    series = rk.Sequence.panel(np.sin(np.arange(60)).reshape(6, 10), [0, 1] * 3)
    schedule = rk.Schedule(series, rk.Chunked(4, tail="drop"), rk.Reset())
    refused = pytest.raises(rk.ScheduleError, match=r"fit expects a schedule that scores some row, .* none in epoch")
    with pytest.warns(rk.RnnkitWarning, match=r"Chunked\(length=4"), refused:
        rk.fit(rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 2)), schedule, backend="numpy", loss="cross_entropy", epochs=1)


@pytest.mark.parametrize("policy", [rk.Reset(), rk.BurnIn(3), rk.Carry(reset_every=2)], ids=repr)
def test_a_weighed_gradient_wants_a_carried_state(policy):
    with pytest.raises(rk.ScheduleError, match=r"expects a policy that carries the state .* use Carry\(\)"):
        rk.Schedule(SERIES, rk.Continuation(rk.Geometric(6), reweight=True), policy)


def test_a_weighed_gradient_wants_a_carried_state_in_an_epoch_of_two_steps_too():
    series = rk.Sequence(np.sin(np.arange(9)))
    splitter = rk.Continuation(rk.Uniform(4, 4), reweight=True)
    assert len(rk.Schedule(series, splitter, rk.Carry())) == 2
    with pytest.raises(rk.ScheduleError, match=r"expects a policy that carries the state .* use Carry\(\)"):
        rk.Schedule(series, splitter, rk.Reset())


def test_drawn_lengths_keep_their_tail():
    with pytest.raises(rk.ScheduleError, match=r"tail='keep' with lengths that are drawn, got 'drop'"):
        rk.Continuation(rk.Geometric(6), tail="drop")


def test_origins_at_the_head_of_a_block_count_in_the_windows_of_the_block_before():
    series = rk.Sequence(np.sin(np.arange(900) / 5))
    schedule = rk.Schedule(series, rk.Continuation(rk.Geometric(20), lanes=2), rk.Carry())
    blocks = list(schedule.blocks(rows=300))
    assert len(blocks) > 3
    for before, block in pairwise(blocks):
        assert before.origin[-1].tolist() == block.origin[0].tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rk.BurnIn(3, in_gradient="no"), "in_gradient to be True or False, got 'no'"),
        (lambda: rk.Carry(across_epochs="yes"), "across_epochs to be True or False, got 'yes'"),
        (lambda: rk.Carry(reset_probability="x"), "0 <= reset_probability <= 1, got 'x'"),
        (lambda: rk.Noise("x"), "scale > 0, got 'x'"),
        (lambda: rk.Given.of(None), "expects a state, such as that of .*, got NoneType"),
        (lambda: rk.Given.of({"a": 1}), "expects a state, such as that of .*, got dict"),
    ],
)
def test_values_of_the_wrong_kind(make, message):
    with pytest.raises(rk.RnnkitError, match=message):
        make()


@pytest.mark.parametrize(
    "splitter",
    [rk.Sliding(7, 3, lanes=3, shuffle=True), rk.Chunked(6, lanes=2, shuffle=True), rk.Sliding(8, 3, lanes=2)],
    ids=repr,
)
def test_the_account_of_recorded_states_equals_a_walk_through_the_epochs(splitter):
    """Ages, resets and what states have seen; a state of the epoch before is taken to have seen its whole segment."""
    series = rk.Sequence(np.arange(61.0), np.zeros(61), segments=[(0, 22), (24, 61)])
    start = np.repeat([0, 24], [22, 39])
    schedule, held, now = rk.Schedule(series, splitter, rk.Stored(), seed=3), {}, 0
    for epoch in range(4):
        held = {slot: (when, row, row - start[row]) for slot, (when, row, _) in held.items()}
        ages, resets, seen = [], 0, []
        for batch in schedule.batches(epoch):
            recorded = {}
            for lane in np.flatnonzero(batch.row >= 0):
                row, behind = int(batch.row[lane]), 0
                if batch.origin[lane] == -2:
                    when, of, behind = held[int(batch.slots.read[lane])]
                    assert of == row
                    ages.append(now - when)
                else:
                    resets += 1
                rows = int(batch.valid[:, lane].sum())
                seen += range(behind, behind + rows)
                for at, slot in zip(batch.slots.at[lane], batch.slots.write[lane], strict=True):
                    if slot >= 0:
                        recorded[int(slot)] = now, row + int(at), behind + int(at)
            held |= recorded
            now += 1
        coverage = schedule.coverage(epoch)
        assert coverage.recorded == len(ages)
        assert coverage.age == (min(ages), np.median(ages), max(ages))
        assert coverage.resets == resets
        assert coverage.state_reach == (min(seen), np.median(seen), max(seen))


class Astray:
    """A policy of one's own that records states and starts from none; `changes` makes fields of its table wrong."""

    def __init__(self, **changes):
        self.changes = changes

    def slots(self, grid):
        table = rk.Stored().slots(grid)
        wrong = {name: change(getattr(table, name)) for name, change in self.changes.items()}
        return replace(table, **{"start": np.full_like(table.start, -1)} | wrong)

    def origins(self, grid, first, stop):
        return np.full((stop - first, grid.lanes), -1)


@pytest.mark.parametrize(
    "change",
    [
        {"segment": lambda segment: 1 - segment},  # the same rows of the other segment
        {"offset": lambda offset: offset + 1},
        {"at": lambda at: at - 1},
        {"slot": lambda slot: slot[::-1].copy()},
        {"start": lambda start: np.where(start < 0, start, (start + 1) % (start.max() + 1))},  # read, not recorded
    ],
    ids=lambda change: next(iter(change)),
)
def test_states_recorded_for_another_row_are_refused(change):
    splitter = rk.Chunked(10, shuffle=True)
    rk.Schedule(SERIES, splitter, Astray())
    with pytest.raises(rk.ContinuityError, match="a recorded state is not the one before its slot's row"):
        rk.Schedule(SERIES, splitter, Astray(**change)).grid(1)
