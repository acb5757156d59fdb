import datetime
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.data import Segment, Sequence, Standard
from rnnkit.data.parts import part_sizes
from rnnkit.errors import DataError, RnnkitWarning


class Slices:
    """A source that answers slices and nothing else, and remembers them."""

    def __init__(self, array):
        self._array = array
        self.shape = array.shape
        self.asked = []

    def __getitem__(self, rows):
        if not isinstance(rows, slice) or rows.step is not None:
            raise TypeError(f"only slices, got {rows!r}")
        self.asked.append((rows.start, rows.stop))
        return self._array[rows]

    @property
    def largest(self):
        return max(stop - start for start, stop in self.asked)


@st.composite
def runs_and_horizon(draw):
    """Ordered, disjoint runs, each longer than the horizon; the horizon; the number of rows."""
    horizon = draw(st.integers(0, 4))
    runs, at = [], 0
    for _ in range(draw(st.integers(1, 6))):
        start = at + draw(st.integers(0, 3))
        at = start + draw(st.integers(horizon + 1, 20))
        runs.append((start, at))
    return runs, horizon, at + draw(st.integers(0, 3))


def ahead(x, horizon, **options):
    """A sequence whose targets are its own rows, given apart where they stand at the same row."""
    return Sequence(x, None if horizon else x, horizon=horizon, **options)


def scored(series):
    return [row for start, stop in series.segments for row in range(start, stop)]


# what a sequence is


def test_an_array_is_forecast_one_row_ahead():
    series = Sequence(np.arange(10.0), name="counts")
    assert series.segments == (Segment(0, 9),)
    assert (series.rows, len(series), series.features, series.outputs, series.horizon) == (10, 9, 1, 1, 1)
    assert series.target_columns == (0,)
    assert not series.labels
    x, y = series.take(np.array([0, 8]), np.float64)
    assert x.tolist() == [[0], [8]]
    assert y.tolist() == [[1], [9]]


def test_given_targets_stand_at_their_own_row():
    x, y = np.random.default_rng(0).normal(size=(2, 7, 3))
    series = Sequence(x, y[:, :2])
    assert (series.horizon, series.outputs, series.target_columns) == (0, 2, None)
    assert series.segments == ((0, 7),)
    np.testing.assert_array_equal(series.take(np.arange(7), np.float64)[1], y[:, :2])


def test_several_target_columns_in_any_order():
    x = np.random.default_rng(0).normal(size=(9, 3))
    series = Sequence(x, target=[2, 0], horizon=2)
    assert series.target_columns == (2, 0)
    np.testing.assert_array_equal(series.take(np.arange(7), np.float64)[1], x[2:][:, [2, 0]])


def test_one_axis_of_integers_is_labels_and_everything_else_is_not():
    x = np.zeros((4, 2))
    labels = Sequence(x, np.array([0, 2, 1, 0], np.int16))
    assert labels.labels
    assert labels.outputs == 1
    y = labels.take(np.array([[0, 1], [2, -1]]), np.float32)[1]
    assert y.dtype == np.int64
    assert y.tolist() == [[0, 2], [1, 0]]
    assert labels.read_y(1, 3).tolist() == [2, 1]
    assert not Sequence(x, np.array([[0], [2], [1], [0]])).labels
    assert not Sequence(x, np.array([True, False, True, False])).labels


def test_repr_says_what_is_there():
    rows = np.zeros((12_000, 2))
    one = Sequence(rows, target=0, name="a")
    assert repr(one) == "Sequence('a': 11,999 rows in 1 segment, 2 features -> 1 target, horizon 1)"
    two = Sequence(rows, np.zeros(12_000, int), segments=[(0, 1), (5, 6)])
    assert repr(two) == "Sequence('series': 2 rows in 2 segments, 2 features -> 1 label, horizon 0)"


def test_a_sequence_cannot_be_changed():
    series = Sequence(np.arange(10.0))
    with pytest.raises(AttributeError):
        series.horizon = 2  # pyright: ignore[reportAttributeAccessIssue]
    for array in (series.runs, series.starts, series.lengths):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_what_is_handed_out_is_no_view_of_the_source():
    x = np.arange(10.0)
    series = Sequence(x)
    for block in (
        series.read_x(0, 5, np.float64),
        series.read_y(0, 5, np.float64),
        *series.take(np.arange(5), "f8"),
    ):
        block[...] = -1
    np.testing.assert_array_equal(x, np.arange(10.0))


