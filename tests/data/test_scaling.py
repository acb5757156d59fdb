import fractions
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rnnkit as rk
from rnnkit.data import Sequence, Standard
from rnnkit.data.scaling import Moments
from rnnkit.data.sentinels import Extremes
from rnnkit.errors import DataError, RnnkitWarning


def test_the_scaler_is_mean_and_std_of_the_training_part_alone():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 5, (1000, 2))
    train = Sequence(x, target=1, segments=[(0, 100), (120, 1000)]).split(0.6, 0.2)[0]
    rows = np.concatenate([np.arange(start, stop) for start, stop in train.segments])
    assert rows.max() < 620
    scaler = Standard.fit(train)
    np.testing.assert_allclose(scaler.x_mean, x[rows].mean(0), rtol=1e-13)
    np.testing.assert_allclose(scaler.x_std, x[rows].std(0), rtol=1e-13)
    assert scaler.y_mean == scaler.x_mean[1:]
    assert scaler.y_std == scaler.x_std[1:]


def test_targets_of_their_own_have_their_own_numbers():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 2)), rng.normal(10, 3, 50)
    scaler = Standard.fit(Sequence(x, y, horizon=4))
    np.testing.assert_allclose(scaler.x_mean, x[:46].mean(0), rtol=1e-12)
    np.testing.assert_allclose(scaler.y_mean, [y[4:].mean()], rtol=1e-12)
    np.testing.assert_allclose(scaler.y_std, [y[4:].std()], rtol=1e-12)


def test_labels_are_not_scaled():
    x, labels = np.random.default_rng(0).normal(5, 2, (30, 2)), np.arange(30) % 3
    series = Sequence(x, labels)
    scaler = Standard.fit(series)
    assert scaler.y_mean == pytest.approx((labels.mean(),))
    assert scaler.of_inputs() == Standard(scaler.x_mean, scaler.x_std)
    assert series.with_scaler(scaler).take(np.arange(30))[1].tolist() == labels.tolist()
    assert scaler.of_inputs().scale_y(labels) is labels
    assert scaler.of_inputs().unscale_y(labels) is labels
    numbers = series.with_scaler(scaler).as_numbers().take(np.arange(30), np.float64)[1]
    np.testing.assert_allclose(numbers[:, 0], (labels - labels.mean()) / labels.std())


def test_many_slices_with_a_large_mean_keep_their_digits():
    rng = np.random.default_rng(0)
    x = 1e9 + rng.normal(size=200_000)
    x[100_000:] += 3
    scaler = Standard.fit(Sequence(x, x, horizon=0))
    exact = x - 1e9
    assert scaler.x_std[0] == pytest.approx(exact.std(), rel=1e-9)
    assert scaler.x_mean[0] - 1e9 == pytest.approx(exact.mean(), abs=1e-6)


@pytest.mark.parametrize("value", [0.1, 1 / 3, -7.7, 1e9 + 0.1, 1e-300])
def test_a_constant_column_gets_std_1(value):
    x = np.stack((np.full(100_001, value), np.arange(100_001)), axis=1)
    scaler = Standard.fit(Sequence(x, target=1))
    assert (scaler.x_mean[0], scaler.x_std[0]) == (value, 1.0)
    assert scaler.x_std[1] == pytest.approx(np.arange(100_000).std())
    assert not Sequence(x, target=1).with_scaler(scaler).read_x(0, 100)[:, 0].any()


def test_fitting_looks_past_a_scaler_that_is_on():
    series = Sequence(np.random.default_rng(0).normal(4, 3, 100))
    scaler = Standard.fit(series)
    assert Standard.fit(series.with_scaler(scaler)) == scaler
    scaled = series.with_scaler(scaler).read_x(0, 99, np.float64)
    assert scaled.mean() == pytest.approx(0, abs=1e-12)
    assert scaled.std() == pytest.approx(1)
    np.testing.assert_array_equal(series.with_scaler(scaler).with_scaler(None).read_x(0, 99), series.read_x(0, 99))


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3)), min_size=1, max_size=4))
def test_scaling_there_and_back_changes_nothing(columns):
    mean, std = zip(*columns, strict=True)
    scaler = Standard(mean, std, mean, std)
    values = np.random.default_rng(0).normal(mean, std, (5, 2, len(mean)))
    for there, back in ((scaler.scale_x, scaler.unscale_x), (scaler.scale_y, scaler.unscale_y)):
        np.testing.assert_allclose(back(there(values)), values, rtol=1e-12, atol=1e-9)
        np.testing.assert_allclose(there(values), (values - mean) / std)


def test_a_scaler_survives_being_written_down():
    scaler = Standard.fit(Sequence(np.random.default_rng(0).normal(size=(20, 2)), target=1))
    assert Standard.from_dict(json.loads(json.dumps(scaler.to_dict()))) == scaler
    assert hash(Standard.from_dict(scaler.to_dict())) == hash(scaler)


