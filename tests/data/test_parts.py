"""Parts of a table of several series, against an obvious reference."""

import pickle
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnkit as rk
from rnnkit.data import Standard
from rnnkit.data.joined import Joined
from rnnkit.data.order import Timed
from rnnkit.data.segments import find_runs
from rnnkit.data.source import SeriesRows, array_source
from rnnkit.errors import DataError
from rnnkit.study.bias import first_rows

NAMES = ("training", "validation", "test")


def table(tmp_path, series, name="stores.csv"):
    """A CSV file of some series, dicts of id -> values (None for a missing one), one row of each in turn."""
    path = tmp_path / name
    rows = [(t, name, value) for name, values in series.items() for t, value in enumerate(values)]
    rows.sort(key=lambda row: row[0])
    lines = [f"{t},{name},{'' if value is None else value}" for t, name, value in rows]
    path.write_text("t,store,sales\n" + "\n".join(lines) + "\n")
    return path


def stores(tmp_path, lengths, **options):
    """Series a, b, ... whose values say which row of which series they are: 1000 x series + row."""
    series = {chr(97 + n): [1000 * n + row for row in range(rows)] for n, rows in enumerate(lengths)}
    path = table(tmp_path, series)
    return rk.Sequence.open(path, time="t", series_id="store", target="sales", features=["sales"], **options)


def values(part):
    """The values of the rows with a target, series by series."""
    return [part.take(np.arange(s.start, s.stop), np.float64)[0][:, 0].astype(int).tolist() for s in part.segments]


# in time in every series


def test_every_series_is_parted_in_time(tmp_path):
    series = stores(tmp_path, [20, 100, 40])
    training, validation, test = series.split(0.5, 0.25)
    assert values(training) == [[*range(9)], [*range(1000, 1049)], [*range(2000, 2019)]]
    assert values(validation) == [[*range(10, 14)], [*range(1050, 1074)], [*range(2020, 2029)]]
    assert values(test) == [[*range(15, 19)], [*range(1075, 1099)], [*range(2030, 2039)]]
    assert [part.series_ids for part in (training, validation, test)] == [("a", "b", "c")] * 3
    assert [part.left_out for part in (training, validation, test)] == [3, 3, 3]
    assert validation.runs[:, 0].tolist() == [0, 20, 120]  # where a warm-up may begin
    assert repr(validation) == (
        "Sequence('stores': 37 rows in 3 segments of 3 series, 1 feature -> 1 target, horizon 1)"
    )


def test_whole_numbers_count_rows_of_each_series(tmp_path):
    training, validation, test = stores(tmp_path, [20, 100]).split(12, 4)
    assert values(training) == [[*range(11)], [*range(1000, 1011)]]
    assert values(validation) == [[*range(12, 15)], [*range(1012, 1015)]]
    assert values(test) == [[*range(16, 19)], [*range(1016, 1099)]]


def test_a_scaler_is_measured_on_the_training_rows_of_every_series(tmp_path):
    training = stores(tmp_path, [20, 100, 40]).split(0.5, 0.25)[0]
    rows = [*range(9), *range(1000, 1049), *range(2000, 2019)]
    scaler = Standard.fit(training)
    np.testing.assert_allclose((scaler.x_mean[0], scaler.x_std[0]), (np.mean(rows), np.std(rows)))


def test_a_series_too_short_for_a_part_lies_wholly_in_training_and_is_counted_aloud(tmp_path):
    series = stores(tmp_path, [3, 100, 2, 40], short="drop")
    with pytest.warns(
        rk.RnnkitWarning,
        match=r"split of sequence 'stores': 2 of 4 series are too short for a training, validation and test "
        r"part and lie wholly in training: 'a', 'c'; say by='time'",
    ):
        training, validation, test = series.split(0.5, 0.25)
    assert values(training)[0] == [0, 1]
    assert training.series_ids == ("a", "b", "c", "d")
    assert validation.series_ids == test.series_ids == ("b", "d")
    assert "of 4 series" in repr(training)
    assert "of 2 series" in repr(test)
    assert sum(part.left_out for part in (training, validation, test)) == series.rows - sum(
        map(len, (training, validation, test))
    )
    silent = series.split(0.5, 0.25, by="time")  # as advised
    assert values(silent[2]) == values(test)
    assert values(series.split(0.5, 0.25, "series")[0]) == [[0, 1], [*range(1000, 1099)]]  # as advised