# runs and segments


@given(runs_and_horizon())
def test_every_row_but_the_last_h_of_each_run_has_a_target_in_its_run(case):
    runs, horizon, rows = case
    series = ahead(np.arange(float(rows)), horizon, segments=runs)
    expected = [row for start, stop in runs for row in range(start, stop - horizon)]
    assert scored(series) == expected
    assert len(series) == len(expected) == series.lengths.sum()
    assert series.runs.tolist() == [[start, start, stop] for start, stop in runs]
    assert series.starts.tolist() == [start for start, _ in runs]
    _, y = series.take(np.array(expected), np.float64)
    run_of = {row: index for index, (start, stop) in enumerate(runs) for row in range(start, stop)}
    assert [run_of[int(target)] for target in y[:, 0]] == [run_of[row] for row in expected]
    np.testing.assert_array_equal(y[:, 0], np.array(expected) + horizon)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 2))
def test_a_missing_value_ends_the_segment(missing, horizon):
    x = np.where(missing, np.nan, np.arange(len(missing)))
    runs, row = [], 0
    while row < len(x):
        stop = row
        while stop < len(x) and not missing[stop]:
            stop += 1
        if stop - row > horizon:
            runs.append([row, row, stop])
        row = stop + 1
    if not runs:
        with pytest.raises(DataError, match="no row with a target"):
            ahead(x, horizon, missing="cut", short="drop")
        return
    series = ahead(x, horizon, missing="cut", short="drop")
    assert series.runs.tolist() == runs
    assert np.isfinite(series.take(np.array(scored(series)))).all()


def test_a_missing_value_far_into_the_source_ends_the_segment():
    x = np.zeros(150_000)
    x[[3, 70_000, 140_001]] = np.nan
    starts = [start for start, _ in Sequence(x, missing="cut").segments]
    assert starts == [0, 4, 70_001, 140_002]


def test_a_missing_target_ends_the_segment_too():
    y = np.array([0, 1, np.nan, 3, 4])
    assert Sequence(np.zeros(5), y, missing="cut").segments == ((0, 2), (3, 5))


def test_a_missing_value_outside_the_given_segments_is_nobodys_business():
    x = np.array([0, np.nan, 2, 3, np.inf])
    assert Sequence(x, segments=[(2, 4)]).segments == ((2, 3),)


@pytest.mark.parametrize(
    "gap", ["30min", "1800s", "0.5h", 1800, 1800.0, datetime.timedelta(minutes=30), np.timedelta64(30, "m")]
)
def test_time_is_cut_at_steps_larger_than_the_gap_and_at_steps_back(gap):
    minutes = np.array([0, 30, 60, 91, 120, 120, 60, 90])
    time = np.datetime64("2014-07-01") + minutes.astype("timedelta64[m]")
    runs = [[0, 3], [3, 6], [6, 8]]
    for times in (time, time.astype(str), time.tolist(), time.astype("datetime64[ns]")):
        assert Sequence(np.zeros(8), time=times, gap=gap, sort=False).runs[:, 1:].tolist() == runs
    assert Sequence(np.zeros(8), time=time, sort=False).runs[:, 1:].tolist() == [[0, 6], [6, 8]]


def test_time_in_numbers_is_cut_by_a_gap_in_their_unit():
    for kind in (np.float32, np.int64, np.uint8):
        time = np.array([0, 1, 2, 5, 6, 3, 4], kind)
        assert Sequence(np.zeros(7), time=time, gap=2).runs[:, 1:].tolist() == [[0, 3], [3, 5], [5, 7]]
        assert Sequence(np.zeros(7), time=time).runs[:, 1:].tolist() == [[0, 5], [5, 7]]


def test_time_in_months_and_years_is_cut_in_days():
    time = np.array(["2014-01", "2014-02", "2014-04"], "datetime64[M]")
    assert Sequence(np.zeros(3), time=time, gap="31d", short="drop").runs[:, 1:].tolist() == [[0, 2]]


def test_a_jump_at_the_edge_of_a_slice_is_seen():
    time = np.arange(70_000)
    time[65_536:] += 10
    assert Sequence(np.zeros(70_000), time=time, gap=1).runs[:, 1:].tolist() == [
        [0, 65_536],
        [65_536, 70_000],
    ]


