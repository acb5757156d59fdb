"""Times as other people write them: read by their one reading, in their zone, and written out again."""

import warnings
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnkit as rk
from builders.configs import config
from builders.files import read_csv, write_csv
from rnnkit.cli import commands
from rnnkit.data.times import TimeReader, write_times
from rnnkit.data.zones import to_utc, zone_named
from rnnkit.errors import DataError, RnnkitWarning

CASES = Path(__file__).parents[1] / "cases" / "times"


def read(cells, *, blocks=1, **options):
    """Cells as times through a reader that gets them in some blocks, and their clock."""
    reader = TimeReader("'a.csv'", "t", **options)
    size = -(-len(cells) // blocks)
    parts = [(start, cells[start : start + size]) for start in range(0, len(cells), size)]
    for start, part in parts:
        reader.narrow(part, lambda n, start=start: f"line {start + n + 2}")
    times = [reader.read(part, lambda n, start=start: f"line {start + n + 2}") for start, part in parts]
    return np.concatenate(times), reader.clock


def hours(first, count):
    return np.datetime64(first, "us") + np.arange(count).astype("timedelta64[h]")


def table(path, times):
    return write_csv(path, time=times, v=range(len(times)))


# the cases, from Python and from the command line

READ = {
    "ampm.csv": (hours("2022-10-29T20", 60), None),
    "compact_date.csv": (np.datetime64("2020-01-25", "us") + np.arange(60).astype("timedelta64[D]"), "read as dates"),
    "day_first_slash.csv": (hours("2022-10-29T20", 60), "the day first .*time_format='%d/%m/%Y %H:%M' says so"),
    "dots.csv": (hours("2022-10-29T20", 60), "the day first .*time_format='%d.%m.%Y %H:%M:%S' says so"),
    "epoch_ms.csv": (hours("2022-10-29T20", 60), "counted from 1970 in ms"),
    "zone_UTC.csv": (np.datetime64("2022-10-29T20", "us") + 15 * np.arange(120).astype("timedelta64[m]"), None),
}


@pytest.mark.parametrize("name", READ)
def test_every_way_of_writing_times_is_read_and_said(name):
    times, said = READ[name]
    if said is None:
        series = rk.Sequence.open(CASES / name, time="time", target="v")
    else:
        with pytest.warns(RnnkitWarning, match=said) as caught:
            series = rk.Sequence.open(CASES / name, time="time", target="v")
        advised = str(caught[0].message).partition("time_format='")[2].partition("'")[0]
        silent = rk.Sequence.open(CASES / name, time="time", target="v", time_format=advised)
        np.testing.assert_array_equal(silent.times, times)
    np.testing.assert_array_equal(series.times, times)
    assert len(series.segments) == 1
    assert series.zone == ("UTC" if name in ("epoch_ms.csv", "zone_UTC.csv") else None)


def config_of(out, path, data):
    return config(f'path = \'{path}\'\ntime = "time"\ntarget = "v"\n{data}', top=f'out = "{out}"', hidden=2)


def run(tmp_path, path, data=""):
    """Train and predict on the command line: the exit status, and the columns of the predictions."""
    config, out = tmp_path / "a.toml", tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
    config.write_text(config_of(out, path, data))
    status = commands.main(["train", str(config)])
    if status:
        return status, None
    (tmp_path / "p.csv").unlink(missing_ok=True)
    assert commands.main(["predict", str(out), "--part", "all", "--out", str(tmp_path / "p.csv")]) == 0
    return 0, read_csv(tmp_path / "p.csv")


def plan(tmp_path, path, data=""):
    """The exit status of a plan."""
    (tmp_path / "a.toml").write_text(config_of(tmp_path / "run", path, data))
    return commands.main(["plan", str(tmp_path / "a.toml")])


def predicted(tmp_path, path, data=""):
    """The times of predictions that the command line writes."""
    assert plan(tmp_path, path, data) == 0
    assert commands.main(["train", str(tmp_path / "a.toml")]) == 0
    out = tmp_path / "p.csv"
    assert commands.main(["predict", str(tmp_path / "run"), "--part", "all", "--out", str(out)]) == 0
    return [row["time"] for row in read_csv(out)]


@pytest.mark.parametrize("name", READ)
def test_the_command_line_reads_them(name, tmp_path, capsys):
    assert plan(tmp_path, CASES / name) == 0
    said = capsys.readouterr().err
    assert ("time_format = " in said) == (READ[name][1] is not None)
    if said:
        advised = said.partition("time_format = ")[2].partition(" says so")[0]
        assert plan(tmp_path, CASES / name, f"time_format = {advised}") == 0
        assert capsys.readouterr().err == ""


def test_the_command_line_writes_times_in_their_zone(tmp_path):
    times = predicted(tmp_path, CASES / "zone_UTC.csv")
    assert times[:2] == ["2022-10-29T20:15:00+00:00", "2022-10-29T20:30:00+00:00"]


def test_the_newest_row_first_is_refused_and_sorted_on_request(tmp_path, capsys):
    path = CASES / "newest_first.csv"
    for options in ({}, {"horizon": 0, "features": ["v"], "target": []}, {"short": "drop"}):
        with pytest.raises(DataError, match=r"its newest row stands first: time steps back in 59 of 59.*sort=True"):
            rk.Sequence.open(path, time="time", **{"target": "v", **options})
    series = rk.Sequence.open(path, time="time", target="v", sort=True)
    assert len(series.segments) == 1
    assert series.read_x(0, 3)[:, 0].tolist() == [59, 58, 57]
    assert (np.diff(series.times) > np.timedelta64(0)).all()
    assert plan(tmp_path, path) == 2
    assert "sort" in capsys.readouterr().err
    assert plan(tmp_path, path, "sort = true") == 0


def test_a_falling_column_of_times_that_nobody_asked_for_is_told(tmp_path):
    with pytest.warns(RnnkitWarning, match=r"column 'time' seems to hold times, and they fall.*say time='time'"):
        rk.Sequence.open(CASES / "newest_first.csv", features=["v"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rk.Sequence.open(CASES / "ampm.csv", features=["v"])
    import pyarrow as pa
    import pyarrow.parquet as pq

    for times in (hours("2020-01-01", 40)[::-1], [str(time) for time in hours("2020-01-01", 40)[::-1]]):
        pq.write_table(pa.table({"t": times, "v": np.arange(40.0)}), tmp_path / "a.parquet")
        with pytest.warns(RnnkitWarning, match="column 't' seems to hold times, and they fall"):
            rk.Sequence.open(tmp_path / "a.parquet", features=["v"])
        rk.Sequence.open(tmp_path / "a.parquet", features=["v"], sort=False)  # as the line says; else an error


def test_a_falling_column_is_not_told_where_it_is_asked_for_or_sort_says_so(tmp_path):
    rk.Sequence.open(CASES / "newest_first.csv", features=["v"], sort=False)
    path = tmp_path / "a.csv"
    rows = (f"{time},{shop},1\n" for shop in "ab" for time in hours("2020-01-01", 20)[::-1])
    path.write_text("time,shop,v\n" + "".join(rows))
    sets = rk.DataSet.each(path, "shop", options={"time": "time", "sort": True})
    assert [each.open().series.rows for each in sets] == [20, 20]


def test_the_same_time_twice_is_told_with_its_line(tmp_path, capsys):
    said = r"the same time in successive rows of one series, 30 times, first at line 3 \(2022-10-29T20:00:00\)"
    with pytest.warns(RnnkitWarning, match=said):
        rk.Sequence.open(CASES / "dup.csv", time="time", target="v")
    rk.Sequence.open(CASES / "dup.csv", time="time", target="v", sort=False)
    assert plan(tmp_path, CASES / "dup.csv") == 0
    assert "first at line 3" in capsys.readouterr().err


def test_local_times_around_the_change_of_clocks_are_one_segment(tmp_path):
    path = CASES / "naive_local_15min_fallback.csv"
    quarters = np.datetime64("2022-10-29T20:00", "us") + 15 * np.arange(120).astype("timedelta64[m]")
    series = rk.Sequence.open(path, time="time", target="v", gap="15min", zone="Europe/Berlin")
    assert series.segments == ((0, 119),)
    np.testing.assert_array_equal(series.times, quarters)
    assert series.zone == "Europe/Berlin"
    assert len(rk.Sequence.open(path, time="time", target="v", gap="15min").segments) == 2
    times = predicted(tmp_path, path, 'zone = "Europe/Berlin"\ngap = "15min"')
    assert times[14:16] == ["2022-10-30T01:45:00+02:00", "2022-10-30T02:00:00+02:00"]
    assert times[18:20] == ["2022-10-30T02:45:00+02:00", "2022-10-30T02:00:00+01:00"]


def test_a_row_without_time_is_told_by_its_line_and_left_out_on_request(tmp_path, capsys):
    path = CASES / "missing_time.csv"
    with pytest.raises(DataError, match=r"expects a time for each row, got none at line 12; .*missing='cut'"):
        rk.Sequence.open(path, time="time", target="v")
    assert rk.Sequence.open(path, time="time", target="v", missing="cut").segments == ((0, 9), (11, 59))
    assert plan(tmp_path, path) == 2
    assert "line 12" in capsys.readouterr().err
    assert plan(tmp_path, path, 'missing = "cut"') == 0


# other contents of the same kinds


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2022-10-29T20:00:00.25", "2022-10-29T20:00:00.25"),
        ("2022/10/29 20:00", "2022-10-29T20:00"),
        ("20221029T200000", "2022-10-29T20:00"),
        ("2022-10-29 24:00", "2022-10-30T00:00"),
        ("2022-10-29 12:05 AM", "2022-10-29T00:05"),
        ("2022-10-29 12:05 p.m.", "2022-10-29T12:05"),
        ("29 Oct 2022 20:00", "2022-10-29T20:00"),
        ("29-October-22 20:00", "2022-10-29T20:00"),
        ("Sat, Oct 29, 2022 8:00:01 pm", "2022-10-29T20:00:01"),
        ("2022-10", "2022-10-01"),
        ("2022-10-29 20:00 GMT", "2022-10-29T20:00"),
        ("2022-10-29T20:00:00+05:30", "2022-10-29T14:30"),
        ("2022-10-29T20:00:00 -0330", "2022-10-29T23:30"),
        ("  2022-10-29 20:00  ", "2022-10-29T20:00"),
    ],
)
def test_texts_that_can_be_read_in_one_way_only(cell, expected):
    times, _ = read([cell, cell])
    assert times.tolist() == [np.datetime64(expected, "us").item()] * 2


@pytest.mark.parametrize("order", ["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y", "%d-%m-%y %H:%M:%S"])
@pytest.mark.parametrize("blocks", [1, 7])
def test_the_whole_column_decides_what_stands_first(order, blocks):
    moments = [datetime(2022, 1, 1) + timedelta(days=day) for day in range(40)]
    cells = [moment.strftime(order) for moment in moments]
    first = "day first" if order[1] == "d" else "month first"
    if order == "%d-%m-%y %H:%M:%S":
        with pytest.raises(DataError, match="the day first or the short year first"):
            read(cells, blocks=blocks)
    else:
        with pytest.warns(RnnkitWarning, match=f"is read with the {first} .*time_format='{order}'"):
            assert read(cells, blocks=blocks)[0].tolist() == moments
    assert read(cells, blocks=blocks, time_format=order)[0].tolist() == moments
    with pytest.raises(DataError, match=r"or the month first|day first or the"):
        read(cells[:12], blocks=blocks)


def test_what_fits_both_ways_is_refused_and_each_advice_works():
    for cells in (["01/02/2022 20:00", "02/02/2022 21:00"], ["1.2.2022", "2.2.2022 10:00:00"], ["3/4/21 8:00 PM"]):
        with pytest.raises(DataError, match="can be read with the day first or the month first") as refused:
            read(cells)
        _, day, _, month, _ = str(refused.value).rsplit("'", 4)
        assert read(cells, time_format=day)[0][0].item().month == int(cells[0].replace(".", "/").split("/")[1])
        assert read(cells, time_format=month)[0][0].item().month == int(cells[0].replace(".", "/").split("/")[0])


def test_a_cell_that_fits_no_reading_is_told_with_its_line():
    for cells, line in ((["2022-01-01"] * 30 + ["soon"], 32), (["13/01/2022", "01/13/2022"], 3), (["2022-02-30"], 2)):
        with pytest.raises(DataError, match=f"'a.csv', line {line}, column 't' expects a time, got '{cells[-1]}'"):
            read(cells, blocks=3)
    with pytest.raises(DataError, match=r"got '20:00:00'; that is no date; name the column of the date, too: time=\["):
        read(["20:00:00", "20:01:00"])
    with pytest.raises(DataError, match=r"time_format='%d/%m/%Y' does not fit it"):
        read(["2022-01-01"], time_format="%d/%m/%Y")
    with pytest.raises(DataError, match="got '%q' in"):
        read(["2022-01-01"], time_format="%Y-%m-%q")
    with pytest.raises(DataError, match="holds no time at all"):
        read(["", "NA"])


def test_two_columns_joined_by_a_blank_are_one_time():
    reader = TimeReader("'a.txt'", ["Date", "Time"])
    reader.narrow(["16/12/2006 17:24:00"], str)
    with pytest.warns(RnnkitWarning, match="columns 'Date' and 'Time' are read with the day first"):
        times = reader.read(["16/12/2006 17:24:00"], str)
    assert times[0] == np.datetime64("2006-12-16T17:24")


# numbers


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("kind", [str, int])
def test_whole_numbers_count_from_1970_where_all_are_plausible(unit, factor, kind):
    numbers = [(1_667_073_600 + 60 * row) * factor for row in range(5)]
    cells = [str(number) for number in numbers] if kind is str else np.array(numbers)
    with pytest.warns(RnnkitWarning, match=f"counted from 1970 in {unit} .*time_format='{unit}' says so"):
        times, clock = read(cells)
    assert times[1] == np.datetime64("2022-10-29T20:01")
    assert clock.zone == "UTC"
    assert read(cells, time_format="number")[0].tolist() == numbers
    early = [str(60 * row * factor) for row in range(5)]
    assert read(early)[0].tolist() == [60 * row * factor for row in range(5)]
    assert read(early, time_format=unit)[0][1] == np.datetime64("1970-01-01T00:01")


def test_nanoseconds_that_float64_cannot_tell_apart_stay_apart(tmp_path):
    numbers = [1_667_073_600_000_000_000 + row for row in range(30)]
    assert len(set(map(float, numbers))) < 30
    path = table(tmp_path / "a.csv", numbers)
    with pytest.warns(RnnkitWarning, match="counted from 1970 in ns"):
        series = rk.Sequence.open(path, time="time", target="v")
    assert len(set(series.times.tolist())) == 30
    kept = rk.Sequence.open(path, time="time", target="v", time_format="number")
    assert kept.times.tolist() == numbers
    assert len(set(rk.Sequence(np.zeros(30), time=np.array(numbers)).times.tolist())) == 30


def test_numbers_stay_numbers_and_are_all_of_one_kind():
    assert read(["0", "1", "2"])[0].tolist() == [0, 1, 2]
    assert read(["0.5", "1", "-2e3"])[0].tolist() == [0.5, 1, -2000]
    assert np.isnan(read(["1", "", "3"])[0][1])
    for cells in (["1", "1_0"], ["1", "inf"], ["1", "2022-01-01"]):
        with pytest.raises(DataError, match=f"line 3, column 't' expects a time, got '{cells[1]}'; .*numbers"):
            read(cells)
    with pytest.raises(DataError, match=r"several ways; say which: time_format='s' or time_format='%Y%m%d%H'"):
        read(["1956010112"])


# zones


@pytest.mark.parametrize("zoned_first", [True, False])
@pytest.mark.parametrize("blocks", [1, 2])
def test_times_with_and_without_a_zone_in_one_file_are_refused(zoned_first, blocks, tmp_path):
    cells = ["2022-10-29T20:00:00+02:00", "2022-10-29T21:00:00"][:: 1 if zoned_first else -1]
    with pytest.raises(DataError, match=r"line 3, column 't' has (no|a) zone .*say zone='Europe/Berlin'"):
        read(cells, blocks=blocks)
    with pytest.raises(DataError, match="line 3"):
        rk.Sequence.open(table(tmp_path / "a.csv", cells), time="time", target="v")
    with pytest.raises(DataError, match=r"has (no|a) zone in the time at row 1"):
        rk.Sequence(np.zeros(2), time=[datetime.fromisoformat(cell) for cell in cells])


def test_several_offsets_go_out_in_the_zone_that_is_named_or_the_first(tmp_path):
    cells = ["2022-10-30T02:30:00+02:00", "2022-10-30T02:30:00+01:00", "2022-10-30T03:30:00+01:00"]
    path = table(tmp_path / "a.csv", cells)
    with pytest.warns(RnnkitWarning, match=r"offsets \+02:00 and \+01:00; they go out again with \+02:00"):
        assert rk.Sequence.open(path, time="time", target="v").zone == "+02:00"
    series = rk.Sequence.open(path, time="time", target="v", zone="Europe/Berlin", gap="1h")
    assert (series.zone, len(series.segments)) == ("Europe/Berlin", 1)
    assert write_times(series.times, series.zone).tolist() == cells


def test_names_of_zones_in_the_text():
    cells = ["2022-10-30 02:30 CEST", "2022-10-30 02:30 CET"]
    with pytest.raises(DataError, match=r"line 2, column 't' names the zone 'CEST' .*say zone="):
        read(cells)
    times, clock = read(cells, zone="Europe/Berlin")
    assert (times[1] - times[0], clock) == (np.timedelta64(1, "h"), ("Europe/Berlin", False))
    with pytest.raises(DataError, match=r"'CEST' .*America/New_York has not"):
        read(cells, zone="America/New_York")
    with pytest.raises(DataError, match="say zone='Europe/Berlin'"):
        read(["2022-10-30 02:30 Europe/Berlin"])
    assert read(["2022-10-30 02:30 Europe/Berlin"], zone="Europe/Berlin")[1].local
    with pytest.raises(DataError, match="did you mean 'Europe/Berlin'"):
        read(cells, zone="Europe/Berln")


def test_a_name_of_a_zone_means_what_its_clocks_showed_last():
    """MSK was two, three and four hours ahead of UTC in its time."""
    times, _ = read(["2022-10-30 02:30 MSK"], zone="Europe/Moscow")
    assert times[0] == np.datetime64("2022-10-29T23:30")


def local(first, count, step, zone):
    """Times of UTC at equal steps, and what clocks of a zone show."""
    utc = np.datetime64(first, "us") + np.arange(count) * np.timedelta64(step, "m").astype("timedelta64[us]")
    ahead = zone_named(zone, "test").ahead(utc.astype(np.int64))
    return utc, utc + ahead.astype("timedelta64[s]")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])
