"""Text files as people have them: each is read in the one way that fits all of it, which is said, or refused."""

import bz2
import gzip
import lzma
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.cli import commands
from rnnkit.data import Sequence, series_ids
from rnnkit.data.textfile import look_at_bytes
from rnnkit.errors import DataError, RnnkitWarning, SourceError

CASES = Path(__file__).parents[1] / "cases" / "csv"

HOURS = np.datetime64("2020-01-01T00", "us") + np.arange(40).astype("timedelta64[h]")


@pytest.fixture
def write(tmp_path):
    """Write text or bytes to a file and hand back its path."""

    def write(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def opened(path, **options):
    """A sequence, and what was said about its file."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        series = Sequence.open(path, **options)
    assert all(issubclass(one.category, RnnkitWarning) for one in said)
    return series, [str(one.message) for one in said]


def column(series, name):
    return series.read_x(0, series.rows, np.float64)[:, series.feature_names.index(name)]


COUNT = np.arange(40.0)
NAN = float("nan")


def with_missing(*rows):
    return np.where(np.isin(np.arange(40), rows), NAN, COUNT)


@pytest.mark.parametrize(
    ("name", "options", "expected", "said", "silent"),
    [
        (
            "semicolon_decimalcomma.csv",
            {"time": "t", "target": "a"},
            {"a": COUNT + 0.5, "b": 2 * COUNT + 0.25},
            r"separator=';', decimal=','",
            {"separator": ";", "decimal": ","},
        ),
        (
            "semicolon_header_with_comma.csv",
            {"time": "t", "target": "Power, kW"},
            {"Power, kW": COUNT + 0.5, "Temp, C": 2 * COUNT + 0.25},
            r"separator=';', decimal=','",
            {"separator": ";", "decimal": ","},
        ),
        ("tab.tsv", {"time": "t"}, {"a": COUNT + 0.5}, None, {}),
        ("space.csv", {"time": "t"}, {"a": COUNT + 0.5}, "separator=' '", {"separator": " "}),
        ("gz.csv.gz", {"time": "t"}, {"a": COUNT + 0.5}, None, {}),
        ("latin1.csv", {"time": "t"}, {"µg/m³": COUNT + 0.5}, "encoding='cp1252'", {"encoding": "latin-1"}),
        ("thousands.csv", {"time": "t"}, {"a": COUNT + 1000.5}, "commas between thousands", {"decimal": "."}),
        ("comment_head.csv", {"time": "t"}, {"a": COUNT}, "comment='#'", {"comment": "#"}),
        ("units_row.csv", {"time": "t"}, {"a": COUNT}, r"line 2 \(',m3/s'\).*units: skip=\[2\]", {"skip": [2]}),
        (
            "footer.csv",
            {"time": "t"},
            {"a": COUNT},
            r"line 43 \('Total daily counts of something'\) is no row and is left out: skip=\[43\]",
            {"skip": [43]},
        ),
        ("trailing_comma1.csv", {"time": "t"}, {"a": COUNT}, None, {}),
        ("trailing_empty_rows.csv", {"time": "t"}, {"a": COUNT}, None, {}),
    ],
)
def test_a_file_that_people_have_is_read_and_what_was_assumed_is_said(name, options, expected, said, silent):
    series, told = opened(CASES / name, **options)
    assert series.feature_names == tuple(expected)
    for one, values in expected.items():
        np.testing.assert_allclose(column(series, one), values, rtol=1e-12)
    if options["time"] == "t" and name != "space.csv":
        np.testing.assert_array_equal(series.times, HOURS)
    assert len(told) == (said is not None)
    if said is not None:
        assert re.search(said, told[0])
    again, silence = opened(CASES / name, **options, **silent)
    assert silence == []
    np.testing.assert_array_equal(again.read_x(0, 40), series.read_x(0, 40))


@pytest.mark.parametrize(("name", "mark"), [("question.csv", "?"), ("excel_na.csv", "#N/A")])
def test_markers_of_missing_values_are_taken_for_them_and_told(name, mark):
    series, told = opened(CASES / name, time="t", missing="cut", short="drop")
    lines = (CASES / name).read_text().splitlines()[1:]
    missing = [row for row, line in enumerate(lines) if line.endswith("," + mark)]
    assert missing
    np.testing.assert_array_equal(column(series, "a"), with_missing(*missing))
    assert f"na=[{mark!r}]" in told[0]
    assert opened(CASES / name, time="t", missing="cut", short="drop", na=[mark])[1] == []
    with pytest.raises(DataError, match=rf"line {missing[0] + 2}, column 'a': the value is missing"):
        Sequence.open(CASES / name, time="t", na=mark)


def test_a_number_far_outside_all_others_and_repeated_is_told():
    series, told = opened(CASES / "minus999.csv", time="t")
    assert re.search(r"column 'a' has the value -999 2 times, far outside .* na=\[-999\], else na=\[\]", told[0])
    assert (column(series, "a") == -999).sum() == 2
    series, told = opened(CASES / "minus999.csv", time="t", na=[-999], missing="cut", short="drop")
    assert told == []
    assert np.isnan(column(series, "a")).sum() == 2
    assert opened(CASES / "minus999.csv", time="t", na=[])[1] == []


def test_two_columns_may_hold_the_date_and_the_hour():
    with pytest.warns(RnnkitWarning) as said:
        series = Sequence.open(CASES / "household.txt", time=["Date", "Time"], missing="cut", short="drop")
    told = " ".join(str(one.message) for one in said)
    assert "separator=';'" in told
    assert "na=['?']" in told
    assert "day first" in told
    assert series.times[0] == np.datetime64("2006-12-16T17:00")
    assert (np.diff(series.times) == np.timedelta64(1, "m")).all()
    exact = {"separator": ";", "na": "?", "time_format": "%d/%m/%Y %H:%M:%S"}
    assert not opened(CASES / "household.txt", time=["Date", "Time"], missing="cut", short="drop", **exact)[1]


def test_a_first_column_without_a_name_that_counts_is_an_index():
    series, told = opened(CASES / "index_col.csv", time="t")
    assert series.feature_names == ("a",)
    assert "first column counts the rows and is no feature" in told[0]


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.iterdir()))
def test_the_command_line_reads_what_python_reads(name, tmp_path, capsys):
    time = '["Date", "Time"]' if name == "household.txt" else '"t"'
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = "Power, kW" if "header" in name else {"latin1.csv": "µg/m³", "household.txt": "P"}.get(name, "a")
        series = Sequence.open(
            CASES / name,
            time=["Date", "Time"] if name == "household.txt" else "t",
            target=target,
            missing="cut",
            short="drop",
        )
    config = tmp_path / "c.toml"
    config.write_text(
        f'[data]\npath = "{CASES / name}"\ntime = {time}\ntarget = "{target}"\nmissing = "cut"\nshort = "drop"\n'
        'train = 0.8\nvalidation = 0.0\n[splitter]\ntype = "Continuation"\nlength = 4\n'
        '[[model.layers]]\ntype = "LSTM"\nhidden = 2\n[[model.layers]]\ntype = "Dense"\n',
        encoding="utf-8",
    )
    assert commands.main(["plan", str(config)]) == 0
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert f"{len(series.runs)} segment" in printed.out


@pytest.mark.parametrize("separator", [";", "\t", "|", " ", ","])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_way_to_write_a_table_gives_its_numbers(write, separator, decimal, encoding):
    if separator == decimal == ",":
        return
    values = np.random.default_rng(3).normal(size=(30, 2)) * [1, 1e6]
    rows = [separator.join(("größe", "b"))]
    rows += [separator.join(repr(float(cell)).replace(".", decimal) for cell in row) for row in values]
    series, told = opened(write("\r\n".join(rows).encode(encoding)), target="b")
    assert series.feature_names == ("größe", "b")
    np.testing.assert_array_equal(series.read_x(0, 30, np.float64), values)
    assert ("separator" in " ".join(told)) == (separator != ",")
    assert ("decimal" in " ".join(told)) == (decimal != ".")
    assert ("encoding" in " ".join(told)) == (encoding == "cp1252")


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_packed_files_are_read_as_they_are(write, suffix, pack, tmp_path):
    text = "id,a\n" + "".join(f"{'xy'[row % 2]},{row}\n" for row in range(10))
    path = write(pack(text.encode()), f"table.csv.{suffix}")
    series = Sequence.open(path, target="a", series_id="id")
    assert (series.name, series.series_ids) == ("table", ("x", "y"))
    assert series_ids(path, "id") == ["x", "y"]
    mapped = Sequence.open(path, target="a", series_id="id", memmap=tmp_path / "maps")
    np.testing.assert_array_equal(mapped.read_x(0, 10), series.read_x(0, 10))
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(SourceError, match=r"cannot be unpacked: .*; it seems to be damaged"):
        Sequence.open(path, target="a", series_id="id")


def test_a_comma_that_can_be_read_in_two_ways_is_refused_and_the_advice_decides(write):
    path = write("a;b\n" + "".join(f"{n},{100 + n};{n}\n" for n in range(1, 9)))
    with pytest.raises(DataError, match=r"'1,101', whose comma may be .*; say decimal=',' or decimal='.'"):
        Sequence.open(path, target="a")
    assert column(opened(path, target="a", decimal=",")[0], "a")[0] == 1.101
    assert column(opened(path, target="a", decimal=".")[0], "a")[0] == 1101
    clear = write("a;b\n" + "".join(f"{n},{100 + n};{n},5\n" for n in range(1, 9)))
    assert column(opened(clear, target="a")[0], "a")[0] == 1.101


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1.234,5", "12,25"], [1234.5, 12.25]),
        (["1'234.5", "12.25"], [1234.5, 12.25]),
        (["1 234,5", "12,25"], [1234.5, 12.25]),
        (["1\u202f234,5", "-1\u00a0012\u00a0000"], [1234.5, -1012000]),
        (["1,234,567", "89"], [1234567, 89]),
        (["1,5", "-,25"], [1.5, -0.25]),
        (["1,5e3", "2"], [1500, 2]),
    ],
)
def test_thousands_may_be_parted(write, cells, expected):
    series, told = opened(write("a;b\n" + "".join(f"{cell};1\n" for cell in [*cells, *cells])), target="a")
    assert column(series, "a").tolist() == [*expected, *expected]
    assert "decimal=" in told[0]


@pytest.mark.parametrize("cell", ["1_0", "0x10", "1.5.2", "12abc", "1,5", "0b1", "--3", "1e", "٣"])
def test_what_is_no_number_is_refused_with_its_place(write, cell):
    quoted = f'"{cell}"' if "," in cell else cell
    path = write(f"a,b\n1.5,2\n3.5,{quoted}\n4.5,7\n")
    with pytest.raises(DataError, match=rf"line 3, column 'b' expects a number, got '{re.escape(cell)}'"):
        Sequence.open(path, target="a")


def test_numbers_are_those_of_python_bit_for_bit(write):
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=2000) * 10.0 ** rng.integers(-300, 300, 2000)
    cells = [f"{number:.20g}" for number in numbers.tolist()]
    cells += [" 1.5 ", "+3", ".5", "1.", "1e5", "9007199254740993", "5e-324", "-0"]
    series = Sequence.open(write("a,b\n" + "".join(f"{cell},1\n" for cell in cells)), target="a")
    np.testing.assert_array_equal(column(series, "a"), np.array([float(cell) for cell in cells]))


def test_true_and_false_are_numbers_and_text_is_named(write):
    path = write("a,on,sky\n1,true,clear\n2,False,\n3,,grey\n")
    assert str(column(Sequence.open(path, features=["a", "on"], target="a", missing="cut", short="drop"), "on")) == (
        "[ 1.  0. nan]"
    )
    with pytest.raises(DataError, match=r"line 2, column 'sky' expects a number, got 'clear'.*features=\['a', 'on'\]"):
        Sequence.open(path, target="a")


def test_a_file_without_a_line_of_names_is_refused_and_the_advice_works(write):
    path = write("2020-01-01,1.5,7\n2020-01-02,2.5,8\n2020-01-03,3.5,9\n")
    with pytest.raises(DataError, match=r"begins with numbers \(2020-01-01, 1.5, 7\); .*say header=False, or"):
        Sequence.open(path)
    series = Sequence.open(path, header=False, time=0, target=1)
    assert column(series, "1").tolist() == [1.5, 2.5, 3.5]
    named = Sequence.open(path, header=["day", "x", "y"], time="day", target="y")
    assert named.feature_names == ("x", "y")
    with pytest.raises(DataError, match="has 3 columns, got header with 2 names"):
        Sequence.open(path, header=["day", "x"], time="day")


def test_lines_above_the_header_are_told_and_skip_says_so(write):
    path = write("Station 12\nUnit: m\n\nt,a\n" + "".join(f"{n},{n * 2}\n" for n in range(20)))
    series, told = opened(path, time="t")
    assert column(series, "a")[3] == 6
    assert "skip=3" in told[0]
    assert opened(path, time="t", skip=3)[1] == []


@pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_lines_end_where_a_reader_of_rows_ends_them(write, mark):
    rows = "".join(f"{n},{n * 2}\n" for n in range(20))
    for text in (f"Station{mark}12\nt,a\n{rows}", f"# by{mark}hand\nt,a\n{rows}", f"t,a\n{rows}note{mark}x\n"):
        series, _ = opened(write(text), time="t")
        assert column(series, "a").tolist() == [n * 2 for n in range(20)]


@pytest.mark.parametrize("options", [{}, {"skip": 2}])
def test_lines_to_leave_out_are_named_beside_those_above_the_header(write, options):
    path = write("x\ny\nt,v\ns,m\n" + "".join(f"{n},{n * 2}\n" for n in range(30)) + "Source: us\n")
    _, told = opened(path, time="t", **options)
    lists = [eval(found) for found in re.findall(r"skip=(\[[^\]]*\]) says so", told[0])]
    assert lists == [[1, 2, 4], [1, 2, 35]]
    series, told = opened(path, time="t", skip=sorted({*lists[0], *lists[1]}))
    assert (series.rows, told) == (30, [])


def test_a_header_may_stand_behind_a_mark(write):
    series, _ = opened(write("# made by hand\n#t,a\n0,1\n1,2\n2,3\n"), time="t")
    assert series.feature_names == ("a",)
    assert column(series, "a").tolist() == [1, 2, 3]


def test_comments_between_rows_are_no_rows(write):
    text = "t,a\n0,1\n# broken, since\n# a, b, c\n1,2\n2,3\n"
    series, told = opened(write(text), time="t", comment="#")
    assert column(series, "a").tolist() == [1, 2, 3]
    assert told == []
    with pytest.raises(DataError, match=r"line 6, column 'a': the value is infinite"):
        Sequence.open(write(text.replace("2,3", "2,inf").replace("# a, b, c\n", "# x\n")), time="t", comment="#")


def test_a_line_that_was_cut_short_is_no_footer(write):
    text = "t,a,b\n" + "".join(f"{n},1,2\n" for n in range(20))
    with pytest.raises(DataError, match=r"line 22 has 2 cells, but the header names 3 columns; .*skip=\[22\]"):
        Sequence.open(write(text + "20,1\n"), time="t", target="a")
    assert len(Sequence.open(write(text + "20,1\n"), time="t", target="a", skip=[22])) == 19


def test_a_footer_that_has_as_many_cells_as_a_row_is_refused_and_can_be_left_out(write):
    text = "a,b\n" + "".join(f"{n},2\n" for n in range(20)) + "Sum,40\n"
    with pytest.raises(DataError, match=r"line 22, column 'a' expects a number, got 'Sum'; .*skip=\[22\]"):
        Sequence.open(write(text), target="b")
    assert len(Sequence.open(write(text), target="b", skip=[22])) == 19


def test_lines_are_right_below_quoted_line_breaks_and_empty_lines(write):
    path = write('t,note,a\n0,"two\nlines",1\n1,x,2\n\n2,"a ""b"", c",3\n3,y,inf\n')
    with pytest.raises(DataError, match="line 7, column 'a': the value is infinite"):
        Sequence.open(path, time="t", features="a", target="a")


def test_a_file_with_an_empty_line_below_every_row_is_read(write):
    series = Sequence.open(write("a,b\n\n" + "".join(f"{n},{n}\n\n" for n in range(9))), target="a")
    assert column(series, "a").tolist() == list(range(9))


def test_a_nameless_column_that_holds_values_is_refused(write):
    text = "t,a,\n" + "".join(f"{n},1,{'x' if n == 7 else ''}\n" for n in range(400))
    with pytest.raises(DataError, match="a column without a name, number 3, that holds values; name it"):
        Sequence.open(write(text), time="t")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": ";;"}, "expects separator to be one character"),
        ({"decimal": ";"}, "expects decimal to be '.' or ','"),
        ({"encoding": "latin-99"}, "expects encoding to be an encoding that Python knows"),
        ({"encoding": "hex"}, "expects encoding to be an encoding that Python knows"),
        ({"na": 10**400}, "expects na to be numbers that a float64 holds"),
        ({"na": {"?": 1}}, "expects na to be a list of cells"),
        ({"header": 3}, "expects header to be True, False, or a list of names"),
        ({"comment": ""}, "expects comment to be what the lines begin with"),
        ({"skip": [-1]}, "expects skip to be how many lines stand before the header"),
    ],
)
def test_options_that_cannot_be_used_are_refused(write, options, message):
    with pytest.raises(DataError, match=message):
        Sequence.open(write("a,b\n1,2\n3,4\n"), target="a", **options)


def test_options_of_text_are_for_text(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 1)))
    with pytest.raises(DataError, match=r"is no text file, got decimal=',', which is for .csv"):
        Sequence.open(tmp_path / "a.npy", decimal=",")


@pytest.mark.parametrize("name", ["a*b.csv", "a?b.csv", "a[x]b.csv", "c1=7/x.csv", "**/x.csv", "it's {a,b}.csv"])
def test_a_file_may_have_any_name_and_is_no_pattern(tmp_path, name):
    for other in ("axb.csv", "y/x.csv", name):
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).write_text("t,a\n0,9\n1,9\n" if other != name else "t,a\n0,1\n1,2\n2,3\n")
    assert column(Sequence.open(tmp_path / name, time="t"), "a").tolist() == [1, 2, 3]


@pytest.mark.parametrize("ends", [["\r"], ["\r\n", "\n"], ["\n", "\r\n"], ["\n", "\r"], ["\r\r\n"]])
def test_lines_may_end_in_several_ways(write, ends):
    rows = ["t,a", *(f"{n},{n}.5" for n in range(9))]
    path = write("".join(row + ends[n % len(ends)] for n, row in enumerate(rows)))
    assert column(Sequence.open(path, time="t"), "a").tolist() == [n + 0.5 for n in range(9)]


def test_any_number_of_lines_may_be_no_rows(write):
    text = "t,a\n" + "".join(f"# note {n}\n{n},{n}\n" for n in range(1500))
    series = Sequence.open(write(text), time="t", skip=list(range(2, 3001, 2)))
    assert column(series, "a").tolist() == list(range(1500))
    with pytest.raises(DataError, match=r"line 3003, column 'a': the value is infinite"):
        Sequence.open(write(text + "# last\n1500,inf\n"), time="t", comment="#")


def test_a_cell_may_be_very_long_and_go_over_lines(write):
    text = "t,note,a\n" + "".join(f'{n},"{"x" * 3_000_000 if n == 1 else "two"}\nlines",{n}\n' for n in range(3))
    assert column(Sequence.open(write(text), time="t", features="a", target="a"), "a").tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="line 9, column 'a': the value is infinite"):
        Sequence.open(write(text + '3,"a\nb",inf\n'), time="t", features="a", target="a")


def test_a_line_without_end_is_refused_and_not_parsed(write, monkeypatch):
    monkeypatch.setattr("rnnkit.data.textfile.LONGEST", 1000)
    with pytest.raises(SourceError, match=r"line 2 has more than 1,000 characters"):
        Sequence.open(write("a,b\n" + "1," * 1000))


def test_a_header_with_too_few_names_is_told_and_the_advice_works(write):
    path = write("a,b\n" + "".join(f"{n},{n},1\n" for n in range(9)))
    with pytest.raises(DataError, match=r"line 2 has 3 cells, but the header names 2 .* skip=1, header=\[...\] with 3"):
        Sequence.open(path, target="a")
    assert Sequence.open(path, target="a", skip=1, header=["n", "a", "b"]).feature_names == ("n", "a", "b")


def test_a_file_of_comments_alone_is_empty(write):
    with pytest.raises(DataError, match="is empty"):
        Sequence.open(write("# a\n# b\n"), comment="#")


def test_text_whose_encoding_cannot_be_known_is_refused_and_the_advice_works(write):
    path = write("t,a\n0,1\n1,2\n2,3\n".encode("utf-16-le"))
    with pytest.raises(DataError, match="holds NUL characters; if it is text, say encoding='utf-16-le'"):
        Sequence.open(path, time="t")
    assert column(Sequence.open(path, time="t", encoding="utf-16-le"), "a").tolist() == [1, 2, 3]
    with pytest.raises(SourceError, match="is text neither in utf-8 nor in cp1252"):
        Sequence.open(write(bytes(range(1, 256))), time="t")


def test_markers_of_missing_values_are_compared_without_blanks_and_may_be_any_number(write):
    path = write("a,b\n1,2\n2,2\n  no val,3\ninf,4\n-999.0,5\n")
    series = Sequence.open(path, target="b", na=[" no val ", float("inf"), -999], missing="cut", short="drop")
    assert np.isnan(column(series, "a")).tolist() == [False, False, True, True, True]


def test_a_file_that_changes_while_it_is_read_is_told(write, monkeypatch):
    path = write("a,b\n1,2\n3,4\n5,6\n")
    count = rk.data.text.count_empty

    def grow(plain, dialect):
        path.write_text(path.read_text() + "7,8\n")
        return count(plain, dialect)

    monkeypatch.setattr("rnnkit.data.text.count_empty", grow)
    with pytest.raises(SourceError, match="changed while it was read"):
        Sequence.open(path, target="a")


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_what_the_bytes_tell_does_not_depend_on_the_pieces_they_are_read_in(write, monkeypatch, size):
    monkeypatch.setattr("rnnkit.data.textfile.PIECE", size)
    for text, alike in (
        ("a_ä,b\r\n1,2\r\n3,4\r\n", True),
        ("a,€\n1,2\n\n", True),
        ("a,b\r\n1,2\n3,4\r\n", False),
        ("a,b\r1,2\r3,4\r", False),
        ("\U0001f600,b\n1,2_", True),
    ):
        with write(text).open("rb") as file:
            lines = len(text.rstrip().split("\n"))
            assert look_at_bytes(file) == (lines, text.encode().rfind(b"_"), alike)
    for wrong, at in ((b"a,b\n1,\xe4\n", 6), (b"\xe2\x82\xac\xe2\x82", 3), (b"\xc3\n", 0)):
        with write(wrong).open("rb") as file, pytest.raises(UnicodeDecodeError) as caught:
            look_at_bytes(file)
        assert caught.value.start == at


NUMBERS = ["1", " 2.5", "-3e5 ", "", '""', "nan", "5.", ".5", "0.1000000000000000055511151231257827", "4.9e-324"]


def test_numbers_are_the_same_whether_duckdb_makes_them_of_cells_or_of_text(write, monkeypatch):
    lines = ["t,first_a,b", *(f"2024-01-0{n % 9 + 1},{n},{cell}" for n, cell in enumerate(NUMBERS))]
    path, read = write("\n".join(lines)), {}
    for typed in (True, False):
        if not typed:
            monkeypatch.setattr("rnnkit.data.texttable.TextTable.typed", lambda *asked: None)
        series = Sequence.open(path, time="t", missing="cut", short="drop", sort=False, horizon=0)
        read[typed] = series.read_x(0, len(NUMBERS), np.float64), series.times
    np.testing.assert_array_equal(read[True][0], read[False][0])
    np.testing.assert_array_equal(read[True][1], read[False][1])
    expected = [float(cell.strip('"') or "nan") for cell in NUMBERS]
    np.testing.assert_array_equal(read[True][0][:, 1], expected)


def test_an_underscore_is_a_part_of_a_name_and_of_no_number(write):
    path = write("a_b,c_d\n1,2\n3,4\n")
    assert opened(path, target="a_b")[0].read_x(0, 2, np.float64).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match=r"line 3, column 'c_d' expects a number, got '4_0'"):
        Sequence.open(write("a_b,c_d\n1,2\n3,4_0\n"), target="a_b")


def test_hundreds_of_columns_are_read_in_either_style(write):
    values = np.random.default_rng(5).normal(size=(8, 130))
    for separator, decimal in ((",", "."), (";", ",")):
        rows = [
            [f"c_{n}" for n in range(130)],
            *([repr(v).replace(".", decimal) for v in row] for row in values.tolist()),
        ]
        series = opened(write("\n".join(map(separator.join, rows))), target="c_0")[0]
        np.testing.assert_array_equal(series.read_x(0, 8, np.float64), values)


def test_many_columns_of_decimal_commas_are_few_queries(write, tmp_path, monkeypatch):
    values = np.random.default_rng(5).normal(size=(6, 150))
    rows = [
        [*(repr(v).replace(".", ",") for v in row), "TRUE" if n % 2 else "false"]
        for n, row in enumerate(values.tolist())
    ]
    path = write("\n".join(map(";".join, [[f"c{n}" for n in range(151)], *rows])))
    asked, ask = [], rk.data.texttable.TextTable._ask
    monkeypatch.setattr(
        "rnnkit.data.texttable.TextTable._ask", lambda self, sql: [asked.append(sql), ask(self, sql)][1]
    )
    read = opened(path, target="c0")[0]
    assert len(asked) < 10
    kept = opened(path, target="c0", memmap=tmp_path / "maps")[0]
    for series in (read, kept):
        found = series.read_x(0, 6, np.float64)
        np.testing.assert_array_equal(found[:, :150], values)
        assert found[:, 150].tolist() == [0, 1] * 3
    with pytest.raises(DataError, match="line 4, column 'c99' expects a number, got 'x'"):
        Sequence.open(write(path.read_text().replace(rows[2][99], "x")), target="c0")


def test_a_file_is_looked_through_once_for_a_cell_that_is_no_number(write, monkeypatch):
    path, looked, look = write("a,b\n1,2\n3,x\n5,6\n"), [], look_at_bytes
    monkeypatch.setattr("rnnkit.data.textfile.look_at_bytes", lambda file: [looked.append(file), look(file)][1])
    with pytest.raises(DataError, match="line 3, column 'b' expects a number, got 'x'"):
        Sequence.open(path, target="a")
    assert len(looked) == 1


def test_decimal_commas_are_no_times_and_words_of_no_value_are_those_of_times():
    looks = rk.data.times.looks_like_time
    assert not any(map(looks, ("12,5", "-0,25", "1e5", "3", "1,25e-3")))
    assert all(map(looks, ("2020-01-05", "05/01/2020 10:00", "5 Jan 2020")))
    for word in rk.data.missing.MISSING:
        cells = np.array(["2020-01-05", word])
        reader = rk.data.times.TimeReader("x", "t")
        reader.narrow(cells, str)
        assert np.isnat(reader.read(cells, str)).tolist() == [False, True]


def test_data_sets_and_ids_take_the_options(write):
    path = write("id;a\n" + "".join(f"{'xy'[row % 2]};{row},5\n" for row in range(40)))
    options = {"separator": ";", "decimal": ",", "target": "a"}
    sets = rk.DataSet.each(path, "id", options=options)
    assert [one.name for one in sets] == ["x", "y"]
    assert sets[1].open().series.read_x(0, 2).tolist() == [[1.5], [3.5]]


def test_what_was_assumed_is_said_when_rows_are_read_and_not_when_ids_are(write):
    path = write("id;a\n" + "".join(f"{'xy'[row % 2]};{row},5\n" for row in range(40)))
    assert series_ids(path, "id") == ["x", "y"]  # a warning would be an error
    sets = rk.DataSet.each(path, "id", options={"target": "a"})
    with pytest.warns(RnnkitWarning, match="it is read with separator=';', decimal=','") as said:
        assert [one.open().series.rows for one in sets] == [20, 20]
    assert len(said) == 1


def test_opening_a_text_file_imports_its_reader_and_importing_rnnkit_does_not():
    code = (
        "import sys, rnnkit as rk; before = '_duckdb' in sys.modules; "
        f"rk.Sequence.open({str(CASES / 'tab.tsv')!r}, time='t'); sys.exit(before or '_duckdb' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


ROWS = "".join(f"{n};{n % 4},5\n" for n in range(5))


def test_a_short_file_with_a_footer_is_parted_by_what_parts_its_rows(write):
    series, told = opened(write(f"t;a\n{ROWS}source: the weather service\n"))
    assert series.feature_names == ("t", "a")
    assert column(series, "a").tolist() == [0.5, 1.5, 2.5, 3.5, 0.5]
    assert any("line 7" in line for line in told)


def test_names_with_commas_do_not_part_what_semicolons_part(write):
    series, _ = opened(write(f"Count, n;Level, m\n{ROWS}"))
    assert series.feature_names == ("Count, n", "Level, m")
    assert column(series, "Level, m").tolist() == [0.5, 1.5, 2.5, 3.5, 0.5]


@pytest.mark.parametrize("first", [0, 1])
def test_rows_may_be_counted_from_0_or_1(write, first):
    series, _ = opened(write(",a,b\n" + "".join(f"{first + n},{n * n},1\n" for n in range(9))))
    assert series.feature_names == ("a", "b")
    with pytest.raises(DataError, match="has a column without a name, number 1, that holds values"):
        opened(write(",a,b\n" + "".join(f"{2 + n},{n * n},1\n" for n in range(9))))


@pytest.mark.parametrize("before", ["", "# made\n", "\n"])
@pytest.mark.parametrize("names", ['t,"level\n(m)"\n', 't,"level\nabove\n(m)"\n', 't,"level\n(m)"\n(s),(m)\n'])
def test_no_row_is_lost_below_names_that_go_over_several_lines(write, before, names):
    text = before + names + "".join(f"{n},{n * n}\n" for n in range(9))
    series, _ = opened(write(text))
    assert series.feature_names == ("t", names.split('"')[1])
    assert series.read_x(0, series.rows, np.float64).tolist() == [[n, n * n] for n in range(9)]
    with pytest.raises(DataError, match=rf"line {text.count(chr(10)) + 1}, column .*infinite"):
        opened(write(text + "9,inf\n"))


def test_lines_are_counted_behind_units_and_empty_lines(write):
    """The same time stands in lines 7 and 8; 3 is one of units, 5 an empty one."""
    days = "2020-01-01,1\n\n2020-01-02,2\n2020-01-03,3\n2020-01-03,4\n2020-01-04,5\n"
    _, told = opened(write(f"# made\nt,a\n(day),(m)\n{days}"), time="t")
    assert any("same time" in line and "line 8" in line for line in told)


def test_a_footer_has_few_lines(write):
    rows = "t,a\n" + "".join(f"{n},{n * n}\n" for n in range(30))
    series, _ = opened(write(rows + "remark\n" * 19))
    assert series.rows == 30
    with pytest.raises(DataError, match=r"line 32 has 1 cell, but the header names 2 columns"):
        opened(write(rows + "remark\n" * 25))