def test_short_runs_are_dropped_on_request():
    series = Sequence(np.arange(10.0), segments=[(0, 2), (2, 3), (3, 10)], horizon=2, short="drop")
    assert series.segments == ((3, 8),)
    assert series.runs.tolist() == [[3, 3, 10]]


# reading


@settings(deadline=None)
@given(
    st.sampled_from([(20,), (20, 1), (20, 3)]),
    st.lists(st.integers(-1, 19), max_size=24),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["array", "strided", "slices"]),
)
def test_take_is_naive_indexing(shape, rows, horizon, own_targets, scaled, kind):
    rng = np.random.default_rng(len(rows))
    x, y = rng.normal(size=shape), rng.normal(size=(20, 2))
    own_targets |= horizon == 0 and x.size == 20  # the only column would be no feature
    sources = {"array": lambda a: a, "strided": lambda a: np.repeat(a, 2, axis=0)[::2], "slices": Slices}
    wrap = sources[kind]
    series = (
        Sequence(wrap(x), wrap(y), horizon=horizon) if own_targets else Sequence(wrap(x), target=0, horizon=horizon)
    )
    columns = x.reshape(20, -1)
    targets = y if own_targets else columns[:, :1]
    if horizon == 0 and not own_targets:
        columns = columns[:, 1:]
    mean, std = np.arange(1.0, 6.0), np.arange(2.0, 7.0)
    if scaled:
        features, outputs = columns.shape[1], targets.shape[1]
        series = series.with_scaler(Standard(mean[:features], std[:features], mean[:outputs], std[:outputs]))
        columns = (columns - mean[:features]) / std[:features]
        targets = (targets - mean[:outputs]) / std[:outputs]
    shaped = np.array(rows, np.int64).reshape(2, -1, 1) if len(rows) % 2 == 0 else np.array(rows, np.int64)
    expected_x = np.zeros((*shaped.shape, columns.shape[1]))
    expected_y = np.zeros((*shaped.shape, targets.shape[1]))
    for at in np.ndindex(shaped.shape):
        if shaped[at] >= 0:
            expected_x[at] = columns[shaped[at]]
            if shaped[at] + horizon < 20:
                expected_y[at] = targets[shaped[at] + horizon]
    for dtype in (np.float64, np.float32):
        got_x, got_y = series.take(shaped, dtype)
        assert got_x.dtype == got_y.dtype == dtype
        np.testing.assert_array_equal(got_x, expected_x.astype(dtype))
        np.testing.assert_array_equal(got_y, expected_y.astype(dtype))


@pytest.mark.parametrize("wrap", [np.asarray, Slices])
@pytest.mark.parametrize("own_targets", [False, True])
def test_contiguous_reading_is_taking(wrap, own_targets):
    x = np.random.default_rng(0).normal(size=(30, 2))
    series = Sequence(wrap(x), wrap(x[:, 0] * 2), horizon=3) if own_targets else Sequence(wrap(x), target=1, horizon=3)
    series = series.with_scaler(Standard.fit(series))
    for start, stop in ((0, 30), (4, 9), (25, 30), (29, 30), (7, 7)):
        taken_x, taken_y = series.take(np.arange(start, stop), np.float32)
        np.testing.assert_array_equal(series.read_x(start, stop, np.float32), taken_x)
        np.testing.assert_array_equal(series.read_y(start, stop, np.float32), taken_y)


def test_a_source_that_only_slices_is_read_in_few_and_bounded_slices():
    source = Slices(np.arange(200_000.0))
    series = Sequence(source)
    assert source.largest <= 65_536
    assert len(source.asked) <= 5
    source.asked.clear()
    rows = np.array([[100, 5000], [101, 5001], [102, -1]])
    x, y = series.take(rows, np.float64)
    assert y[..., 0].tolist() == [[101, 5001], [102, 5002], [103, 0]]
    assert x[..., 0].tolist() == [[100, 5000], [101, 5001], [102, 0]]
    assert len(source.asked) <= 3  # two strips, and the row that stands in for padding
    assert source.largest <= 4
    source.asked.clear()
    np.testing.assert_array_equal(series.read_x(0, 150_000, np.float64)[:, 0], np.arange(150_000.0))
    series.take(np.arange(150_000))
    Standard.fit(series)
    assert source.largest <= 65_536