def test_numbers_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="as many numbers in x_mean as in x_std, got 1 and 2"):
        Standard((0.0,), (1.0, 2.0))
    with pytest.raises(DataError, match="finite y_mean and positive y_std"):
        Standard((0.0,), (1.0,), (0.0,), (0.0,))
    with pytest.raises(DataError, match="finite x_mean and positive x_std"):
        Standard((np.nan,), (1.0,))
    with pytest.raises(DataError, match="from_dict expects x_mean, x_std, y_mean, y_std, got mean"):
        Standard.from_dict({"mean": [0.0]})


def test_a_scaler_for_other_columns_is_refused():
    scaler = Standard((0.0,), (1.0,), (0.0,), (1.0,))
    with pytest.raises(DataError, match="'a' expects a scaler for 2 features and 1 target, got one for 1 and 1"):
        Sequence(np.zeros((5, 2)), target=0, name="a").with_scaler(scaler)
    with pytest.raises(DataError, match="for 1 feature and 1 target, got one for 1 and 2"):
        Sequence(np.zeros(5), np.arange(5)).with_scaler(Standard((0.0,), (1.0,), (0.0, 0.0), (1.0, 1.0)))


# constant but for rounding, and numbers at the ends of their range


ROW = np.random.default_rng(5).normal(size=(4000,))


@pytest.mark.parametrize(
    "column",
    [
        0.1 + np.tile([0, 1.4e-17, -1.4e-17, 0], 1000),
        np.cos(ROW) ** 2 + np.sin(ROW) ** 2,
        np.where(ROW > 0, np.float32(0.3), np.nextafter(np.float32(0.3), np.float32(1))),
        1e300 * (np.cos(ROW) ** 2 + np.sin(ROW) ** 2),
        1e-200 * (np.cos(ROW) ** 2 + np.sin(ROW) ** 2),
    ],
)
def test_a_deviation_that_is_nothing_but_rounding_is_none_and_that_is_said(column):
    assert np.ptp(column) > 0
    x = np.column_stack((column, ROW.astype(column.dtype)))
    with pytest.warns(
        RnnkitWarning, match=r"Standard.fit of 'series': column 0 of x varies by .* nothing but rounding"
    ):
        scaler = Standard.fit(Sequence(x, target=1))
    assert scaler.x_std[0] == 1
    np.testing.assert_allclose(scaler.x_std[1], ROW[:-1].std(), rtol=1e-5)
    later = np.abs(Sequence(x * 1.001, target=1).with_scaler(scaler).read_x(0, 9, np.float64))[:, 0]
    assert (later <= np.abs(column[:9]) * 0.0011).all()
    Standard.fit(Sequence(x[:, 1:]))  # as advised
    Sequence(x, target=1).with_scaler(Standard((0, 0), (1, 1)))


def test_targets_given_apart_are_looked_at_too():
    y = 0.1 + np.tile([0, 1.4e-17], 2000)
    with pytest.warns(RnnkitWarning, match="column 0 of y varies by"):
        assert Standard.fit(Sequence(ROW, y)).y_std == (1,)


@pytest.mark.parametrize(
    ("offset", "size", "dtype"),
    [
        (1e9, 1e-3, "f8"),
        (1e9, 1e-5, "f8"),
        (0, 1e-200, "f8"),
        (3e-200, 1e-203, "f8"),
        (0, 1e-310, "f8"),
        (0, 1e300, "f8"),
        (1.2e308, 1e306, "f8"),
        (-1e300, 1e290, "f8"),
        (300, 1e-2, "f4"),
        (0, 1e-40, "f4"),
        (0, 1e37, "f4"),
        (0, 0.02, "f2"),
    ],
)
def test_a_signal_of_any_size_on_any_offset_is_scaled(offset, size, dtype):
    column = (offset + size * ROW).astype(dtype)
    series = Sequence(column)
    scaler = Standard.fit(series)
    exact = [fractions.Fraction(value) for value in column[:-1].astype(float).tolist()]
    mean = sum(exact) / len(exact)
    largest = max(abs(value - mean) for value in exact)
    variance = sum(((value - mean) / largest) ** 2 for value in exact) / len(exact)
    assert scaler.x_std[0] == pytest.approx(float(variance) ** 0.5 * float(largest), rel=1e-5)
    scaled = series.with_scaler(scaler).read_x(0, 3999, np.float64)
    np.testing.assert_allclose((scaled.mean(), scaled.std()), (0, 1), atol=1e-2)


@pytest.mark.parametrize("zeros", [10, 70_000])
def test_blocks_of_other_sizes_merge(zeros):
    column = np.concatenate((np.zeros(zeros), 1e-200 * ROW, np.zeros(70_000), 1e-190 * ROW))
    scaled = column / 1e-195
    assert Standard.fit(Sequence(column)).x_std[0] == pytest.approx(scaled[:-1].std() * 1e-195, rel=1e-9)
    column = np.concatenate((np.zeros(zeros), 1e-200 * ROW, np.zeros(70_000), ROW))
    assert Standard.fit(Sequence(column)).x_std[0] == pytest.approx(column[:-1].std(), rel=1e-9)


