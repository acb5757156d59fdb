"""Samples as segments, and losses on the last row of each."""

import pickle
import tracemalloc

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.data import Standard
from rnnkit.errors import DataError

RNG = np.random.default_rng(0)
LENGTHS = [5, 9, 3, 12, 7]
RAGGED = [RNG.standard_normal((n, 2)) for n in LENGTHS]
LABELS = np.array([0, 2, 1, 2, 0])
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
MODEL = rk.Chain(rk.LSTM(2, 4), rk.Dense(4, 3))


def test_an_array_of_samples_is_not_copied_and_has_a_segment_a_sample():
    x = RNG.standard_normal((4, 6, 2))
    series = rk.Sequence.panel(x, y=np.arange(4))
    assert series.lengths.tolist() == [6] * 4
    assert series.starts.tolist() == [0, 6, 12, 18]
    assert (series.score, series.labels, series.horizon, series.outputs) == ("last", True, 0, 1)
    x[1, 2, 1] = 99.0
    got, labels = series.take(np.arange(24), np.float64)
    np.testing.assert_array_equal(got, x.reshape(24, 2))
    assert labels.tolist() == np.repeat(np.arange(4), 6).tolist()


def test_a_memmap_of_samples_is_read_in_slices(tmp_path):
    np.save(tmp_path / "x.npy", RNG.standard_normal((3, 5)))
    series = rk.Sequence.panel(np.load(tmp_path / "x.npy", mmap_mode="r"), y=[0.5, 1.5, 2.5])
    assert (series.features, series.outputs, series.labels) == (1, 1, False)
    assert series.take(np.array([7]))[1].tolist() == [[1.5]]


def test_ragged_samples_keep_their_lengths_and_targets_by_row_stay():
    by_row = [np.arange(n, dtype=float) for n in LENGTHS]
    series = rk.Sequence.panel(RAGGED, y=by_row)
    assert series.lengths.tolist() == LENGTHS
    assert series.score == "all"
    np.testing.assert_array_equal(series.take(np.arange(36), np.float64)[1][:, 0], np.concatenate(by_row))


def test_a_panel_without_targets_is_forecast_within_each_sample():
    series = rk.Sequence.panel(RAGGED)
    assert series.lengths.tolist() == [n - 1 for n in LENGTHS]
    assert series.target_columns == (0, 1)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([], None, r"expects x to have at least one sample, got none"),
        (np.zeros((2, 3, 4, 5)), None, r"expects x of shape \(samples, steps, features\)"),
        ([np.zeros((3, 2)), np.zeros((3, 1))], None, r"same features, got \(3, 1\) as sample 1 and \(3, 2\) as sam"),
        ([np.zeros(3), np.zeros(0)], None, r"got \(0,\) as sample 1"),
        (RAGGED, LABELS[:4], r"a target for each of its 5 samples, .* got y of shape \(4,\)"),
        (np.zeros((2, 3, 1)), np.zeros((2, 4, 1)), r"sample 0 has 3 rows of x and 4 of y"),
        (RAGGED, list("abcab"), r"targets to be numbers, got dtype <U1; number the classes: np\.unique"),
        (RAGGED, [0, np.nan, 1, 2, 0], r"expects finite targets, got nan for sample 1"),
    ],
)
def test_samples_that_do_not_fit_are_refused(x, y, message):
    with pytest.raises(rk.DataError, match=message):
        rk.Sequence.panel(x, y)


def test_another_score_is_refused():
    with pytest.raises(rk.DataError, match="expects score to be 'all' or 'last', got 'first'"):
        rk.Sequence(np.arange(4.0), score="first")


def many_to_one(policy=None, splitter=None):
    return rk.Schedule(rk.Sequence.panel(RAGGED, LABELS), splitter or rk.Continuation(6, lanes=2), policy or rk.Carry())


SCHEDULES = pytest.mark.parametrize(
    "schedule",
    [
        many_to_one(),
        many_to_one(splitter=rk.Continuation(4, lanes=3, lookback=3)),
        many_to_one(splitter=rk.Chunked(5), policy=rk.BurnIn(2)),
        many_to_one(splitter=rk.Chunked(5, lanes=2, shuffle=True), policy=rk.Stored()),
        many_to_one(splitter=rk.Sliding(6, stride=3, lanes=2), policy=rk.Reset()),
    ],
    ids=lambda schedule: f"{schedule.splitter} {schedule.policy}",
)