def test_ten_million_rows_on_disk_stream_through_bounded_slices(tmp_path):
    rows = 10_000_000
    file = np.memmap(tmp_path / "x.bin", np.float32, "w+", shape=(rows,))
    for start in range(0, rows, 1_000_000):
        file[start : start + 1_000_000] = np.arange(start, start + 1_000_000) % 1000
    file.flush()
    source = Slices(np.memmap(tmp_path / "x.bin", np.float32, "r"))
    tracemalloc.start()
    series = Sequence(source)
    mapped = Sequence(np.memmap(tmp_path / "x.bin", np.float32, "r"))
    train, _, test = mapped.split()
    mean = Standard.fit(train).x_mean[0]
    blocks = [mapped.take(np.arange(start, start + 64), np.float32) for start in range(0, rows, 500_000)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert source.largest <= 65_536
    assert len(series) == len(mapped) == rows - 1
    assert test is not None
    assert mean == pytest.approx(499.5, abs=1e-3)
    assert blocks[3][0][:, 0].tolist() == list(range(64))
    assert peak < 20e6  # the file has 40 MB


def test_taking_from_a_strided_memmap_does_not_copy_it(tmp_path):
    rows = 1_000_000
    np.memmap(tmp_path / "x.bin", np.float64, "w+", shape=(rows, 3)).flush()
    table = np.memmap(tmp_path / "x.bin", np.float64, "r", shape=(rows, 3))
    series = Sequence(table[:, 1])
    tracemalloc.start()
    series.take(np.arange(100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


# parts


@given(runs_and_horizon(), st.floats(0.2, 0.7), st.floats(0.1, 0.3), st.booleans())
def test_parts_are_contiguous_in_order_and_disjoint(case, train, validation, count):
    runs, horizon, rows = case
    series = ahead(np.arange(float(rows)), horizon, segments=runs)
    used = [row for start, stop in runs for row in range(start, stop)]
    sizes = round(train * len(used)), round(validation * len(used))
    arguments = sizes if count else (train, validation)
    edges = [0, sizes[0], sizes[0] + sizes[1], len(used)]
    owner = {row: part for part in range(3) for row in used[edges[part] : edges[part + 1]]}
    run_of = {row: index for index, (start, stop) in enumerate(runs) for row in range(start, stop)}
    # exactly the rows whose target is in the same part and in the same run
    expected = [
        [
            row
            for row in used[edges[index] : edges[index + 1]]
            if owner.get(row + horizon) == index and run_of.get(row + horizon) == run_of[row]
        ]
        for index in range(3)
    ]
    if sizes[0] == 0 or any(not expected[index] and edges[index] < edges[index + 1] for index in range(3)):
        with pytest.raises(DataError, match="part"):
            series.split(*arguments)
        return
    for index, part in enumerate(series.split(*arguments)):
        if part is None:
            assert edges[index] == edges[index + 1]
            continue
        mine = scored(part)
        assert mine == expected[index]
        targets = part.take(np.array(mine), np.float64)[1][:, 0]
        assert {owner[int(row)] for row in targets} == {index}
        for first, start, stop in part.runs.tolist():
            assert first == runs[run_of[start]][0]
            assert run_of[first] == run_of[start] == run_of[stop - 1]


def test_parts_share_the_source_and_keep_name_horizon_and_scaler():
    x = np.arange(100.0)
    series = Sequence(x, horizon=2, name="clock").with_scaler(Standard((1.0,), (2.0,), (1.0,), (2.0,)))
    train, validation, test = series.split(60, 20)
    assert validation is not None
    assert test is not None
    assert [part.segments for part in (train, validation, test)] == [((0, 58),), ((60, 78),), ((80, 98),)]
    assert test.runs.tolist() == [[0, 80, 100]]
    x[85] = 201  # seen by a part: it holds no copy
    assert test.read_x(85, 86)[0, 0] == 100
    assert (test.name, test.horizon, test.rows) == ("clock", 2, 100)


def test_a_part_of_no_rows_is_none():
    series = Sequence(np.arange(10.0))
    train, validation, test = series.split(0.5, 0)
    assert validation is None
    assert test is not None
    assert (train.segments, test.segments) == (((0, 4),), ((5, 9),))
    assert series.split(1.0, 0.0)[1:] == (None, None)


def test_fractions_that_make_up_1_leave_no_test_part_however_they_round():
    train, validation, test = Sequence(np.zeros(5), np.zeros(5)).split(0.7, 0.3)
    assert validation is not None
    assert (train.segments, validation.segments, test) == (((0, 4),), ((4, 5),), None)
    assert part_sizes(5, 0.7, 0.3, "it") == (4, 1, 0)
    training, validation, test = Sequence(np.arange(21.0)).split(0.5, 0.5)  # half a row is rounded down twice
    assert (training.rows, len(training), len(validation), test) == (21, 9, 10, None)


def test_a_part_can_be_split_again():
    train = Sequence(np.arange(100.0)).split(80, 10)[0]
    inner = train.split(0.5, 0.25)
    assert [part.segments for part in inner if part] == [((0, 39),), ((40, 59),), ((60, 79),)]


# refusals


@pytest.mark.parametrize("kind", [None, object, "S"])
def test_times_with_a_zone_are_kept_in_utc(kind):
    text = ["2014-01-01T01:00+01:00", "2014-01-01T00:30Z", "2013-12-31T23:00-02:00"]
    with pytest.warns(RnnkitWarning, match=r"offsets \+01:00 and -02:00, \+00:00; they go out again with \+01:00"):
        assert Sequence(np.zeros(3), time=np.array(text, kind)).zone == "+01:00"
    series = Sequence(np.zeros(3), time=np.array(text, kind), gap="30min", zone="UTC")
    minutes = np.array([0, 30, 60], "timedelta64[m]")
    np.testing.assert_array_equal(series.times, np.datetime64("2014-01-01", "us") + minutes)
    assert len(series.segments) == 1
    moments = np.array([datetime.datetime.fromisoformat(time) for time in text], object)
    np.testing.assert_array_equal(Sequence(np.zeros(3), time=moments).times, series.times)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"x": np.zeros(0)},
            r"sequence 'a' expects x with at least one row and one column, got shape \(0,\)",
        ),
        ({"x": np.zeros((3, 0))}, "at least one row and one column"),
        ({"x": np.zeros((3, 2, 1))}, r"expects x of shape \(N,\) or \(N, F\), got \(3, 2, 1\)"),
        ({"x": np.array(["a", "b"])}, "expects x to be real numbers, got dtype <U1"),
        ({"x": np.zeros(3, complex)}, "expects x to be real numbers, got dtype complex128"),
        ({"x": np.zeros(4), "y": np.array([None] * 4)}, "expects y to be real numbers, got dtype object"),
        ({"x": np.zeros(4), "y": np.zeros(5)}, "one row of y for each row of x, got 4 rows of x and 5 of y"),
        ({"x": np.zeros((4, 2)), "target": 2}, "whole numbers from 0 to 1, got 2"),
        ({"x": np.zeros((4, 2)), "target": "b"}, "whole numbers from 0 to 1, got 'b'"),
        ({"x": np.zeros(4), "y": np.zeros(4), "target": 0}, "from y or from target=0 of x, got both"),
        (
            {"x": np.zeros(4), "y": np.array([0, 1, -2, 0])},
            "row 2, column 0 of y: the label is -2; labels count from 0",
        ),
        ({"x": np.zeros(4), "horizon": -1}, "horizon to be a whole number of rows from 0, got -1"),
        ({"x": np.zeros(4), "horizon": 1.5}, "horizon to be a whole number of rows from 0, got 1.5"),
        ({"x": np.zeros(4), "missing": "drop"}, "missing to be 'refuse' or 'cut', got 'drop'"),
        ({"x": np.zeros(4), "short": "cut"}, "short to be 'refuse' or 'drop', got 'cut'"),
        ({"x": np.zeros(4), "segments": [(0, 5)]}, r"0 <= start < stop <= 4, got \(0, 5\) as segment 0"),
        ({"x": np.zeros(4), "segments": [(0, 2), (3, 3)]}, r"got \(3, 3\) as segment 1"),
        ({"x": np.zeros(4), "segments": [(-2, 2)]}, r"got \(-2, 2\) as segment 0"),
        (
            {"x": np.zeros(4), "segments": [(0, 3), (2, 4)]},
            "segment 1 starts at row 2, before segment 0 ends at row 3",
        ),
        (
            {"x": np.zeros(4), "segments": []},
            r"expects segments=\[\(start, stop\), ...\] of whole numbers, got \[\]",
        ),
        ({"x": np.zeros(4), "segments": [(0, 2), (3,)]}, "expects segments="),
        ({"x": np.zeros(4), "segments": [(0.0, 2.0)]}, "of whole numbers"),
        (
            {"x": np.zeros(4), "segments": [(0, 4)], "time": np.arange(4)},
            "from segments= or from time=, got both",
        ),
        ({"x": np.zeros(4), "gap": 2}, "got gap=2 and no time"),
        ({"x": np.zeros(4), "time": np.arange(3)}, r"one time for each of 4 rows, got shape \(3,\)"),
        (
            {"x": np.zeros(4), "time": ["a", "b", "c", "d"]},
            "row 0, time expects a time, got 'a'; write it as",
        ),
        (
            {"x": np.zeros(3), "time": ["2014-01-01", "2014-01-02", "2014-13-01"]},
            "row 2, time expects a time, got '2014-13-01'",
        ),
        (
            {"x": np.zeros(3), "time": ["2014-01-01T00Z", "2014-01-02T00Z", "oops"]},
            "row 2, time expects a time, got 'oops'",
        ),
        ({"x": np.zeros(2), "time": np.array(["2014-01-01T00+01", None], object)}, "a time for each row, got none at"),
        ({"x": np.zeros(4), "time": np.zeros(4, bool)}, "expects time as numbers or dates, got dtype bool"),
        ({"x": np.zeros(4), "time": [0, 1, np.nan, 3]}, "a time for each row, got none at row 2"),
        (
            {"x": np.zeros(2), "time": np.array(["2014", "NaT"], "M8[s]")},
            "a time for each row, got none at row 1",
        ),
        (
            {"x": np.zeros(4), "time": np.arange(4), "gap": "1h"},
            "give gap as a number in their unit, got '1h'",
        ),
        ({"x": np.zeros(4), "time": np.arange(4), "gap": 0}, "expects gap to be positive, .* got 0"),
        (
            {"x": np.zeros(4), "time": np.arange(4), "gap": "1 moon"},
            "expects gap to be positive, .* got '1 moon'",
        ),
        (
            {"x": np.array([0, 1, np.nan]), "horizon": 1},
            "row 2, column 0 of x: the value is missing; .*missing='cut'",
        ),
        ({"x": np.zeros(3), "y": np.array([0, np.nan, 1])}, "row 1, column 0 of y: the value is missing"),
        (
            {"x": np.array([0, np.nan, -np.inf]), "missing": "cut"},
            "row 2, column 0 of x: the value is infinite",
        ),
        ({"x": np.array([0, np.inf, 1])}, "row 1, column 0 of x: the value is infinite; correct it"),
        ({"x": np.full(3, np.nan), "missing": "cut"}, "no row with a target: every row has a missing value"),
        (
            {"x": np.zeros(3), "horizon": 3},
            "no row with a target: the longest run has 3 rows, and horizon=3 needs 4",
        ),
        (
            {"x": np.zeros(9), "horizon": 2, "segments": [(0, 5), (5, 7), (7, 9)]},
            r"segment 1 \(rows 5 to 6\) has 2 rows, but horizon=2 needs at least 3; use .* <= 1, .*'drop'",
        ),
    ],
)
def test_rows_that_cannot_be_used_are_refused(arguments, message):
    with pytest.raises(DataError, match=message) as caught:
        Sequence(**arguments, name="a")
    assert str(caught.value).startswith("sequence 'a'")