def test_a_series_is_too_short_for_numbers_of_rows_too(tmp_path):
    with pytest.warns(rk.RnnkitWarning, match="1 of 3 series is too short .* lies wholly in training: 'b';"):
        training, validation, test = stores(tmp_path, [30, 15, 40]).split(12, 4)
    assert [len(part.runs) for part in (training, validation, test)] == [3, 2, 2]
    assert values(training)[1] == [*range(1000, 1014)]


def test_no_test_part_is_wanted_where_the_others_hold_all(tmp_path):
    training, validation, test = stores(tmp_path, [20, 100]).split(0.75, 0.25)
    assert (len(training.runs), len(validation.runs), test) == (2, 2, None)
    training, validation, test = stores(tmp_path, [21, 101]).split(0.5, 0.5)  # half a row is rounded down twice
    assert (values(validation), test) == ([[*range(10, 20)], [*range(1050, 1100)]], None)
    training, validation, test = stores(tmp_path, [20, 20]).split(15, 5)
    assert (len(training.runs), len(validation.runs), test) == (2, 2, None)
    training, validation, test = stores(tmp_path, [20, 100]).split(0.75, 0)
    assert (len(training.runs), validation, len(test.runs)) == (2, None, 2)


def test_where_every_series_is_too_short_the_split_is_refused(tmp_path):
    series = stores(tmp_path, [6, 7, 5, 6])
    with pytest.raises(
        DataError,
        match=r"each of its 4 series is too short for a training, validation and test part in time, the longest has "
        "7 rows, .* by='series'",
    ):
        series.split()
    assert [part.series_ids for part in series.split(0.5, 0.25, by="series")] == [("a", "b"), ("c",), ("d",)]
    for arguments, message in (
        ((0.9, 0.2), "expects train and validation within 7 rows"),
        ((8, 0), "expects train to be a fraction .* or a number of rows up to 7, got 8"),
        ((0.0, 0.5), "expects a training part"),
        ((0.7, 0.15, "store"), "expects by to be 'time' or 'series', got 'store'"),
    ):
        with pytest.raises(DataError, match=message):
            series.split(*arguments)


def test_one_series_of_a_table_is_parted_as_any_other(tmp_path):
    stores(tmp_path, [6, 40])
    one = rk.Sequence.open(tmp_path / "stores.csv", series_id="store", only="a", target="sales", features=["sales"])
    with pytest.raises(DataError, match="the validation part has 1 row, none of them with a target"):
        one.split()
    assert [len(part) for part in one.split(0.34, 0.33)] == [1, 1, 1]


# whole series


def test_whole_series_on_request(tmp_path):
    series = stores(tmp_path, [9, 100, 3, 30, 5])
    parts = series.split(0.6, 0.2, by="series")
    assert [part.series_ids for part in parts] == [("a", "b", "c"), ("d",), ("e",)]
    assert [len(part) for part in parts] == [8 + 99 + 2, 29, 4]
    assert [part.left_out for part in parts] == [3, 1, 1]
    assert [part.series_ids for part in series.split(2, 2, by="series")] == [("a", "b"), ("c", "d"), ("e",)]
    with pytest.raises(DataError, match="a number of series up to 5, got 9"):
        series.split(9, 0, by="series")
    again = parts[0].split(1, 1, by="series")
    assert [part.series_ids for part in again] == [("a",), ("b",), ("c",)]
    assert [part.left_out for part in again] == [1, 1, 1]


def test_whole_series_need_series(tmp_path):
    with pytest.raises(DataError, match="by whole series expects a table of several series, got one without series_id"):
        rk.Sequence(np.arange(50.0)).split(by="series")
    rk.Sequence(np.arange(50.0)).split()  # as advised


def test_what_is_scored_at_the_ends_of_samples_is_parted_by_whole_segments(tmp_path):
    engines = stores(tmp_path, [9, 12, 10, 11], score="last")
    parts = engines.split(0.5, 0.25)
    assert [part.series_ids for part in parts] == [("a", "b"), ("c",), ("d",)]
    panel = rk.Sequence.panel([np.zeros(4), np.zeros(9), np.zeros(4), np.zeros(5)], [0, 1, 0, 1])
    assert [part.segments for part in panel.split(0.5, 0.25)] == [((0, 4), (4, 13)), ((13, 17),), ((17, 22),)]


