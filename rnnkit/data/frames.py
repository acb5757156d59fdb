"""Data frames as sources of rows: pandas, polars and pyarrow, through narwhals, by the names of their columns.

narwhals is imported when there is a frame to read, and never before.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from rnnkit.data.columns import Opened, Wanted, choose, file_source
from rnnkit.data.series import Coder, Ids, Others
from rnnkit.data.source import Source, array_source, as_rows
from rnnkit.data.times import NO_ZONE, Clock, TimeReader, clock_of, given_times
from rnnkit.errors import DataError, did_you_mean, listed, warn

MADE_BY = ("pandas", "polars", "pyarrow", "modin", "cudf", "narwhals")
"""Libraries whose frames and columns are read by name."""


def is_frame(value: Any) -> bool:
    """Whether a value is a table or a column of a library of data frames, or an index of pandas."""
    return type(value).__module__.partition(".")[0] in MADE_BY


class Frame:
    """A table, or a column as a table of one: its columns by name, in memory.

    Args:
        native: of one of the libraries.
        who: how messages begin.
        what: what messages call it: `"x"`.
        levels: columns asked for that may be levels of pandas' index.

    Attributes:
        names: the columns, as text.
        named: whether anybody named them; pandas counts those that nobody did.
        index: pandas' index, or None.
        single: whether it is a column and no table.

    Raises:
        DataError: a table that is not in memory, or two columns of one name.
    """

    def __init__(self, native: Any, who: str, what: str, levels: tuple[Any, ...] = ()) -> None:
        import narwhals as nw

        self.who, self.what = who, what
        if hasattr(native, "collect"):
            raise DataError(f"{who} expects {what} in memory, got a {type(native).__name__}; say {what}.collect()")
        native = nw.to_native(native, pass_through=True)
        pandas = sys.modules.get("pandas")
        self.index, self.named = None, True
        if pandas is not None and isinstance(native, pandas.Index):
            native = native.to_series(index=range(len(native)), name=native.name or what)
        self.single = pandas is not None and isinstance(native, pandas.Series)
        if pandas is not None and isinstance(native, pandas.Series):
            native, self.named = native.to_frame(what if native.name is None else native.name), native.name is not None
        if pandas is not None and isinstance(native, pandas.DataFrame):
            self.index = native.index
            self.named &= not isinstance(native.columns, pandas.RangeIndex)
            named = [level for level in levels if isinstance(level, str)]  # values beside the rows name none
            asked = [level for level in native.index.names if level is not None and level in named]
            native = native.reset_index(level=asked) if asked else native
            native = native.set_axis([str(column) for column in native.columns], axis=1)
        names = list(getattr(native, "columns", []))
        twice = next((name for name in names if isinstance(name, str) and names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{who} expects columns of different names in {what}, got {twice!r} twice; rename one")
        read: Any = nw.from_native(native, eager_only=True, allow_series=True)
        self.single |= isinstance(read, nw.Series)
        if isinstance(read, nw.Series):
            self.named = bool(read.name)
            read = read.alias(read.name or what).to_frame()
        self._columns: Any = read
        self.names: list[Any] = list(read.columns)

    def __len__(self) -> int:
        return len(self._columns)

    def others(self, *named: Any) -> list[Any]:
        """The columns but some that are named; values beside them name none."""
        taken = [name for name in named if isinstance(name, str)]
        return [name for name in self.names if name not in taken]

    def numbers(self, names: list[str]) -> np.ndarray:
        """Some columns as numbers `(N, F)`, a missing value as NaN; in their own type where all have one.

        Raises:
            DataError: a column of something else.
        """
        return np.stack([self._numbers(name) for name in names], axis=1)

    def kind(self, name: str) -> str:
        """What a column holds: `"integer"`, `"number"`, `"time"`, `"text"`, or what its library calls it."""
        import narwhals as nw

        dtype = self._columns[name].dtype
        if dtype.is_integer():
            return "integer"
        if dtype.is_numeric() or dtype == nw.Boolean:
            return "number"
        if dtype.is_temporal():
            return "time"
        return "text" if dtype in (nw.String, nw.Categorical, nw.Enum) else str(dtype)

    def ids(self, name: str) -> Ids:
        """A column as the series that each row belongs to.

        Raises:
            DataError: a value that is no id.
        """
        coder = Coder(self.who, name)
        text = self.kind(name) not in ("integer", "number")
        codes = coder.codes(np.array(self._columns[name].to_list(), object) if text else self._numbers(name))
        return Ids(coder.names, codes)

    def times(self, name: str, time_format: str | None, zone: str | None) -> tuple[np.ndarray, Clock]:
        """A column as times `(N,)`, and what they are counted by.

        Raises:
            DataError: a column of something else.
        """
        import narwhals as nw

        column, kind = self._columns[name], self.kind(name)
        if kind == "time" and column.dtype == nw.Datetime:
            had = column.dtype.time_zone
            if had is not None:
                column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
            return np.asarray(column.to_numpy()), clock_of(had, zone, self.who)
        if kind == "time" and column.dtype == nw.Date:
            return np.asarray(column.cast(nw.Datetime("us")).to_numpy()), clock_of(None, zone, self.who)
        if kind == "time" and column.dtype == nw.Duration:
            return column.dt.total_microseconds().cast(nw.Float64).to_numpy() / 1e6, NO_ZONE
        if kind in ("integer", "number", "text"):
            reader = TimeReader(self.who, name, time_format, zone)
            cells = column.to_list() if kind == "text" else self._numbers(name)
            reader.narrow(cells, "row {}".format)
            return reader.read(cells, "row {}".format), reader.clock
        return given_times(np.array(column.to_list(), object), self.who, len(self), time_format, zone)

    def _numbers(self, name: str) -> np.ndarray:
        import narwhals as nw

        column = self._columns[name]
        if self.kind(name) not in ("integer", "number"):
            raise self._no_number(name)
        if column.null_count() or column.dtype in (nw.Boolean, nw.Decimal):
            column = column.cast(nw.Float64)
        return np.asarray(column.to_numpy())

    def _no_number(self, name: str) -> DataError:
        kind = self.kind(name)
        advice = f"leave the column out: {self.what}.drop(columns={name!r})"
        if kind == "time":
            advice = f"say time={name!r} if it holds the times, or {advice}"
        elif kind == "text":
            advice = f"number it, or say series_id={name!r} if it names the series of each row, or {advice}"
        return DataError(f"{self.who}, column {name!r} of {self.what} expects numbers, got {kind}; {advice}")


class Named(NamedTuple):
    """What the caller of `Sequence` says of columns by name, or of values beside its rows.

    Attributes:
        target: columns of x, or None.
        time: a column of x, values `(N,)`, or None.
        series_id: a column of x, values `(N,)`, or None.
        horizon: rows ahead.
        time_format, zone: as for `TimeReader`.
    """

    target: Any
    time: Any
    series_id: Any
    horizon: int
    time_format: str | None
    zone: str | None


def given_source(x: Any, y: Any, given: Named, name: str) -> Opened:
    """What arrays and frames hold of what was asked for.

    Args:
        x: a frame, or an array or the like.
        y: a frame, an array or the like, or None.
        given: what else was said.
        name: of the sequence.

    Raises:
        DataError: a column that is not there, is named twice or holds no numbers, or rows that do not belong together.
    """
    who = f"sequence {name!r}"
    frame = Frame(x, who, "x", (given.time, given.series_id)) if is_frame(x) else None
    beside = Frame(y, who, "y") if is_frame(y) else None
    if frame is not None and beside is not None:
        _check_index(who, frame, beside)
    time, series_id = _column(frame, given.time, "time", who), _column(frame, given.series_id, "series_id", who)
    if frame is not None and y is None:
        source = _of_columns(frame, time, series_id, given)
    else:
        source = _of_both(x, frame, y, beside, time, series_id, given, name)
    rows = source.x.shape[0]
    if frame is not None and time is None:
        time = _index_times(frame, who)
    if frame is not None and isinstance(time, str):
        times, clock = frame.times(time, given.time_format, given.zone)
    elif time is None:
        times, clock = None, NO_ZONE
    else:
        values = Frame(time, who, "time") if is_frame(time) else None
        if values is None:
            times, clock = given_times(time, who, rows, given.time_format, given.zone)
        else:
            times, clock = values.times(values.names[0], given.time_format, given.zone)
            _check_rows(who, "time", len(times), rows)
    ids = None
    if frame is not None and isinstance(series_id, str):
        ids = frame.ids(series_id)
    elif series_id is not None:
        coder = Coder(who, "series_id")
        values = np.asarray(series_id)
        _check_rows(who, "series_id", len(values), rows)
        codes = coder.codes(values if values.dtype.kind != "O" else list(series_id))
        ids = Ids(coder.names, codes)
    others = None if frame is None or series_id is not None else Others(frame.others(time), frame.ids)
    return Opened(source, times, ids, clock, others)


def _of_columns(frame: Frame, time: Any, series_id: Any, given: Named) -> Source:
    """A frame whose targets are columns of it, by name."""
    who, target = frame.who, given.target
    known = frame.others(time, series_id)
    asked = target if isinstance(target, list | tuple) else [target]
    if target is not None and all(isinstance(c, int) and 0 <= c < len(known) for c in asked):
        asked = [known[column] for column in asked]
    column = time if isinstance(time, str) else None
    wanted = Wanted(
        column,
        None,
        None if target is None else asked,
        given.horizon,
        series_id if isinstance(series_id, str) else None,
    )
    choice = choose(who, frame.names, wanted)
    y = as_rows(frame.numbers(choice.targets), who, "its target") if choice.targets else None
    labels = y is not None and given.horizon == 0 and all(frame.kind(column) == "integer" for column in choice.targets)
    source = file_source(who, choice, as_rows(frame.numbers(choice.features), who, "x"), y, labels)
    return source if frame.named else replace(source, feature_names=None, target_names=None)


def _of_both(
    x: Any, frame: Frame | None, y: Any, beside: Frame | None, time: Any, series_id: Any, given: Named, name: str
) -> Source:
    """Arrays or frames of inputs, and of targets beside them."""
    features = [] if frame is None else frame.others(time, series_id)
    if frame is not None and not features:
        raise DataError(f"{frame.who} expects x to hold a column of inputs beside time and series_id, got none")
    values = y
    if beside is not None:
        values = beside.numbers(beside.names)
        values = values[:, 0] if beside.single else values
    source = array_source(x if frame is None else frame.numbers(features), values, given.target, name, given.horizon)
    if frame is not None:
        source = replace(source, columns=tuple(f"column {column!r}" for column in features))
        source = replace(source, feature_names=tuple(features) if frame.named else None)
    if beside is not None:
        source = replace(source, targets=tuple(f"column {column!r} of y" for column in beside.names))
        source = replace(source, target_names=tuple(beside.names) if beside.named else None)
    return source


def _column(frame: Frame | None, given: Any, option: str, who: str) -> Any:
    """A column of x that an option names, or values; None where the name is that of an index which is used anyway."""
    if not isinstance(given, str):
        return given
    if frame is None:
        raise DataError(f"{who} expects {option} as values, one for each row of an array, got {given!r}")
    if given not in frame.names:
        names = listed(map(str, frame.names), 12, "columns")
        raise DataError(
            f"{who} has no column {given!r}, asked for as {option}; the columns of x are {names}"
            f"{did_you_mean(given, map(str, frame.names))}"
        )
    return given


def _index_times(frame: Frame, who: str) -> Any:
    """The times that the index of a frame of pandas is, or None; an index that counts something else is told."""
    index = frame.index
    if index is None or type(index).__name__ == "RangeIndex":
        return None
    kind = type(index).__name__
    if kind in ("DatetimeIndex", "TimedeltaIndex"):
        return index
    if kind == "PeriodIndex":
        return index.to_timestamp()
    if kind == "MultiIndex":
        level = ", ".join(repr(name) for name in index.names)
        raise DataError(
            f"{who} has an index of several levels ({level}); say which is what: series_id={index.names[0]!r}, "
            f"time={index.names[-1]!r}; or drop it: x.reset_index(drop=True)"
        )
    if index.dtype.kind in "iu" and len(index) and (index == np.arange(len(index)) + index[0]).all():
        return None
    warn(
        f"{who} has an index that is not used: neither times nor a plain count of the rows ({index[0]} ... "
        f"{index[-1]}); say time=x.index if rows follow each other by it, or drop it: x.reset_index(drop=True)"
    )
    return None


def _check_index(who: str, frame: Frame, beside: Frame) -> None:
    _check_rows(who, "y", len(beside), len(frame))
    if frame.index is None or beside.index is None or frame.index.equals(beside.index):
        return
    differs = np.flatnonzero(np.asarray(frame.index != beside.index))
    row = int(differs[0]) if len(differs) else 0
    raise DataError(
        f"{who} expects y with the index of x, got {beside.index[row]!r} beside {frame.index[row]!r} at row {row}; "
        f"say y.loc[x.index], or drop both: reset_index(drop=True)"
    )


def _check_rows(who: str, what: str, got: int, rows: int) -> None:
    if got != rows:
        raise DataError(f"{who} expects one row of {what} for each row of x, got {got} beside {rows}")


def panel_frames(samples: Any, who: str, what: str) -> tuple[Any, tuple[str, ...] | None]:
    """Samples of a panel as arrays, and the names of their columns where they are frames.

    Args:
        samples: anything that `Sequence.panel` takes; frames in a list are samples, a single one has a row a sample.
        who: how messages begin.
        what: `"x"` or `"y"`.

    Raises:
        DataError: frames of different columns, or one that is no panel.
    """
    if is_frame(samples):
        if what == "x":
            raise DataError(
                f"{who} expects x as an array of samples or a list of frames, got one frame; a table of several series "
                f"is Sequence(x, series_id='...')"
            )
        table = Frame(samples, who, what)
        values = table.numbers(table.names)
        return (values[:, 0] if table.single else values), None
    if not isinstance(samples, list | tuple) or not any(map(is_frame, samples)):
        return samples, None
    frames = [Frame(sample, who, f"sample {place} of {what}") for place, sample in enumerate(samples)]
    first = frames[0]
    for place, frame in enumerate(frames):
        if frame.names != first.names:
            raise DataError(
                f"{who} expects the same columns in each sample of {what}, got {', '.join(frame.names)} in sample "
                f"{place} and {', '.join(first.names)} in sample 0; say sample[{first.names}]"
            )
    return [frame.numbers(frame.names) for frame in frames], tuple(first.names) if first.named else None
