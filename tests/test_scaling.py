import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnkit.data import Sequence, Standard
from rnnkit.errors import DataError


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
    with pytest.raises(DataError, match="'a' expects a scaler for 2 features and 1 targets, got one for 1 and 1"):
        Sequence(np.zeros((5, 2)), target=0, name="a").with_scaler(scaler)
    with pytest.raises(DataError, match="for 1 features and 1 targets, got one for 1 and 2"):
        Sequence(np.zeros(5), np.arange(5)).with_scaler(Standard((0.0,), (1.0,), (0.0, 0.0), (1.0, 1.0)))