def test_the_first_sample_is_trained_on_though_its_end_is_far():
    """Half of the longest sample is nearer to no row at all than to its end."""
    panel = rk.Sequence.panel([np.arange(rows, dtype=float) for rows in (8, 3, 3)], [0.0, 1.0, 2.0])
    assert [part.lengths.tolist() for part in panel.split(0.2, 0.6)] == [[8], [3], [3]]
    train, validation, test = panel.split(0.1, 0.2)
    assert (train.lengths.tolist(), validation, test.lengths.tolist()) == ([8], None, [3, 3])


# any table


@st.composite
def tables(draw):
    """Series as lists of values, None where one is missing; horizon; sizes."""
    cell = st.sampled_from([0, 0, 0, 0, 0, None])
    lengths = draw(st.lists(st.integers(1, 45), min_size=1, max_size=5))
    series = [[draw(cell) for _ in range(rows)] for rows in lengths]
    share = st.sampled_from([0.0, 0.1, 0.15, 0.25, 0.4, 0.5, 0.6, 0.7, 1.0])
    size = st.one_of(share, st.integers(0, 25))
    return series, draw(st.integers(0, 3)), draw(size), draw(size)


def reference(series, horizon, train, validation):
    """Per part the rows `(series, row)` with a target, None for no row; or the reason why there are no parts."""
    runs = []  # lists of rows of each series
    for values_of in series:
        pieces, piece = [], []
        for row, value in enumerate([*values_of, None]):
            if value is None:
                if len(piece) > horizon:
                    pieces.append(piece)
                piece = []
            else:
                piece.append(row)
        runs.append(pieces)
    present = [place for place, pieces in enumerate(runs) if pieces]
    if not present:
        return "nothing"
    totals = {place: sum(map(len, runs[place])) for place in present}
    longest = max(totals.values())
    if any(not isinstance(part, float) and part > longest for part in (train, validation)):
        return "sizes"

    def size(part, rows):
        return round(part * rows) if isinstance(part, float) else part

    fractions = isinstance(train, float) and isinstance(validation, float)
    if size(train, longest) == 0:
        return "sizes"
    if (train + validation > 1 + 1e-9) if fractions else size(train, longest) + size(validation, longest) > longest:
        return "sizes"
    scored = [[], [], []]
    split = {}
    for place in present:
        first = size(train, totals[place])
        second = first + size(validation, totals[place])
        if fractions and train + validation > 1 - 1e-9:
            second = totals[place]
        elif fractions:
            second = min(second, totals[place])
        rows = [row for piece in runs[place] for row in piece]
        part_of = {row: 0 if n < first else 1 if n < second else 2 for n, row in enumerate(rows)}
        found = [[], [], []]
        for piece in runs[place]:
            for row in piece:
                if row + horizon in piece and part_of[row + horizon] == part_of[row]:
                    found[part_of[row]].append((place, row))
        split[place] = found, second > totals[place], second < totals[place]
    if len(present) == 1:
        ((found, _, _),) = split.values()
        ((_, total),) = totals.items()
        first = size(train, total)
        second = min(first + size(validation, total), total)
        if fractions and train + validation > 1 - 1e-9:
            second = total
        for part, rows in zip(found, (first, second - first, total - second), strict=True):
            if rows and not part:
                return "empty"
        return found
    wanted = [True, validation != 0, any(rest for _, _, rest in split.values())]
    if fractions:
        wanted[2] = train + validation < 1 - 1e-9
    alone = {
        place: too_many or any(need and not part for need, part in zip(wanted, found, strict=True))
        for place, (found, too_many, _) in split.items()
    }
    if all(alone.values()):
        return "short"
    for place in present:
        if alone[place]:
            scored[0] += [(place, row) for piece in runs[place] for row in piece if row + horizon in piece]
        else:
            for part, found in zip(scored, split[place][0], strict=True):
                part += found
    return scored