@SCHEDULES
def test_the_last_row_of_each_sample_is_scored_and_no_other(schedule):
    ends = (schedule.series.starts + schedule.series.lengths - 1).tolist()
    scored = [int(row) for batch in schedule.batches() for row in batch.rows[batch.weight > 0]]
    assert set(scored) == set(ends)
    coverage = schedule.coverage()
    assert (coverage.rows, coverage.scored_never) == (5, 0)
    assert coverage.scored_once + coverage.scored_more == 5
    assert coverage.scored_once == sum(scored.count(row) == 1 for row in ends)


@BACKENDS
def test_a_sample_in_one_window_is_the_loss_of_its_last_output(backend):
    series = rk.Sequence.panel(RAGGED, LABELS)
    params, _ = rk.setup(MODEL, dtype="float64")
    schedule = rk.Schedule(series, rk.Chunked(12), rk.Reset())
    run = rk.fit(
        MODEL, schedule, backend=backend, loss="cross_entropy", epochs=1, rule=rk.SGD(1e-30), dtype="float64",
        params=params,
    )  # fmt: skip
    for sample, label, loss in zip(RAGGED, LABELS, run.history.steps["loss"], strict=True):
        _, state = rk.setup(MODEL, dtype="float64")
        y, _, _ = rk.backend("numpy").forward(MODEL, params, sample[:, None], state)
        logits = y[-1, 0]
        assert loss == pytest.approx(np.log(np.exp(logits).sum()) - logits[label], rel=1e-10)


def test_whatever_precedes_a_sample_does_not_reach_it():
    """Packed end to end in one lane, another sample's rows change nothing."""
    changed = [RAGGED[0] * 100, *RAGGED[1:]]
    losses = []
    for x in (RAGGED, changed):
        schedule = rk.Schedule(rk.Sequence.panel(x, LABELS), rk.Continuation(36), rk.Carry())
        (block,) = schedule.blocks(dtype="float64")
        params, state = rk.setup(MODEL, dtype="float64")
        batch = block.batch(0)
        y, _, _ = rk.backend("numba").forward(MODEL, params, batch.x, state, batch.reset, batch.valid)
        losses.append(y[batch.weight > 0])
    assert not np.array_equal(losses[0][0], losses[1][0])
    np.testing.assert_array_equal(losses[0][1:], losses[1][1:])


def test_parts_hold_whole_samples():
    series = rk.Sequence.panel(RNG.standard_normal((10, 7)), np.arange(10) % 2)
    parts = series.split(0.52, 0.3)
    assert [part.lengths.tolist() for part in parts] == [[7] * 5, [7] * 3, [7] * 2]
    small, *_ = rk.Sequence.panel(RNG.standard_normal((3, 7)), [0, 1, 0]).split(0.05, 0.5)
    assert small.lengths.tolist() == [7]


def test_a_classifier_learns_and_is_judged_by_sample():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 120)
    x = [rng.standard_normal(n) * 0.3 + (2 * k - 1) * (np.arange(n) == 0) for n, k in
         zip(rng.integers(6, 15, 120), labels, strict=True)]  # fmt: skip
    train, _, test = rk.Sequence.panel(x, labels).split(0.7, 0.0)
    schedule = rk.Schedule(train, rk.Continuation(32, lanes=4), rk.Carry())
    run = rk.fit(rk.Chain(rk.LSTM(1, 8), rk.Dense(8, 2)), schedule, loss="cross_entropy", epochs=60, rule=rk.Adam(0.02))
    found = rk.evaluate(run, test)
    assert found.model.rows == len(test.lengths)
    assert found.persistence is None
    assert found.model.mae < 0.1  # of the classes


