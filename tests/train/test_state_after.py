"""The state after a row of a series, whatever the lanes in training, and streams of which one lane begins anew."""

import dataclasses
import pickle

import numpy as np
import pytest

import rnnkit as rk
from builders.series import wave

BACKENDS = ("numpy", "numba", "torch")

GIVEN = rk.Given(h=((0.5,) * 4, (0.2,) * 2), c=((1.0,) * 4, (-1.0,) * 2))
INITIALS = (None, rk.Learned(), rk.Noise(0.3), GIVEN)


def fitted(series, lanes=3, initial=None):
    layers = (rk.LSTM(1, 4), rk.Dense(4, 3, "tanh"), rk.LSTM(3, 2), rk.Dense(2, 1))
    model = rk.Chain(*layers) if initial is None else rk.Chain(*layers, initial=initial)
    scaled = series.with_scaler(rk.Standard.fit(series))
    schedule = rk.Schedule(scaled, rk.Continuation(10, lanes=lanes), rk.Carry())
    return rk.fit(model, schedule, backend="numpy", rule=rk.Adam(0.05), epochs=2, dtype="float64")


@pytest.fixture(scope="module")
def run():
    return fitted(rk.Sequence(wave(90)))


def by_hand(run, values):
    """The state after some values, from the initial one, in one go."""
    x = run.scaler.scale_x(values[:, None])[:, None]
    _, start = rk.setup(run.model, dtype="float64")
    return rk.backend("numpy").forward(run.model, run.params, x, start)[1]


def alike(got, expected, **options):
    for a, b in zip(got, expected, strict=True):
        assert type(a) is type(b)
        for one, other in zip(a, b, strict=True):
            assert type(one) is np.ndarray
            np.testing.assert_allclose(one, other, **options)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("row", [None, 89, 40, 0])
def test_it_is_that_of_one_pass(run, backend, row, monkeypatch):
    monkeypatch.setattr("rnnkit.train.passes.PASS_ROWS", 16)
    monkeypatch.setattr("rnnkit.train.passes.BLOCK_ROWS", 32)
    other = dataclasses.replace(run, backend=rk.backend(backend))
    found = rk.state_after(other, rk.Sequence(wave(90)), row)
    alike(found, by_hand(run, wave(90)[: 90 if row is None else row + 1]), rtol=1e-9)


def test_it_is_not_what_lane_0_remembers(run):
    found = rk.state_after(run, rk.Sequence(wave(90)))
    assert run.state[0].h.shape == (3, 4)
    assert not np.allclose(found[0].h, run.state[0].h[:1], atol=1e-3)


def test_a_segment_begins_anew_and_a_part_knows_what_stands_before_it(run):
    series = rk.Sequence(wave(90), segments=[(0, 30), (35, 90)])
    alike(rk.state_after(run, series), by_hand(run, wave(90)[35:]), rtol=1e-12)
    alike(rk.state_after(run, series, 29), by_hand(run, wave(90)[:30]), rtol=1e-12)
    for row in (35, 36):
        alike(rk.state_after(run, series, row), by_hand(run, wave(90)[35 : row + 1]), rtol=1e-12)
    _, _, test = rk.Sequence(wave(90)).split(0.5, 0.2)
    alike(rk.state_after(run, test), by_hand(run, wave(90)), rtol=1e-12)
    for row in (30, 34, 90, -1):
        with pytest.raises(rk.DataError, match=rf"in a segment, rows 0 to 29, 35 to 89; got {row}"):
            rk.state_after(run, series, row)
    with pytest.raises(rk.DataError, match=r"row to be a whole number, got 1\.5"):
        rk.state_after(run, series, 1.5)


def test_one_of_several_series(run, tmp_path):
    lines = [f"{name},{value:.9f}" for name in "ab" for value in wave(20, ord(name))]
    (tmp_path / "table.csv").write_text("store,sales\n" + "\n".join(lines) + "\n")
    series = rk.Sequence.open(tmp_path / "table.csv", target="sales", series_id="store")
    run = dataclasses.replace(run, features=("sales",), targets=("sales",))
    alike(rk.state_after(run, series, only="a"), by_hand(run, wave(20, ord("a")).round(9)), rtol=1e-9)
    alike(rk.state_after(run, series, 19), by_hand(run, wave(20, ord("a")).round(9)), rtol=1e-9)
    with pytest.warns(rk.RnnkitWarning, match=r"state_after goes on from 'b', the last of the 2 series"):
        alike(rk.state_after(run, series), by_hand(run, wave(20, ord("b")).round(9)), rtol=1e-9)
    with pytest.raises(rk.DataError, match="takes row= or only=, got both; leave only= out"):
        rk.state_after(run, series, 3, only="a")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stream_goes_on_from_it(run, backend):
    other = dataclasses.replace(run, backend=rk.backend(backend))
    series = rk.Sequence(wave(90))
    expected = rk.predict(run, series)
    stream = rk.Stream(other)
    stream.state = rk.state_after(other, series, 69)
    rows = [stream.step([[value]])[0] for value in wave(90)[70:]]
    np.testing.assert_allclose(rows, expected[70:], rtol=1e-9)
    stream.state = rk.state_after(run, series, 69)  # of another backend: NumPy arrays are read by all
    np.testing.assert_allclose(stream.step([[wave(90)[70]]])[0], expected[70], rtol=1e-9)