@pytest.mark.parametrize(
    ("first", "dtype"), [(2**63, "u8"), (2**63 - 5000, "u8"), (-(2**62), "i8"), (1_700_000_000 * 10**9, "i8")]
)
def test_whole_numbers_that_float64_cannot_tell_apart_are_scaled(first, dtype):
    steps = np.random.default_rng(0).integers(0, 3000, 5000)
    x = np.array([first + int(step) for step in steps], dtype)
    series = Sequence(x, target=0)
    scaler = Standard.fit(series)
    assert scaler.x_std[0] == pytest.approx(steps[:-1].std(), rel=1e-9)
    scaled = series.with_scaler(scaler).take(np.arange(4999), np.float64)
    for found, expected in zip(scaled, (steps[:-1], steps[1:]), strict=True):
        np.testing.assert_allclose(np.diff(found[:, 0]), np.diff(expected) / steps[:-1].std(), rtol=1e-9)
        assert np.abs(found).max() < 4


def test_constant_columns_stay_silent():
    x = np.column_stack((np.full(200_000, 0.1), np.zeros(200_000), np.full(200_000, 1e300)))
    assert Standard.fit(Sequence(x, target=0)).x_std == (1, 1, 1)
    assert Standard.fit(Sequence(np.full(100, 2**63, np.uint64))).x_std == (1,)


def test_a_shared_scaler_says_so_once():
    sets = [rk.DataSet(Sequence(0.1 + np.tile([0, 1.4e-17], 50)), name, scaler="shared") for name in "ab"]
    with pytest.warns(RnnkitWarning, match="the scaler that 'a', 'b' share: column 0 of x varies by") as told:
        assert rk.Curriculum(sets, rk.Continuation(8)).facts["a"].scaler.x_std == (1,)
    assert len(told) == 1


@given(st.lists(st.sampled_from([-999.0, -998.0, 0.0, 1.0, 2.0, 999.0, np.nan]), max_size=14), st.data())
def test_a_value_that_may_stand_for_a_missing_one_is_found_in_blocks_of_any_size(values, data):
    """The outermost value, if it recurs ten times as far outside as all others are apart."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4)))
    extremes = Extremes(1)
    for block in np.split(np.array(values), cuts):
        extremes.add(block[:, None])
    known = sorted({value for value in values if not np.isnan(value)})
    expected = {}
    if len(known) > 2:
        for end, beside, other in ((known[0], known[1], known[-1]), (known[-1], known[-2], known[0])):
            if values.count(end) > 1 and 10 * abs(other - beside) < abs(end - beside):
                expected = {0: (end, values.count(end))}
    assert extremes.repeated() == expected


def test_two_values_alone_are_told_for_no_missing_one():
    extremes = Extremes(2)
    extremes.add(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, -999.0], [0.0, -999.0], [1.0, np.inf]]))
    assert extremes.repeated() == {1: (-999.0, 2)}


def test_blocks_of_huge_numbers_merge_in_their_powers_of_two():
    x = np.random.default_rng(2).normal(1, 1, (60, 1)) * np.repeat([1.0, 8.0, 2.0], 20)[:, None]
    moments = Moments()
    for block in np.split(x, 3):
        moments.add(np.ldexp(block, 450))
    mean, std = moments.mean_and_std()
    np.testing.assert_allclose(np.ldexp([mean, std], -450), [x.mean(0), x.std(0)], rtol=1e-12)


@pytest.mark.parametrize("first", [2**60, 2**64 - 1000])
def test_whole_numbers_near_and_far_from_zero_stand_side_by_side(first):
    x = np.array([[first + n % 5, n % 7] for n in range(70)], np.uint64)
    series = Sequence(x)
    scaler = Standard.fit(series)
    near = np.array([[n % 5, n % 7] for n in range(len(series))], float)
    scaled = series.with_scaler(scaler).read_x(0, len(series), np.float64)
    np.testing.assert_allclose(
        scaled[:, 1], (near[:, 1] - near[:, 1].mean()) / near[:, 1].std(), rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(np.diff(scaled[:, 0]), np.diff(near[:, 0]) / near[:, 0].std(), rtol=1e-12)


def test_whole_numbers_as_far_apart_as_can_be_do_not_wrap():
    x = np.array([2**64 - 1, 0] * 40, np.uint64)
    scaler = Standard.fit(Sequence(x, horizon=2))
    np.testing.assert_allclose([*scaler.x_mean, *scaler.x_std], [2.0**63, 2.0**63], rtol=1e-12)


@pytest.mark.parametrize("every", [2, 5, 50])
def test_a_column_of_the_smallest_numbers_varies_too(every):
    values = np.where(np.arange(100) % every == 0, 5e-324, 0.0)
    scaler = Standard.fit(rk.Sequence(values))
    assert scaler.x_std == (5e-324,)
    assert np.ptp(scaler.scale_x(values[:, None])) == 1