def test_a_bad_value_far_into_the_source_is_named_by_its_row():
    x = np.zeros((150_000, 2))
    x[140_001, 1] = np.nan
    with pytest.raises(DataError, match="row 140001, column 1 of x: the value is missing"):
        Sequence(x, target=0)


def test_a_source_whose_slices_do_not_fit_its_shape_is_refused():
    source = Slices(np.zeros(5))
    source.shape = (6,)
    with pytest.raises(DataError, match=r"shape \(6, 1\) to give 6 rows for \[0:6\], got an array of shape \(5,\)"):
        Sequence(source)


def test_rows_out_of_range_are_refused():
    series = Sequence(np.arange(5.0), name="a")
    for rows, got in (([0, 5], "0 to 5"), ([-2, 1], "-2 to 1")):
        with pytest.raises(DataError, match=rf"'a' has rows 0 to 4 \(-1 is padding\), got {got}"):
            series.take(np.array(rows))
    for start, stop in ((-1, 2), (3, 6), (3, 2)):
        for read in (series.read_x, series.read_y):
            with pytest.raises(DataError, match=rf"'a' has rows 0 to 5, got \[{start}:{stop}\]"):
                read(start, stop)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0.0, 0.5), "expects a training part, got train=0.0 of 20 rows"),
        ((1.5, 0.1), "train to be a fraction from 0.0 to 1.0 or a number of rows up to 20, got 1.5"),
        ((0.5, -1), "validation to be a fraction .* got -1"),
        (("half", 0.1), "train to be a fraction .* got 'half'"),
        ((True, 0.1), "train to be a fraction .* got True"),
        ((0.8, 0.3), "train and validation within 20 rows, got train=0.8 and validation=0.3"),
        ((15, 6), "train and validation within 20 rows, got train=15 and validation=6"),
        ((2, 9), "the training part has 2 rows, none of them with a target 2 rows later"),
        ((10, 1), "the validation part has 1 row, none of them with a target 2 rows later"),
        ((10, 8), "the test part has 2 rows, none"),
    ],
)
def test_parts_that_cannot_be_made_are_refused(sizes, message):
    with pytest.raises(DataError, match=f"split of sequence 'a'.*{message}"):
        Sequence(np.arange(20.0), horizon=2, name="a").split(*sizes)