@pytest.mark.parametrize("step", [10, 30, 60])
@pytest.mark.parametrize("form", ["rising", "falling", "two series", "tied"])
def test_local_times_become_those_of_utc_again(zone, step, form):
    utc, clock = local("2021-12-30", 400 * 24 * 60 // step, step, zone)
    edges = np.array([0, len(utc)])
    if form == "falling":
        utc, clock = utc[::-1], clock[::-1]
    elif form == "two series":
        edges = np.array([0, len(utc), 2 * len(utc)])
        utc, clock = np.tile(utc, 2), np.tile(clock, 2)
    elif form == "tied":
        order = np.argsort(clock, kind="stable")
        utc, clock = utc[order], clock[order]
    np.testing.assert_array_equal(to_utc(clock, zone_named(zone, "test"), edges, str), utc)


def test_the_changes_of_clocks_are_those_of_zoneinfo():
    for name in ("Europe/Berlin", "America/Sao_Paulo", "Africa/Casablanca", "Pacific/Apia"):
        rng = np.random.default_rng(0)
        moments = rng.integers(0, 2_000_000_000, 500)
        expected = [
            datetime.fromtimestamp(int(moment), ZoneInfo(name)).utcoffset().total_seconds() for moment in moments
        ]
        assert zone_named(name, "test").ahead(moments * 1_000_000).tolist() == expected


def test_the_hour_that_clocks_skip_is_refused_with_its_line(tmp_path):
    path = table(tmp_path / "a.csv", ["2022-03-27 01:30", "2022-03-27 02:30", "2022-03-27 03:30"])
    said = "line 3: Europe/Berlin has no time 2022-03-27T02:30:00: its clocks went from 2022-03-27T02:00"
    with pytest.raises(DataError, match=said):
        rk.Sequence.open(path, time="time", target="v", zone="Europe/Berlin")
    assert rk.Sequence.open(path, time="time", target="v", zone="+01:00").times[0] == np.datetime64("2022-03-27T00:30")


@settings(deadline=None)
@given(
    st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2035, 1, 1)), min_size=1, max_size=20),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "-03:30"]),
)
def test_what_is_written_is_read_as_the_same_times(moments, zone):
    times = np.array(moments, "datetime64[us]")
    written = write_times(times, zone)
    found, clock = read(written.tolist(), zone=zone)
    np.testing.assert_array_equal(found, times)
    assert clock == (zone, False)
    assert [datetime.fromisoformat(text).timestamp() for text in written] == pytest.approx(
        [moment.replace(tzinfo=ZoneInfo("UTC")).timestamp() for moment in moments]
    )
    plain = write_times(times, None)
    np.testing.assert_array_equal(read(plain.tolist())[0], times)
    if not zone.startswith("-"):
        np.testing.assert_array_equal(
            [str(ZoneInfo(zone).utcoffset(moment)) for moment in moments] and read(written.tolist(), zone=zone)[0],
            times,
        )


