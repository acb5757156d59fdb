"""Recorded states in a run: how far off they are, kept with the run, and initial states where a model is used."""

import numpy as np
import pytest

import rnnkit as rk

SERIES = rk.Sequence(np.sin(np.arange(120) / 4), segments=[(0, 70), (70, 120)])
MODEL = rk.Chain(rk.LSTM(1, 3), rk.LSTM(3, 2), rk.Dense(2, 1))


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


GIVEN = rk.Given(h=((0.5, -0.2, 0.1), (0.3, 0.4)), c=((1.0, 0.0, -1.0), (0.2, 0.1)))


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
