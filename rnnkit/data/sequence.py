"""`Sequence`: rows, their targets, and the segments through which state may flow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from rnnkit.checks import is_number
from rnnkit.data.columns import Column, Columns, Opened, Wanted
from rnnkit.data.frames import Named, given_source, panel_frames
from rnnkit.data.mapped import packed, unpacked
from rnnkit.data.order import Timed, in_order
from rnnkit.data.panel import panel_rows
from rnnkit.data.parts import By, PartRows, Whole, split_rows
from rnnkit.data.readers import open_source
from rnnkit.data.scaling import Standard
from rnnkit.data.segments import Gap, Segment, find_runs
from rnnkit.data.series import BySeries
from rnnkit.data.source import SeriesRows, Source
from rnnkit.data.textfile import text_stem
from rnnkit.data.textoptions import Lines, Markers, TextOptions
from rnnkit.errors import DataError, counted

PIECE = 8192
"""Rows that `take` gathers, scales and converts at a time: temporaries this small are reused."""

Missing = Literal["refuse", "cut"]
Short = Literal["refuse", "drop"]
Score = Literal["all", "last"]


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Sequence:
    """Rows x with targets y, in segments: contiguous runs of rows through which state may flow.

    With `horizon=h` the target of row t is what stands h rows later, and each segment ends h rows before its
    run does, so that no target crosses a boundary. The rows stay where they are: a sequence reads slices of
    its source when asked and holds no copy. Every value is looked at once, slice by slice, when it is made.

    Args:
        x: inputs `(N, F)` or `(N,)`: an array, a memmap, or anything with `.shape` and slices `x[a:b]`; or a frame or
            a column of pandas, polars or pyarrow, whose names are kept. An index of times of pandas is `time`.
        y: targets `(N, O)` or `(N,)` of the same kind, or None to forecast columns of x. One axis of integers
            counts as labels: classes from 0, handed out as int64 without a last axis and never scaled.
        horizon: h, in rows; left out, 1 to forecast x and 0 where y is given.
        target: the column or columns of x to forecast, by number, or in a frame by name; left out, the only one. Of
            several columns, or at horizon 0, there is no target then: such a sequence can be predicted for, but not
            trained or scored on. At horizon 0 a column that is named is no feature.
        segments: `[(start, stop), ...]`, runs of rows in order and without overlap; left out, one run of all
            rows, or as time says. Rows outside are never used and may hold anything.
        time: `(N,)` numbers or dates (datetime64, datetime objects, text), or a column of a frame by name, which is
            then no input; cuts wherever it steps back, and at steps larger than `gap`.
        gap: the largest step in time within a segment: in the unit of time, or for dates in seconds, as text
            such as `"30min"`, `"1h"`, `"2d"`, or a timedelta. Left out, no step forward is too large.
        missing: what to do with NaN and with a row that has no time: `"refuse"`, or `"cut"`: the row is in no run, and
            state stops before it.
        name: for messages and plots.
        short: what to do with a run of h rows or fewer: `"refuse"`, or `"drop"`.
        score: which rows count in losses and errors: `"all"`, or the `"last"` one of each segment (many to one).
        series_id: `(N,)` text or whole numbers that name the series of each row, or a column of a frame by name, which
            is then no input. Each series is a segment at least, in order of first appearance.
        time_format: how the times are written: as `datetime.strptime` has it, `"%d/%m/%Y %H:%M"` (a time of day,
            seconds and a zone may follow where it ends before them); `"s"`, `"ms"`, `"us"` or `"ns"` for numbers
            counted from 1970; `"number"` for what only looks like dates. Left out, the one reading that fits all.
        zone: of the clocks that times without a zone were read from, such as `"Europe/Berlin"`, so that the hour that
            comes twice in October and the one that is skipped in March neither cut nor double. Times with a zone go out
            in it.
        sort: True sorts the rows of each series by time. Left out, rows in no order are refused, and steps back and
            equal times are told; False uses them as they stand, without a word.

    Attributes:
        name: as given.
        horizon: h.
        scaler: the `Standard` through which the rows are seen, or None.
        runs: `(S, 3)` int64, the run of each segment: the first row that a warm-up may read (before `start`
            in a part that `split` made), start, and stop, before the last h rows are taken off.
        times: `(N,)` the time of each row of the source, numbers or datetime64 (of UTC where there is a zone), or None.
        zone: what the times came in and are written in: an IANA name, `"UTC"`, an offset such as `"+02:00"`, or None.
        score: as given.
        numbers: `(S,)` int64, the place of each segment among those of the whole sequence, of which this may be a part.
        weight: what each row counts in losses and gradients, see `with_weight`.

    Raises:
        DataError: rows, targets, segments or times that cannot be used; the message says which, and where.

    Example:
        >>> import numpy as np
        >>> import rnnkit as rk
        >>> rk.Sequence(np.arange(10.0), segments=[(0, 4), (4, 10)], name="counts")
        Sequence('counts': 8 rows in 2 segments, 1 feature -> 1 target, horizon 1)
    """

    name: str
    horizon: int
    runs: np.ndarray
    scaler: Standard | None
    times: np.ndarray | None
    zone: str | None
    numbers: np.ndarray
    score: Score
    weight: float
    _source: Source
    _extent: np.ndarray

    def __init__(
        self,
        x: Any,
        y: Any = None,
        *,
        horizon: int | None = None,
        target: Column | Columns | None = None,
        segments: Any = None,
        time: Any = None,
        gap: Gap | None = None,
        missing: Missing = "refuse",
        name: str = "series",
        short: Short = "refuse",
        score: Score = "all",
        series_id: Any = None,
        time_format: str | None = None,
        zone: str | None = None,
        sort: bool | None = None,
    ) -> None:
        horizon = int(y is None) if horizon is None else horizon
        opened = given_source(x, y, Named(target, time, series_id, horizon, time_format, zone), name)
        if opened.ids is not None:
            gathered = BySeries(opened.source, opened.times, opened.ids, opened.clock).of()
            opened = Opened(gathered.source, gathered.times, clock=gathered.clock)
        timed = in_order(opened, sort, missing, cut=gap is not None or segments is not None, origin=x)
        cut_by = None if time is None and segments is not None else timed.times  # pandas' index stands aside
        runs = _frozen(find_runs(timed.source, horizon, segments, cut_by, gap, missing, short))
        self._set(name, horizon, runs, timed, score)

    @classmethod
    def panel(
        cls,
        x: Any,
        y: Any = None,
        *,
        horizon: int | None = None,
        score: Score | None = None,
        missing: Missing = "refuse",
        name: str = "panel",
    ) -> Sequence:
        """Many samples as one sequence, a segment a sample: state never flows from one to the next.

        Args:
            x: samples `(S, T, F)` or `(S, T)`, an array (not copied if contiguous) or a memmap; or a list of S arrays
                or frames `(T, F)` or `(T,)`, each with its own T (copied end to end).
            y: by sample, `(S,)` (integers are labels) or `(S, O)`; by row, like x; or None to forecast x.
            horizon: h, in rows; left out, 1 to forecast x and 0 where y is given; 0 without y for no targets.
            score: which rows count; left out, the `"last"` of each sample where y is by sample, else `"all"`.
            missing: what to do with NaN in a row, as for `Sequence`; `"cut"` makes several segments of a sample.
            name: for messages and plots.

        Raises:
            DataError: samples or targets that do not fit.

        Example:
            >>> import numpy as np, rnnkit as rk
            >>> rk.Sequence.panel([np.zeros(5), np.ones(7), np.zeros(4)], y=[0, 1, 0])
            Sequence('panel': 16 rows in 3 segments, 1 feature -> 1 label, horizon 0)
        """
        who = f"panel {name!r}"
        (x, names), (y, targets) = panel_frames(x, who, "x"), panel_frames(y, who, "y")
        rows = panel_rows(x, y, who)
        chosen = ("last" if rows.by_sample else "all") if score is None else score
        target = tuple(range(rows.x.shape[1])) if y is None and horizon != 0 else None
        made = cls(
            rows.x,
            rows.y,
            horizon=horizon,
            target=target,
            segments=rows.segments,
            missing=missing,
            name=name,
            score=chosen,
        )
        if names is None and targets is None:
            return made
        targets = names if y is None and made.outputs else targets
        return made._with(_source=replace(made._source, feature_names=names, target_names=targets))

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        time: Column | Columns | None = None,
        features: Columns | None = None,
        target: Column | Columns | None = None,
        horizon: int = 1,
        segments: Any = None,
        gap: Gap | None = None,
        missing: Missing = "refuse",
        name: str | None = None,
        short: Short = "refuse",
        score: Score = "all",
        array: str | None = None,
        series_id: Column | None = None,
        only: str | int | list[str] | list[int] | tuple[str, ...] | tuple[int, ...] | None = None,
        memmap: str | os.PathLike[str] | None = None,
        time_format: str | None = None,
        zone: str | None = None,
        sort: bool | None = None,
        separator: str | None = None,
        decimal: str | None = None,
        encoding: str | None = None,
        na: Markers | str | float | None = None,
        header: bool | list[str] | tuple[str, ...] | None = None,
        comment: str | None = None,
        skip: Lines | None = None,
    ) -> Sequence:
        """Read a file: text such as `.csv` (into memory), `.npy` (as a memmap), and chunk by chunk `.parquet`,
        `.arrow`, `.feather`, `.h5`, `.hdf5` and `.zarr`.

        Text files end in `.csv`, `.tsv`, `.tab`, `.txt` or `.dat`, and after that in `.gz`, `.bz2` or `.xz` where they
        are packed. How one is written is found out, and told in one line where it is not the ordinary way (commas,
        decimal points, UTF-8, a line of names); the options that the line names say so and silence it. Where it can be
        read in two ways it is refused.

        Args:
            path: the file.
            time: the column that holds times: numbers or text, see `time_format`; or several, such as that of the date
                and that of the hour, whose cells are joined by a blank.
            features: the columns of x; left out, every column but time and series_id, and at horizon 0 but the target.
            target: the column or columns to predict; left out, the only feature. Of several features, at horizon 0,
                or where this is `[]`, there is no target: such a sequence can be predicted for, but not trained or
                scored on. At horizon 0, one that is no feature and holds whole numbers from 0 (but for CSV: of an
                integer type) counts as labels.
            horizon, segments, gap, missing, short, score, time_format, zone, sort: as for `Sequence`. Whole numbers
                that all lie from 1985 to 2032 if they count from 1970, or that are dates (`20200125`), are times.
            name: left out, the file's name without its suffix.
            array: of HDF5 and Zarr, the path of an array `(N, F)` or `(N,)`, or of a group of arrays `(N,)` that are
                the columns of a table; left out, the file's only array, or the table that the file is.
            series_id: the column that names the series of each row, text or whole numbers. Each series is a segment
                at least, in order of first appearance; its rows may be scattered over the file, which is fastest to
                read where they stand together. It is no feature unless `features` names it.
            only: the id or ids of the series to read, see `rnnkit.data.series_ids`; left out, all of them.
            memmap: a folder for a text file larger than memory: it is converted once to `.npy` there, in little
                memory, and read from there until it changes.
            separator: of a text file, the character between cells; `" "` stands for any number of blanks.
            decimal: the decimal mark, `"."` or `","`; the other one, blanks and apostrophes may part thousands.
            encoding: what it is written in: `"utf-8"`, `"cp1252"`, `"utf-16"`, any name that Python knows.
            na: cells that are missing values, text or numbers: `["?", -999]`; beside empty ones and NA, N/A, NaN, nan,
                null, NULL and None.
            header: False where no line of names stands above the rows; or the names.
            comment: what lines begin with that are no rows.
            skip: how many lines stand above the header; or a list of lines, from 1, that are no rows.

        Columns are names; in an array, and in text without a header, whole numbers from 0. A column without a name that
        is empty is none, nor is one that counts the rows.

        Raises:
            SourceError: a file that is not there, of an unknown kind, or that cannot be read.
            DataError: a file, a column or a value that cannot be used; with the line of a CSV file.

        Example:
            >>> import rnnkit as rk
            >>> rk.Sequence.open("examples/data/nyc_taxi.csv", time="timestamp", target="value")
            Sequence('nyc_taxi': 10,319 rows in 1 segment, 1 feature -> 1 target, horizon 1)
        """
        file = Path(path)
        written = {"separator": separator, "decimal": decimal, "encoding": encoding, "na": na}
        written |= {"header": header, "comment": comment, "skip": skip}
        text = TextOptions.checked(repr(str(file)), written)
        wanted = Wanted(time, features, target, horizon, series_id, time_format, zone, text, sort)
        opened = open_source(file, wanted, array, only, memmap)
        timed = in_order(opened, sort, missing, cut=gap is not None or segments is not None, origin=file)
        runs = _frozen(find_runs(timed.source, horizon, segments, timed.times, gap, missing, short))
        series = object.__new__(cls)
        series._set(text_stem(file) if name is None else name, horizon, runs, timed, score)
        return series

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "times": packed(self.times)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, times=unpacked(state["times"]))

    def __repr__(self) -> str:
        targets = "label" if self.labels else "target"
        told = f" -> {_count(self.outputs, targets)}, horizon {self.horizon}" if self.outputs else ", no target"
        series = "" if self.series_count is None else f" of {self.series_count:,} series"
        return (
            f"Sequence({self.name!r}: {_count(len(self), 'row')} in {_count(len(self.runs), 'segment')}{series}, "
            f"{_count(self.features, 'feature')}{told})"
        )

    def __len__(self) -> int:
        """Rows with a target, or all of a sequence without: the sum of the segments' lengths."""
        return int(self.lengths.sum())

    @property
    def rows(self) -> int:
        """Rows of the source, N."""
        return self._source.x.shape[0]

    @property
    def left_out(self) -> int:
        """Rows that are in no segment: of the source, or for a part that `split` made, of its own range of rows
        in each series.

        The last h rows of each run, rows with a missing value, runs of h rows or fewer, rows outside `segments`. What
        lies between two parts belongs to the earlier one.
        """
        return int((self._extent[:, 1] - self._extent[:, 0]).sum()) - len(self)

    @property
    def features(self) -> int:
        """Columns of x, F."""
        return self._source.x.shape[1]

    @property
    def outputs(self) -> int:
        """Columns of y, O; 1 for labels, 0 where there is no target."""
        return self._source.outputs

    @property
    def labels(self) -> bool:
        """Whether the targets are integer classes."""
        return self._source.labels

    @property
    def target_columns(self) -> tuple[int, ...] | None:
        """The columns of x that the targets are, or None where they stand apart from x; `()` without targets."""
        return self._source.target_columns

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """What the file calls the columns of x; None where the sequence was made of arrays."""
        return self._source.feature_names

    @property
    def target_names(self) -> tuple[str, ...] | None:
        """What the file calls the columns of y; None where the sequence was made of arrays or has no targets."""
        return self._source.target_names

    @property
    def series_ids(self) -> tuple[str, ...] | None:
        """The series that each segment belongs to; None without `series_id`."""
        return None if self._source.series is None else self._source.series.named(self.starts)

    @property
    def series_count(self) -> int | None:
        """How many series have rows in it; None without `series_id`."""
        table = self._source.series
        return None if table is None else len(np.unique(np.searchsorted(table.edges, self.starts, side="right")))

    @property
    def table(self) -> SeriesRows | None:
        """Which rows of the source belong to which series; None without `series_id`."""
        return self._source.series

    @property
    def tail(self) -> int:
        """Rows at the end of each run that have no target: h, or none of a sequence without targets."""
        return self.horizon if self.outputs else 0

    @cached_property
    def starts(self) -> np.ndarray:
        """First row of each segment, `(S,)` int64."""
        return _frozen(self.runs[:, 1])

    @cached_property
    def lengths(self) -> np.ndarray:
        """Rows of each segment, `(S,)` int64."""
        return _frozen(self.runs[:, 2] - self.runs[:, 1] - self.tail)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """Start and stop of each segment: the rows that have a target."""
        return tuple(map(Segment, self.starts.tolist(), (self.starts + self.lengths).tolist()))

    @property
    def counted(self) -> int:
        """Rows that count in losses and errors."""
        return len(self) if self.score == "all" else len(self.runs)

    def row_slices(self, size: int) -> Iterator[np.ndarray]:
        """The rows of all segments in order, at most `size` at a time, `(n,)` int64 each."""
        before = np.cumsum(self.lengths) - self.lengths
        for start in range(0, len(self), size):
            index = np.arange(start, min(start + size, len(self)))
            segment = np.searchsorted(before, index, side="right") - 1
            yield index - before[segment] + self.starts[segment]

    def scored(self, rows: np.ndarray) -> np.ndarray:
        """Which rows `(...)` of the source count in losses and errors: those of segments, or the last of each."""
        segment = np.searchsorted(self.starts, rows, side="right") - 1
        stop = (self.starts + self.lengths)[segment]
        return (segment >= 0) & ((rows < stop) if self.score == "all" else (rows == stop - 1))

    def take(self, rows: np.ndarray, dtype: DTypeLike = np.float32) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of any rows, scaled: new arrays.

        Args:
            rows: integers of any shape `(...)`, rows of the source; -1 is padding and gives zeros.
            dtype: of x and y.

        Returns:
            x `(..., F)` and y `(..., O)`, or labels `(...)` int64. Whether a row lies in a segment is not
            asked; one with nothing h rows later gets a target of zero.

        Raises:
            DataError: a row that the source does not have.
        """
        rows = np.asarray(rows)
        low, high = (int(rows.min()), int(rows.max())) if rows.size else (0, -1)
        if low < -1 or high >= self.rows:
            raise DataError(
                f"sequence {self.name!r} has rows 0 to {self.rows - 1} (-1 is padding), got {low} to {high}"
            )
        flat = rows.reshape(-1)
        x = np.empty((flat.size, self.features), dtype)
        y = np.empty(flat.size, np.int64) if self.labels else np.empty((flat.size, self.outputs), dtype)
        piece = PIECE if self._source.indexable else max(flat.size, 1)
        for start in range(0, flat.size, piece):
            part = slice(start, start + piece)
            self._fill(flat[part], x[part], y[part])
        return x.reshape(*rows.shape, self.features), y.reshape(*rows.shape, *y.shape[1:])

    def stored(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inputs `(n, F)` and targets `(n, O)` of rows `(n,)` that have a target, as their source holds them."""
        return self._source.pairs(rows, rows + self.tail)

    @property
    def places(self) -> tuple[str, ...]:
        """What messages call the columns of x, and then those of y that are none of them."""
        return self._source.columns + self._source.targets

    def read_x(self, start: int, stop: int, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Inputs of rows start to stop, scaled: a new array `(stop - start, F)`; rows need no target.

        Raises:
            DataError: rows that the source does not have.
        """
        self._check_range(start, stop)
        return self._scaled_x(self._source.x.read(start, stop), dtype)

    def read_y(self, start: int, stop: int, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Targets of rows start to stop, as `take` gives them: a new array.

        Raises:
            DataError: rows that the source does not have.
        """
        self._check_range(start, stop)
        first, last = min(start + self.horizon, self.rows), min(stop + self.horizon, self.rows)
        y = self._scaled_y(self._source.values(first, last), dtype)
        absent = stop - start - len(y)
        return np.concatenate((y, np.zeros((absent, *y.shape[1:]), y.dtype))) if absent else y

    def split(
        self, train: float = 0.7, validation: float = 0.15, by: By | None = None
    ) -> tuple[Sequence, Sequence | None, Sequence | None]:
        """Training, validation and test part: contiguous in time, in that order, views of the same source.

        A table of several series is parted in time in every series, each with its own sizes.

        Args:
            train, validation: fractions of the runs' rows (float), or numbers of rows (int), of each series; the test
                part gets the rest.
            by: `"series"` to part by whole series in their order, of which the sizes are fractions or numbers then;
                `"time"` to hear nothing of series that are too short.

        Returns:
            The three parts; None for one of no rows. With `score="last"` a part holds whole segments: its rows are
            rounded to the nearest end of one. A series too short for a row with a target in each part lies wholly in
            training, which a warning says. Each part's segments end h rows before the part does, so that no target lies
            in the next; a piece of h rows or fewer is left out. `runs[:, 0]` stays the first row of the whole run, so
            that a later part can warm its state over the rows before it.

        Raises:
            DataError: fractions or numbers that do not fit, a part, named, in which no row has a target, or whole
                series of what has no `series_id`.
        """
        training, *others = split_rows(self._whole(self.table), train, validation, by)
        assert training is not None  # it has rows, or sizes are refused
        validating, test = (None if part is None else self._part(part) for part in others)
        return self._part(training), validating, test

    def first_rows(self, rows: int) -> Sequence:
        """The first so many rows of the runs, those of `score="last"` to the nearest end of a segment.

        Raises:
            DataError: more rows than there are, or so few that none has a target.
        """
        (first, *_) = split_rows(self._whole(None), int(rows), 0, None)
        assert first is not None  # it has rows, or the number is refused
        return self._part(first)

    def _whole(self, table: SeriesRows | None) -> Whole:
        who, last = f"sequence {self.name!r}", self.score == "last"
        return Whole(who, self.runs, self._extent, self.horizon, self.tail, last, table)

    def _part(self, part: PartRows) -> Sequence:
        numbers = self.numbers[np.searchsorted(self.starts, part.runs[:, 1], side="right") - 1]
        return self._with(runs=_frozen(part.runs), numbers=_frozen(numbers), _extent=_frozen(part.extent))

    def with_scaler(self, scaler: Standard | None) -> Sequence:
        """View the rows through a scaler; None takes it off. Nothing is copied.

        Raises:
            DataError: a scaler for another number of features or targets.
        """
        if scaler is not None and not self.outputs:
            scaler = scaler.of_inputs()
        if scaler is not None and not isinstance(scaler, Standard):
            raise DataError(
                f"sequence {self.name!r} expects a Standard or None as its scaler, got {type(scaler).__name__}; write "
                f"rk.Standard.fit(training), or give the numbers of another one: rk.Standard(x_mean, x_std, y_mean, "
                f"y_std) with scaled = (value - mean) / std, for a smallest and largest value (x - low) / (high - low)"
            )
        if scaler is not None:
            got = len(scaler.x_mean), len(scaler.y_mean)
            if got not in ((self.features, self.outputs), (self.features, 0)):
                raise DataError(
                    f"sequence {self.name!r} expects a scaler for {counted(self.features, 'feature')} and "
                    f"{counted(self.outputs, 'target')}, got one for {got[0]} and {got[1]}; fit it on this sequence's "
                    f"training part"
                )
        return self._with(scaler=scaler)

    def with_horizon(self, horizon: int) -> Sequence:
        """View the rows, which have no targets, for predictions so many rows ahead.

        Raises:
            DataError: a sequence with targets, whose segments end where they do.
        """
        if self.outputs:
            raise DataError(
                f"with_horizon expects a sequence without targets, {self.name!r} has {self.outputs}; "
                f"open it with horizon={horizon}"
            )
        return self._with(horizon=horizon)

    def expect_target(self, who: str) -> None:
        """Refuse a sequence without targets, and say how to name one.

        Args:
            who: what expects a target.

        Raises:
            DataError: there is none.
        """
        if self.outputs:
            return
        source, count = self._source, self.features
        has = f"{_count(count, 'feature')} and no y"
        give = "give y"
        if source.feature_names is not None:
            shown = ", ".join(source.feature_names[:12]) + (f", ... ({count} in all)" if count > 12 else "")
            likely = source.columns[-1].removeprefix("column ")
            has = f"{_count(count, 'feature')} ({shown})"
            give = f"say which to predict: target={likely}, or a list" if count > 1 else "say target= another column"
        elif count > 1 and self.horizon:
            give = "say which to forecast: target=0, or target=[0, 1]; or give y"
        if count == 1:
            give += " or horizon=1 to forecast this one" if self.horizon == 0 else ", or leave target=[] out"
        raise DataError(f"{who} expects a target in each row, {self.name!r} has none but {has}; {give}")

    def with_name(self, name: str) -> Sequence:
        """Give the rows another name, for messages and plots."""
        return self if name == self.name else self._with(name=name)

    def with_weight(self, weight: float) -> Sequence:
        """Let each row count so much in losses and gradients beside those of other sequences.

        Raises:
            DataError: a weight that is not positive and finite.
        """
        number = is_number(weight)
        if not number or not 0 < weight < np.inf:
            raise DataError(f"sequence {self.name!r} expects a weight above 0, got {weight!r}")
        if not 1e-30 <= weight <= 1e30:  # as float32 it would be none
            raise DataError(f"sequence {self.name!r} expects a weight from 1e-30 to 1e30, got {float(weight):g}")
        return self._with(weight=float(weight))

    @property
    def weights(self) -> np.ndarray | None:
        """What a row of each segment counts, `(S,)`; None where all count 1."""
        return None if self.weight == 1 else np.full(len(self.runs), self.weight)

    def as_numbers(self) -> Sequence:
        """View labels as numbers `(..., 1)`, scaled like any target. Nothing is copied."""
        return self._with(_source=replace(self._source, labels=False)) if self.labels else self

    def _set(self, name: str, horizon: int, runs: np.ndarray, timed: Timed, score: Score) -> None:
        source = timed.source
        edges = np.array([0, source.x.shape[0]]) if source.series is None else source.series.edges
        if score not in ("all", "last"):
            raise DataError(f"{source.who} expects score to be 'all' or 'last', got {score!r}")
        values = {"name": name, "horizon": horizon, "runs": runs, "scaler": None, "score": score}
        values |= {"numbers": _frozen(np.arange(len(runs)))}
        values |= {"times": timed.times, "zone": timed.zone}
        self.__dict__.update(values, weight=1.0, _source=source, _extent=_frozen(np.stack((edges[:-1], edges[1:]), 1)))

    def _with(self, **changes: Any) -> Sequence:
        series = object.__new__(type(self))
        series.__dict__.update({field.name: getattr(self, field.name) for field in fields(self)} | changes)
        return series

    def _fill(self, rows: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        """Write inputs and targets of rows `(n,)` into x `(n, F)` and y `(n, O)`, or labels `(n,)`."""
        padded, last = int(rows.min()) < 0, int(rows.max()) + self.horizon >= self.rows  # most pieces are neither
        inside = np.maximum(rows, 0) if padded else rows
        later = np.minimum(inside + self.horizon, self.rows - 1) if last else inside + self.horizon
        raw_x, raw_y = self._source.pairs(inside, later)
        x[...] = raw_x if self.scaler is None else self.scaler.scale_x(raw_x)
        y[...] = self._scaled_y(raw_y, y.dtype)
        if padded:
            x[rows < 0] = 0
            y[rows < 0] = 0
        if last:
            y[rows + self.horizon >= self.rows] = 0

    def _check_range(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.rows:
            raise DataError(f"sequence {self.name!r} has rows 0 to {self.rows}, got [{start}:{stop}]")

    def _scaled_x(self, x: np.ndarray, dtype: DTypeLike) -> np.ndarray:
        return np.array(x if self.scaler is None else self.scaler.scale_x(x), dtype)

    def _scaled_y(self, y: np.ndarray, dtype: DTypeLike) -> np.ndarray:
        if self.labels:
            return np.array(y[..., 0], np.int64)
        return np.array(y if self.scaler is None else self.scaler.scale_y(y), dtype)


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array, np.int64)
    array.flags.writeable = False
    return array


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