def test_missing_times_and_fine_ones_are_written():
    times = np.array(["2022-01-01T00:00:00.000000001", "NaT"], "datetime64[ns]")
    assert write_times(times, None).tolist() == ["2022-01-01T00:00:00.000000001", ""]
    assert write_times(np.array([1, 2]), None).tolist() == ["1", "2"]
    assert write_times(np.array(["2022-01-01"], "datetime64[D]"), "UTC").tolist() == ["2022-01-01T00:00:00+00:00"]


# order


def test_shuffled_rows_are_refused_and_sorted_with_their_lines(tmp_path):
    order = np.random.default_rng(0).permutation(100)
    times = hours("2022-01-01", 100)[order]
    path = table(tmp_path / "a.csv", times)
    for short in ("refuse", "drop"):
        with pytest.raises(DataError, match=r"its rows are in no order of time.*say sort=True to sort them"):
            rk.Sequence.open(path, time="time", target="v", short=short)
    series = rk.Sequence.open(path, time="time", target="v", sort=True, gap="1h")
    assert series.segments == ((0, 99),)
    np.testing.assert_array_equal(series.read_x(0, 100)[:, 0], np.argsort(order))
    assert len(rk.Sequence.open(path, time="time", target="v", sort=False, short="drop").segments) > 10
    text = path.read_text().splitlines()
    row = int(np.flatnonzero(order == 50)[0])
    text[row + 1] = f"{times[row]},"
    path.write_text("\n".join(text) + "\n")
    with pytest.raises(DataError, match=f"line {row + 2}, column 'v': the value is missing"):
        rk.Sequence.open(path, time="time", target="v", sort=True)