def made(series, horizon):
    """A table of series one after the other, whose first column says which row of which series each is."""
    ends = np.cumsum([0, *map(len, series)])
    rows = np.concatenate([100.0 * place + np.arange(len(values_of)) for place, values_of in enumerate(series)])
    known = np.array([value is not None for values_of in series for value in values_of])
    x = np.column_stack((rows, np.where(known, 0, np.nan)))
    names = tuple(str(place) for place in range(len(series)))
    target = [0, 1] if horizon else []
    source = replace(array_source(x, None, target, "made", horizon), series=SeriesRows(names, ends))
    runs = find_runs(source, horizon, None, None, None, "cut", "drop")
    sequence = object.__new__(rk.Sequence)
    sequence._set("made", horizon, runs, Timed(source, None, None), "all")
    return sequence


@settings(max_examples=200, deadline=None)
@given(tables())
def test_any_table_is_parted_as_the_reference_says(case):
    series, horizon, train, validation = case
    expected = reference(series, horizon, train, validation)
    if expected == "nothing":
        with pytest.raises(DataError, match="has no row with a target"):
            made(series, horizon)
        return
    whole = made(series, horizon)
    if isinstance(expected, str):
        message = {"sizes": "split of .* expects", "empty": "part has", "short": "too short"}[expected]
        with pytest.raises(DataError, match=message):
            whole.split(train, validation, by="time")
        return
    parts = whole.split(train, validation, by="time")
    for part, found in zip(parts, expected, strict=True):
        if part is None:
            assert not found
            continue
        at = np.concatenate([np.arange(s.start, s.stop) for s in part.segments])
        x, y = part.take(at, np.float64)
        assert x[:, 0].astype(int).tolist() == [100 * place + row for place, row in found]
        if horizon:
            np.testing.assert_array_equal(y[:, 0], x[:, 0] + horizon)
        assert part.series_ids == tuple(str(int(part.read_x(s.start, s.start + 1)[0, 0]) // 100) for s in part.segments)
        assert (part.runs[:, 0] <= part.runs[:, 1]).all()
        for begin, start, _ in part.runs.tolist():  # what warms a part up is the same run of the same series
            warmed = part.read_x(begin, start + 1, np.float64)[:, 0]
            assert (np.diff(warmed) == 1).all()
    held = [part for part in parts if part is not None]
    assert sum(part.left_out + len(part) for part in held) == whole.rows
    assert all(part.left_out >= 0 for part in held)


def test_a_series_without_a_row_that_has_a_target_is_left_out_of_the_part_it_stands_in():
    parts = made([[0], [0] * 9, [0] * 7, [0], [0] * 5], 1).split(1, 1, by="series")
    assert [part.series_ids for part in parts] == [("1",), ("2",), ("4",)]
    assert [len(part) for part in parts] == [8, 6, 4]
    assert [part.left_out for part in parts] == [2, 2, 1]


def test_parts_of_parts_are_right_too(tmp_path):
    training = stores(tmp_path, [20, 100, 40]).split(0.5, 0.25)[0]
    inner, later, rest = training.split(0.5, 0.0)
    assert values(inner) == [[*range(4)], [*range(1000, 1024)], [*range(2000, 2009)]]
    assert values(rest) == [[*range(5, 9)], [*range(1025, 1049)], [*range(2010, 2019)]]
    assert later is None
    assert inner.left_out + len(inner) + rest.left_out + len(rest) == training.left_out + len(training)


# what else reads parts


def test_a_schedule_over_a_part_reads_its_rows_and_no_others(tmp_path):
    parts = stores(tmp_path, [20, 100, 40]).split(0.5, 0.25)
    for part in parts:
        schedule = rk.Schedule(part, rk.Continuation(7, lanes=2), rk.Carry())
        seen = [batch.x[..., 0][batch.weight > 0] for batch in schedule.batches(dtype="float64")]
        assert sorted(np.concatenate(seen).astype(int).tolist()) == sorted(chain(*values(part)))
    both = Joined((parts[1], parts[2]))
    assert both.starts.tolist() == [10, 70, 140, 175, 255, 310]
    np.testing.assert_array_equal(both.take(both.starts, np.float64)[0][:, 0], [10, 1050, 2020, 15, 1075, 2030])


def test_the_first_rows_of_a_table_are_its_first_rows(tmp_path):
    series = stores(tmp_path, [20, 100, 40])
    assert values(first_rows(series, 30)) == [[*range(19)], [*range(1000, 1009)]]
    assert first_rows(series, 30).left_out == 2
    assert first_rows(series, 1000) is series


def test_parts_can_be_pickled(tmp_path):
    test = stores(tmp_path, [20, 100]).split()[2]
    again = pickle.loads(pickle.dumps(test))
    assert (again.left_out, repr(again), values(again)) == (test.left_out, repr(test), values(test))


def test_a_data_set_and_a_curriculum_part_a_table_likewise(tmp_path):
    path = stores(tmp_path, [20, 100, 40, 30]) and tmp_path / "stores.csv"
    options = {"time": "t", "series_id": "store", "features": ["sales"], "target": "sales"}
    opened = rk.DataSet(path, split=(0.5, 0.25), options=options).open()
    assert values(opened.test)[0] == [*range(15, 19)]
    opened = rk.DataSet(path, split=(0.5, 0.25, "series"), options=options).open()
    assert opened.training.series_ids == ("a", "b")
    curriculum = rk.Curriculum([path], rk.Continuation(8), options=options, split=(0.5, 0.25, "series"))
    facts = curriculum.facts["stores"]
    assert (facts.part_rows, facts.part_series) == ((19 + 99, 39, 29), (2, 1, 1))
    with pytest.raises(DataError, match="sizes of its training and validation part"):
        rk.DataSet(path, split=(0.5,))


# what a split did is told

CONFIG = """
name = "shops"
out = "runs/shops"
{data}
path = "stores.csv"
time = "t"
series_id = "store"
features = ["sales"]
target = "sales"
[model]
layers = [{{type = "LSTM", hidden = 2}}, {{type = "Dense"}}]
[splitter]
type = "Continuation"
length = 8
"""


@pytest.mark.parametrize("options", [[], ["--data.by", "series"]])
def test_commands_tell_the_series_and_rows_of_each_part(tmp_path, monkeypatch, capsys, options):
    from rnnkit.cli.build import build
    from rnnkit.cli.commands import main
    from rnnkit.cli.read import read
    from rnnkit.cli.report import describe

    stores(tmp_path, [20, 100, 40])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.toml").write_text(CONFIG.format(data="[data]"))
    experiment = build(read(tmp_path / "one.toml", options))
    told = ", ".join(f"{len(p)} rows of {p.series_count} series" for p in experiment.parts().values())
    assert describe(experiment).splitlines()[0].startswith("shops: " + told.split(",")[0] + " to train on, ")
    assert main(["plan", "one.toml", *options]) == 0
    printed = capsys.readouterr().out
    for name, part in experiment.parts().items():
        assert f"{name:<12}{part!r}" in printed
        assert f"of {part.series_count} series" in repr(part)
    with pytest.raises(rk.errors.ConfigError, match=r"data\.by: .*'time' or 'series'"):
        build(read(tmp_path / "one.toml", ["--data.by", "shop"]))


def test_a_plan_of_many_data_sets_tells_them_too(tmp_path, monkeypatch, capsys):
    from rnnkit.cli.commands import main

    stores(tmp_path, [20, 100, 40])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "many.toml").write_text(CONFIG.format(data="[[data]]"))
    assert main(["plan", "many.toml"]) == 0
    printed = capsys.readouterr().out
    parts = rk.Sequence.open("stores.csv", time="t", series_id="store", features=["sales"], target="sales").split()
    train, validation, test = (f"{len(part)} of 3 series" for part in parts)
    assert train in printed
    told = " ".join(printed.translate(str.maketrans("┃│", "  ")).split())
    assert f"validation ({validation.replace(' of', ' rows of')})" in told
    assert f"test ({test.replace(' of', ' rows of')})" in told


def test_a_command_counts_series_that_are_too_short_aloud(tmp_path, monkeypatch, capsys):
    from rnnkit.cli.commands import main

    stores(tmp_path, [20, 100, 5])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.toml").write_text(CONFIG.format(data="[data]"))
    assert main(["plan", "one.toml"]) == 0
    assert "rnnkit: warning: split of sequence 'stores': 1 of 3 series is too short" in capsys.readouterr().err
    assert main(["plan", "one.toml", "--data.by", "time"]) == 0
    assert not capsys.readouterr().err