def test_left_out_counts_the_rows_that_are_in_no_segment():
    x = np.arange(20.0)
    x[[5, 7, 11]] = np.nan
    series = Sequence(x, horizon=2, missing="cut", short="drop")
    assert series.runs[:, 1:].tolist() == [[0, 5], [8, 11], [12, 20]]
    assert series.left_out == 20 - (3 + 1 + 6)
    parts = [part for part in series.split(7, 6) if part is not None]
    # rows 0 to 9 (5 and 2 of the runs, 7 of which row 10 is the next), 10 to 16, 17 to 19
    assert [part.runs[:, 1:].tolist() for part in parts] == [[[0, 5]], [[12, 17]], [[17, 20]]]
    assert [part.left_out for part in parts] == [10 - 3, 7 - 3, 3 - 1]
    assert Sequence(np.arange(20.0), np.arange(20.0)).left_out == 0
    assert Sequence(np.arange(20.0), segments=[(2, 9)]).left_out == 14


def test_the_parts_of_a_part_count_their_own_rows():
    training, rest, _ = Sequence(np.arange(100.0)).split(50, 50)
    assert rest is not None
    first, second, _ = rest.split(0.5, 0.5)
    assert second is not None
    assert [part.left_out for part in (training, rest, first, second)] == [1, 1, 1, 1]