def test_one_row_out_of_order_is_no_reason_to_drop_it():
    times = np.array([0, 1, 2, 4, 3, 9, 5, 6, 7, 8])
    with pytest.raises(DataError, match=r"has 2 rows.*sort rows that are out of order by time with sort=True"):
        rk.Sequence(np.arange(10.0), time=times, horizon=2)
    assert rk.Sequence(np.arange(10.0), time=times, horizon=2, sort=True).segments == ((0, 8),)


@pytest.mark.parametrize("form", ["csv", "parquet", "npy", "memmap"])
def test_sorting_works_for_every_source(form, tmp_path):
    order = np.random.default_rng(1).permutation(50)
    columns = {"time": order * 3.0, "v": order * 1.0}
    options = {"time": "time", "target": "v", "features": ["v"], "sort": True}
    path = tmp_path / f"a.{'csv' if form == 'memmap' else form}"
    if form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(columns), path, row_group_size=7)
    elif form == "npy":
        np.save(path, np.column_stack(list(columns.values())))
        options |= {"time": 0, "target": 1, "features": [1]}
    else:
        path.write_text("time,v\n" + "".join(f"{t},{v}\n" for t, v in zip(*columns.values(), strict=True)))
        options |= {"memmap": tmp_path / "maps"} if form == "memmap" else {}
    series = rk.Sequence.open(path, **options)
    np.testing.assert_array_equal(series.read_x(0, 50)[:, 0], np.arange(50))
    np.testing.assert_array_equal(series.take(np.array([7, 3]))[1][:, 0], [8, 4])
    assert series.times.tolist() == (np.arange(50) * 3.0).tolist()