def test_training_goes_on_from_it(run):
    train, _, test = rk.Sequence(wave(90)).split(0.8, 0.0)
    given = rk.Given.of(rk.state_after(run, train))
    model = rk.Chain(*run.model.layers, initial=given)
    schedule = rk.Schedule(test.with_scaler(run.scaler), rk.Continuation(9), rk.Carry())
    further = rk.fit(model, schedule, params=run.params, backend="numpy", dtype="float64", rule=rk.SGD(1e-12), epochs=1)
    alone = rk.Sequence(wave(90)[72:])
    np.testing.assert_allclose(
        rk.predict(further, alone, warm=0), rk.predict(run, rk.Sequence(wave(90)))[72:], rtol=1e-6
    )


def test_a_forecast_is_a_stream_from_there(run):
    series = rk.Sequence(wave(90))
    stream, ahead = rk.Stream(run), [rk.predict(run, series)[-1]]
    stream.state = rk.state_after(run, series)
    for _ in range(4):
        ahead.append(stream.step([ahead[-1]])[0])
    np.testing.assert_allclose(rk.forecast(run, series, 5), ahead, rtol=1e-9)


def test_a_forecast_warms_up_in_bounded_pieces(run, monkeypatch):
    series = rk.Sequence(wave(90), horizon=3)
    run = dataclasses.replace(run, horizon=3)
    expected = rk.forecast(run, series, 7, warm=50)
    for rows in (1, 2, 7):
        monkeypatch.setattr("rnnkit.train.passes.PASS_ROWS", rows)
        monkeypatch.setattr("rnnkit.train.passes.BLOCK_ROWS", rows)
        np.testing.assert_allclose(rk.forecast(run, series, 7, warm=50), expected, rtol=1e-12)


def test_a_stream_says_which_state_it_wants(run):
    stream = rk.Stream(run, lanes=2)
    with pytest.raises(rk.ModelError, match=r"a state of 2 lanes, .* take one of this model and as many lanes"):
        stream.state = rk.state_after(run, rk.Sequence(wave(90)))
    for wrong in (None, 3, (), run.state[:1]):
        with pytest.raises(rk.ModelError, match="expects a state of 2 lanes"):
            stream.state = wrong
    rk.Stream(run).state = rk.state_after(run, rk.Sequence(wave(90)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("initial", INITIALS)
def test_a_lane_begins_anew_and_the_others_go_on(backend, initial):
    run = dataclasses.replace(fitted(rk.Sequence(wave(90)), initial=initial), backend=rk.backend(backend))
    rows = np.random.default_rng(0).normal(size=(8, 3, 1))
    apart = [rk.Stream(run) for _ in range(3)]
    together = rk.Stream(run, lanes=3)

    def steps(some):
        for row in some:
            expected = [stream.step(row[lane : lane + 1])[0] for lane, stream in enumerate(apart)]
            np.testing.assert_allclose(together.step(row), expected, rtol=1e-9)

    steps(rows[:2])
    for lanes in (1, [0, 2], np.array([2]), []):
        together.reset(lanes)
        for lane in np.atleast_1d(lanes).astype(int):
            apart[lane] = rk.Stream(run)
        steps(rows[2:4])
    together.reset()
    apart = [rk.Stream(run) for _ in range(3)]
    steps(rows[4:])


@pytest.mark.parametrize("lane", [3, -1, True, 0.0, [0, 3], "0"])
def test_a_lane_that_is_none(run, lane):
    stream = rk.Stream(run, lanes=3)
    with pytest.raises(rk.ModelError, match=r"Stream.reset expects lanes, whole numbers from 0 to 2, got .*; leave it"):
        stream.reset(lane)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stream_that_is_sent_goes_on_where_it_stood(run, backend):
    stream = rk.Stream(dataclasses.replace(run, backend=rk.backend(backend)), lanes=2)
    rows = np.random.default_rng(0).normal(size=(3, 2, 1))
    for row in rows[:2]:
        stream.step(row)
    again = pickle.loads(pickle.dumps(stream))
    np.testing.assert_array_equal(again.step(rows[2]), stream.step(rows[2]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stream_reads_a_state_of_another_dtype(run, backend):
    narrow = dataclasses.replace(
        run, backend=rk.backend(backend), params={key: p.astype("float32") for key, p in run.params.items()}
    )
    stream = rk.Stream(narrow)
    stream.state = rk.state_after(run, rk.Sequence(wave(90)), 40)
    kept = [array.dtype for entry in narrow.backend.to_numpy(stream.state) for array in entry]
    assert set(kept) == {np.dtype("float32")}
    expected = rk.predict(run, rk.Sequence(wave(90)))[41]
    np.testing.assert_allclose(stream.step([[wave(90)[41]]])[0], expected, rtol=1e-4)