def test_targets_by_sample_may_be_as_wide_as_a_sample_is_long():
    x, y = RNG.standard_normal((5, 3, 2)), RNG.standard_normal((5, 3))
    assert (rk.Sequence.panel(x, y).outputs, rk.Sequence.panel(x, y).score) == (3, "last")
    assert rk.Sequence.panel(list(x), list(y)).outputs == 3
    with pytest.raises(rk.DataError, match="cannot tell whether y of shape"):
        rk.Sequence.panel(y, y)
    with pytest.raises(rk.DataError, match="expects y as an array or a list with an entry for each sample, got 3"):
        rk.Sequence.panel(x, 3)


@BACKENDS
def test_drawn_lengths_weigh_the_scored_rows_alone(backend):
    """A step's gradient counts by its scored rows over those that are expected; without any there is no step."""
    schedule = many_to_one(splitter=rk.Continuation(rk.Geometric(4), lanes=2, reweight=True))
    scales = np.concatenate([block.scale for block in schedule.blocks()])
    scored = np.array([(batch.weight > 0).sum() for batch in schedule.batches()])
    expected = 4 * 2 * 5 / sum(LENGTHS)
    np.testing.assert_allclose(scales, np.where(scored > 0, scored / expected, 1))
    run = rk.fit(MODEL, schedule, backend=backend, loss="cross_entropy", epochs=3, rule=rk.SGD(0.1), dtype="float64")
    other = rk.fit(MODEL, schedule, backend="numpy", loss="cross_entropy", epochs=3, rule=rk.SGD(0.1), dtype="float64")
    np.testing.assert_allclose(run.history.steps["loss"], other.history.steps["loss"], rtol=1e-10)


def spread(x, y, **options):
    """The same panel with the targets of each sample at each of its rows, as an obvious reference."""
    lengths = [len(sample) for sample in x]
    ends = np.cumsum(lengths)
    segments = np.column_stack((ends - lengths, ends))
    rows = np.concatenate([np.reshape(sample, (len(sample), -1)) for sample in x])
    return rk.Sequence(rows, np.repeat(y, lengths, axis=0), segments=segments, name="panel", score="last", **options)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("kind", ["labels", "numbers", "several", "boolean"])
@pytest.mark.parametrize("horizon", [0, 2])
def test_targets_by_sample_are_read_as_if_they_stood_at_each_row(ragged, kind, horizon):
    rng = np.random.default_rng(3)
    x = [rng.normal(size=(n, 2)) for n in (rng.integers(3, 9, 30) if ragged else [5] * 30)]
    y = {
        "labels": rng.integers(0, 4, 30),
        "numbers": rng.normal(size=30),
        "several": rng.normal(size=(30, 7)).astype(np.float32),
        "boolean": rng.random(30) > 0.5,
    }[kind]
    made = rk.Sequence.panel(x if ragged else np.stack(x), y, horizon=horizon)
    known = spread(x, y, horizon=horizon)
    assert (made.labels, made.outputs, made.horizon) == (known.labels, known.outputs, horizon)
    assert Standard.fit(made) == Standard.fit(known)
    scaler = Standard.fit(known)
    rows = rng.integers(-1, known.rows, (4, 50))
    for one, other in ((made, known), (made.with_scaler(scaler), known.with_scaler(scaler))):
        for part, whole in zip((one, *one.split(0.6, 0.2)), (other, *other.split(0.6, 0.2)), strict=True):
            assert part.segments == whole.segments
            for dtype in (np.float32, np.float64):
                for found, expected in zip(part.take(rows, dtype), whole.take(rows, dtype), strict=True):
                    np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(part.read_y(3, 90), whole.read_y(3, 90))
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.take(rows)[1], made.take(rows)[1])


def test_targets_by_sample_are_stored_once_a_sample():
    x, y = np.zeros((300, 40, 1), np.float32), np.zeros((300, 500))
    tracemalloc.start()
    panel = rk.Sequence.panel(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert panel.outputs == 500
    assert peak < y.nbytes  # 40 times that, were they spread
    assert np.shares_memory(panel._source.y.rows.array, y)


def test_a_negative_label_of_a_sample_is_refused():
    with pytest.raises(DataError, match=r"panel 'panel', sample 2: the label is -1; .* give y as floats"):
        rk.Sequence.panel(np.zeros((4, 3, 1)), np.array([0, 1, -1, 0]))
    assert not rk.Sequence.panel(np.zeros((4, 3, 1)), np.array([0.0, 1, -1, 0])).labels  # as advised