def test_times_are_kept_as_numbers_or_dates():
    assert Sequence(np.arange(3.0)).times is None
    times = np.array([0.0, 1.0, 5.0])
    assert Sequence(np.arange(3.0), time=times).times is times
    dates = ["2014-01-01", "2014-01-02", "2014-01-03"]
    series = Sequence(np.arange(3.0), time=dates)
    assert series.times is not None
    assert series.times.dtype == "datetime64[us]"
    assert np.array_equal(series.times, np.array(dates, "datetime64[us]"))
    assert series.split(1.0, 0.0)[0].times is series.times


def test_masked_values_are_missing():
    masked = np.ma.masked_array([1, 2, -999, 4, 5], mask=[0, 0, 1, 0, 0])
    with pytest.raises(DataError, match="row 2, column 0 of x: the value is missing"):
        Sequence(masked)
    assert [tuple(s) for s in Sequence(masked, missing="cut").segments] == [(0, 1), (3, 4)]
    unmasked = np.ma.masked_array([1.0, 2.0, 3.0])
    assert Sequence(unmasked).read_x(0, 3).ravel().tolist() == [1, 2, 3]


def test_rows_of_different_lengths():
    with pytest.raises(DataError, match="expects x as an array, got rows of different lengths"):
        Sequence([[1, 2], [3]])