def test_equal_times_stay_in_their_order_when_sorted():
    times, x = np.array([3, 1, 2, 1, 3, 0]), np.arange(6.0)
    with pytest.warns(RnnkitWarning, match="the same time in successive rows of one series, 2 times, first at row 3"):
        series = rk.Sequence(x, time=times, sort=True)
    assert series.read_x(0, 6)[:, 0].tolist() == [5, 1, 3, 2, 0, 4]


def test_each_series_is_sorted_by_itself():
    rng = np.random.default_rng(2)
    order = rng.permutation(60)
    ids, times = np.array(["a", "b", "c"])[order % 3], order // 3
    series = rk.Sequence(order * 1.0, time=times, series_id=ids, sort=True)
    names = series.series_ids
    for name, (start, _) in zip(names, series.segments, strict=True):
        np.testing.assert_array_equal(series.read_x(start, start + 20)[:, 0] // 3, np.arange(20))
        assert (series.read_x(start, start + 20)[:, 0] % 3 == "abc".index(name)).all()
    with pytest.raises(DataError, match="got sort=True and no time; say time= too"):
        rk.Sequence(np.zeros(4), sort=True)
    with pytest.raises(DataError, match="expects sort to be True or False, got 'up'"):
        rk.Sequence(np.zeros(4), time=np.arange(4), sort="up")


def test_many_steps_back_are_told_and_few_are_where_recordings_end():
    times = np.tile(np.arange(5), 6)
    with pytest.warns(RnnkitWarning, match="steps back in 5 of 29 steps, first at row 5, and each ends a segment"):
        assert len(rk.Sequence(np.zeros(30), time=times).segments) == 6
    assert len(rk.Sequence(np.zeros(30), time=times, sort=False).segments) == 6
    assert len(rk.Sequence(np.zeros(30), time=np.tile(np.arange(15), 2)).segments) == 2


def test_a_hole_in_regular_times_is_told_unless_gap_says_what_it_means(tmp_path):
    times = np.delete(hours("2022-01-01", 100), slice(40, 89))
    with pytest.warns(
        RnnkitWarning, match=r"steps of 1 h, but 1 step is longer, the first one of 50 h to row 40 \(2022-"
    ):
        series = rk.Sequence(np.zeros(51), time=times)
    assert len(series.segments) == 1
    assert len(rk.Sequence(np.zeros(51), time=times, gap=3600).segments) == 2
    assert len(rk.Sequence(np.zeros(51), time=times, gap="3d").segments) == 1


# series


def interleaved(kind, blocks=False):
    rows = [(day, store) for day in range(40) for store in range(6)]
    rows = sorted(rows, key=lambda row: row[::-1]) if blocks else rows
    return {
        "date": [str(np.datetime64("2022-01-01") + day) for day, _ in rows],
        "store": [f"store {store}" if kind is str else store for _, store in rows],
        "sales": [100.0 * store + day for day, store in rows],
    }


def opened(form, columns, tmp_path, **options):
    if form in ("pandas", "polars"):
        return rk.Sequence(pytest.importorskip(form).DataFrame(columns), **options)
    path = tmp_path / f"shop.{form}"
    if form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(columns), path)
    else:
        rows = zip(*columns.values(), strict=True)
        path.write_text(",".join(columns) + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    return rk.Sequence.open(path, **options)


@pytest.mark.parametrize("form", ["csv", "parquet", "pandas", "polars"])
@pytest.mark.parametrize("kind", [str, int])
@pytest.mark.parametrize("blocks", [False, True])
def test_series_that_nobody_named_are_recognised_and_the_advice_works(form, kind, blocks, tmp_path):
    columns = interleaved(kind, blocks)
    with pytest.raises(DataError, match="series_id='store'"):
        opened(form, columns, tmp_path, time="date", target="sales")
    series = opened(form, columns, tmp_path, time="date", target="sales", series_id="store")
    assert len(series.segments) == 6
    for place, (start, stop) in enumerate(series.segments):
        np.testing.assert_array_equal(series.read_x(start, stop)[:, 0], 100 * place + np.arange(39))
    if not blocks and form in ("csv", "parquet"):
        with pytest.raises(DataError, match=r"seems to hold several series.*column 'store' tells them apart"):
            opened(form, columns, tmp_path, time="date", target="sales", features=["sales"])
    del columns["store"]
    if not blocks:
        with pytest.warns(RnnkitWarning, match=r"200 times, first at (line 3|row 1) .*series_id='...'"):
            opened(form, columns, tmp_path, time="date", target="sales")
        assert len(opened(form, columns, tmp_path, time="date", target="sales", sort=False).segments) == 1


def test_rows_of_one_time_in_a_file_that_falls_stand_in_reverse(tmp_path):
    hours = ["00:00", "01:00", "02:00", "02:00", "03:00", "04:00"]  # clocks were put back
    rows = [f"2023-10-29 {hour},{value}" for value, hour in enumerate(hours)]
    path = tmp_path / "falling.csv"
    for order in (rows, rows[::-1]):
        path.write_text("\n".join(["t,v", *order]) + "\n")
        with pytest.warns(rk.RnnkitWarning, match=r"same time in successive rows .* or zone='Europe/Berlin'"):
            series = rk.Sequence.open(path, time="t", sort=True)
        assert series.read_x(0, 6)[:, 0].tolist() == list(range(6))
        local = rk.Sequence.open(path, time="t", sort=True, zone="Europe/Berlin")
        assert local.read_x(0, 6)[:, 0].tolist() == list(range(6))


def test_two_columns_of_a_table_are_one_time(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"day": ["16/12/2006"] * 3, "hour": ["17:00", "17:01", "17:02"], "v": [1.0, 2.0, 3.0]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=2)
    series = rk.Sequence.open(tmp_path / "a.parquet", time=["day", "hour"], time_format="%d/%m/%Y %H:%M")
    assert series.feature_names == ("v",)
    assert series.times.tolist() == [datetime(2006, 12, 16, 17, minute) for minute in range(3)]


def test_holes_are_told_once_of_a_file_or_frame(tmp_path):
    hours = np.datetime64("2024-01-01", "us") + np.delete(np.arange(60), [30, 31]) * np.timedelta64(1, "h")
    frame = pl.DataFrame({"t": hours, "a": np.sin(np.arange(58.0))})
    path = tmp_path / "a.csv"
    frame.write_csv(path, datetime_format="%Y-%m-%d %H:%M")
    makers = {
        "file": lambda horizon: rk.Sequence.open(path, time="t", target="a", horizon=horizon),
        "frame": lambda horizon: rk.Sequence(frame, time="t", target="a", horizon=horizon),
    }
    for make in makers.values():
        with pytest.warns(rk.RnnkitWarning, match="steps of 1 h, but 1 step is longer"):
            make(1)
        assert make(2).horizon == 2  # a warning would be an error
    with pytest.warns(rk.RnnkitWarning, match="but 1 step is longer"):
        rk.Sequence(frame.clone(), time="t", target="a")  # another one
    path.write_text(path.read_text() + "2024-01-03 20:00,1.0\n")
    with pytest.warns(rk.RnnkitWarning, match="but 2 steps are longer"):
        makers["file"](1)
