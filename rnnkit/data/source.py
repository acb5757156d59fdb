"""Where rows come from: an array in memory or on disk, or anything that slices; read in pieces, never held.

A `Source` is rows of x, the rows or columns that hold the targets, and the names by which messages call them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np

from rnnkit.checks import is_masked_array, is_whole
from rnnkit.data.mapped import Mapping, mapping, packed, unpacked
from rnnkit.errors import DataError, counted

SLICE = 65_536
"""The most rows that are read in one slice."""


class Rows(Protocol):
    """N rows of F numbers that can be read in slices and gathered by index."""

    @property
    def shape(self) -> tuple[int, int]:
        """`(N, F)`."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the numbers."""
        ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop, `(stop - start, F)`; may be a view."""
        ...

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(...)`, each in 0 ... N-1, as a new array `(..., F)`."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayRows:
    """Rows of a NumPy array or memmap, `(N, F)`."""

    array: np.ndarray

    def __reduce__(self) -> Any:
        return _array_rows, (packed(self.array),)

    @property
    def shape(self) -> tuple[int, int]:
        """`(N, F)`."""
        return self.array.shape[0], self.array.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the array."""
        return self.array.dtype

    @cached_property
    def _mapping(self) -> Mapping | None:
        return mapping(self.array)

    def read(self, start: int, stop: int) -> np.ndarray:
        """A view of rows start to stop."""
        if self._mapping is not None:
            self._mapping.check()
        return self.array[start:stop]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(...)` as a new array `(..., F)`."""
        if self._mapping is not None:
            self._mapping.check()
        flags = self.array.flags
        if flags.c_contiguous and flags.aligned:
            return self.array.take(rows, axis=0)
        return self.array[rows]  # `take` would first copy the whole of a strided array


def _array_rows(sent: Any) -> ArrayRows:
    return ArrayRows(unpacked(sent))


@dataclass(frozen=True, eq=False)
class PickedRows:
    """Some columns of other rows, in any order; nothing is copied before it is read."""

    rows: Rows
    columns: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """`(N, F)`."""
        return self.rows.shape[0], len(self.columns)

    @property
    def dtype(self) -> np.dtype:
        """The type of the other rows' numbers."""
        return self.rows.dtype

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop, `(stop - start, F)`, as a new array."""
        return self.rows.read(start, stop)[:, self.columns]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(...)` as a new array `(..., F)`."""
        return self.rows.take(rows)[..., self.columns]


@dataclass(frozen=True, eq=False)
class SlicedRows:
    """Rows of anything with `[start:stop]`; read in as few slices as possible, none above `SLICE` rows."""

    source: Any
    shape: tuple[int, int]
    dtype: np.dtype
    who: str

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop, `(stop - start, F)`."""
        cuts = [*range(start, stop, SLICE), stop]
        parts = [self._slice(a, b) for a, b in pairwise(cuts)]
        if not parts:
            return np.empty((0, self.shape[1]), self.dtype)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(...)` as a new array `(..., F)`; each row that is asked for is read once."""
        wanted, where = np.unique(rows, return_inverse=True)
        pieces = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1)
        parts = [self.read(int(piece[0]), int(piece[-1]) + 1) for piece in pieces if piece.size]
        block = np.concatenate(parts) if parts else self.read(0, 0)
        return block[where.reshape(rows.shape)]

    def _slice(self, start: int, stop: int) -> np.ndarray:
        block = np.asarray(self.source[start:stop])
        if block.shape[0] != stop - start or block.size != (stop - start) * self.shape[1]:
            raise DataError(
                f"{self.who} expects a source of shape {self.shape} to give {counted(stop - start, 'row')} for "
                f"[{start}:{stop}], got an array of shape {block.shape}; make shape and slices agree"
            )
        return block.reshape(stop - start, self.shape[1])


@dataclass(frozen=True, eq=False)
class GatheredRows:
    """Some rows of others, in any order; nothing is copied."""

    rows: Rows
    index: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """`(N, F)`."""
        return len(self.index), self.rows.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the rows that these are taken from."""
        return self.rows.dtype

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop, `(stop - start, F)`, as a new array."""
        return self.rows.take(self.index[start:stop])

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(...)` as a new array `(..., F)`."""
        return self.rows.take(self.index[rows])


class BySample(NamedTuple):
    """Targets of samples that stand end to end, once for each sample.

    Attributes:
        values: `(S,)` or `(S, O)`, real numbers that are finite.
        edges: `(S + 1,)`, the row at which each sample begins, and N.
    """

    values: np.ndarray
    edges: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """`(N,)` or `(N, O)`, as if they stood at each row."""
        return int(self.edges[-1]), *self.values.shape[1:]


@dataclass(frozen=True, eq=False)
class SampleRows:
    """Rows that are alike within each sample: stored once a sample, repeated where they are read."""

    rows: Rows
    edges: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """`(N, F)`."""
        return int(self.edges[-1]), self.rows.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """The type of the numbers."""
        return self.rows.dtype

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop, `(stop - start, F)`, as a new array."""
        return self.take(np.arange(start, stop))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(...)` as a new array `(..., F)`."""
        return self.rows.take(np.searchsorted(self.edges, rows, side="right") - 1)


class SeriesRows(NamedTuple):
    """Which rows of a source belong to which of several series.

    Attributes:
        names: the S series, whose rows stand one after the other.
        edges: `(S + 1,)`, the row at which each begins, and N.
    """

    names: tuple[str, ...]
    edges: np.ndarray

    def named(self, rows: np.ndarray) -> tuple[str, ...]:
        """The series of some rows."""
        return tuple(self.names[place] for place in np.searchsorted(self.edges, rows, side="right") - 1)


@dataclass(frozen=True, eq=False)
class Source:
    """Inputs, targets, and how messages name them.

    Attributes:
        x: the inputs, `(N, F)`.
        y: the targets `(N, O)`, or None where they are columns of x, or there are none.
        target_columns: those columns of x, none of them where there are no targets, or None where y is given.
        labels: the targets are integer classes, one a row.
        who: how messages begin, such as `"sequence 'series'"` or a file's name.
        columns: names of the columns of x.
        targets: names of the columns of y.
        lines: `(N,)` line of each row in its file, or None.
        feature_names, target_names: what a file calls its columns; None for arrays, and for no targets.
        series: which rows belong to which series, or None.
        file_rows: `(N,)` the row of the file that each row is, or None where they stand as in it, or have lines.
    """

    x: Rows
    y: Rows | None
    target_columns: tuple[int, ...] | None
    labels: bool
    who: str
    columns: tuple[str, ...]
    targets: tuple[str, ...] = ()
    lines: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None
    target_names: tuple[str, ...] | None = None
    series: SeriesRows | None = None
    file_rows: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "lines": packed(self.lines)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, lines=unpacked(state["lines"]))

    @property
    def outputs(self) -> int:
        """Columns of the targets, O; 0 where there are none."""
        return len(self.target_columns) if self.y is None else self.y.shape[1]  # pyright: ignore[reportArgumentType]

    @property
    def indexable(self) -> bool:
        """Whether rows are gathered by index, so that asking for them in pieces costs no second reading."""
        return all(_is_indexed(rows) for rows in (self.x, self.y) if rows is not None)

    def pairs(self, rows: np.ndarray, later: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x of `rows` and the targets' values of the rows `later`: new arrays `(..., F)` and `(..., O)`."""
        if self.y is not None:
            return self.x.take(rows), self.y.take(later)
        if self.indexable:
            return self.x.take(rows), self._columns(self.x.take(later))
        x, y = self.x.take(np.stack((rows, later)))  # read once what both need
        return x, self._columns(y)

    def values(self, start: int, stop: int) -> np.ndarray:
        """The targets' values of rows start to stop, `(stop - start, O)`; may be a view."""
        return self._columns(self.x.read(start, stop)) if self.y is None else self.y.read(start, stop)

    def place(self, row: int, column: str) -> str:
        """Where a value stands, for messages."""
        return f"{self.who}, {self.rows_named(row)}, {column}"

    def rows_named(self, start: int, stop: int | None = None) -> str:
        """One row or several, as a message calls them: by their lines, or as they stand in the file."""
        numbers = self.file_rows if self.lines is None else self.lines
        noun = "row" if self.lines is None else "line"
        last = start if stop is None else stop - 1
        first_number, last_number = (row if numbers is None else int(numbers[row]) for row in (start, last))
        if first_number == last_number:
            return f"{noun} {first_number}"
        apart = last_number - first_number > last - start  # those of other series stand between them
        return f"{noun}s {first_number} {'...' if apart else 'to'} {last_number}"

    def _columns(self, block: np.ndarray) -> np.ndarray:
        columns = self.target_columns
        return block if columns == tuple(range(self.x.shape[1])) else block[..., columns]


def _is_indexed(rows: Rows) -> bool:
    while isinstance(rows, GatheredRows | PickedRows | SampleRows):
        rows = rows.rows
    return isinstance(rows, ArrayRows)


def as_rows(values: Any, who: str, what: str) -> Rows:
    """Rows of an array, a memmap, or anything with `.shape` and slices; `(N,)` counts as `(N, 1)`.

    Raises:
        DataError: no row, no column, more than two axes, or something other than real numbers.
    """
    if isinstance(values, BySample):
        return SampleRows(as_rows(values.values, who, what), values.edges)
    if not hasattr(values, "shape"):
        try:
            values = np.asarray(values)
        except ValueError as error:
            raise DataError(f"{who} expects {what} as an array, got rows of different lengths") from error
    if getattr(values, "requires_grad", False):
        raise DataError(f"{who} expects {what} as plain numbers, got a tensor that requires grad; write x.detach()")
    if is_masked_array(values):
        if values.dtype.kind in "biu" and values.mask.any():
            values = values.astype(float)
        values = values.filled(np.nan) if values.mask.any() else np.asarray(values)
    shape = tuple(int(size) for size in values.shape)
    if len(shape) not in (1, 2):
        raise DataError(f"{who} expects {what} of shape (N,) or (N, F), got {shape}; give one row a time step")
    if 0 in shape:
        raise DataError(f"{who} expects {what} with at least one row and one column, got shape {shape}")
    array = isinstance(values, np.ndarray)
    dtype = values.dtype if array else np.asarray(values[0:1]).dtype
    if dtype.kind not in "biuf":
        raise DataError(f"{who} expects {what} to be real numbers, got dtype {dtype}; convert it: .astype(float)")
    width = shape[1] if len(shape) == 2 else 1
    if not array:
        return SlicedRows(values, (shape[0], width), dtype, who)
    plain = np.asarray(values)  # a memmap as a plain view of its pages: indexing a subclass costs more
    return ArrayRows(plain.reshape(-1, 1) if plain.ndim == 1 else plain)


def array_source(x: Any, y: Any, target: int | list[int] | tuple[int, ...] | None, name: str, horizon: Any) -> Source:
    """The source of `Sequence(x, y, target=..., horizon=...)`; at horizon 0 the targets are no features."""
    who = f"sequence {name!r}"
    x_rows = as_rows(x, who, "x")
    columns = tuple(f"column {column} of x" for column in range(x_rows.shape[1]))
    if y is None:
        chosen = _target_columns(target, x_rows.shape[1], who, horizon)
        if horizon != 0 or not chosen:
            return Source(x_rows, None, chosen, False, who, columns)
        others = tuple(column for column in range(x_rows.shape[1]) if column not in chosen)
        if not others:
            raise DataError(
                f"{who} has no column left to predict target={target!r} from at horizon 0, where a target is no "
                f"feature; say horizon=1 to forecast it, or give it apart: Sequence(x, y)"
            )
        features, targets = (PickedRows(x_rows, picked) for picked in (others, chosen))
        read, wanted = (tuple(columns[column] for column in picked) for picked in (others, chosen))
        return Source(features, targets, None, False, who, read, wanted)
    if target is not None:
        raise DataError(f"{who} takes its targets from y or from target={target!r} of x, got both; leave one out")
    y_rows = as_rows(y, who, "y")
    if y_rows.shape[0] != x_rows.shape[0]:
        raise DataError(
            f"{who} expects one row of y for each row of x, got {counted(x_rows.shape[0], 'row')} of x and "
            f"{y_rows.shape[0]} of y; cut both to the same rows"
        )
    targets = tuple(f"column {column} of y" for column in range(y_rows.shape[1]))
    labels = len(y.shape) == 1 if hasattr(y, "shape") else np.ndim(y) == 1
    return Source(x_rows, y_rows, None, labels and y_rows.dtype.kind in "iu", who, columns, targets)


def check_values(source: Source, runs: np.ndarray, missing: str) -> np.ndarray:
    """Look at every value of the runs, slice by slice.

    Args:
        source: what to look at.
        runs: `(R, 2)` start and stop of the runs; rows outside them may hold anything.
        missing: `"refuse"`, or `"cut"` to hand back the rows with a missing value.

    Returns:
        The rows, ascending, in which a value of x or of the targets is missing.

    Raises:
        DataError: a missing value under `"refuse"`, an infinite value, or a negative label, with its place.
    """
    rows = source.x.shape[0]
    found = [np.empty(0, np.int64)]
    for start in range(0, rows, SLICE):
        stop = min(start + SLICE, rows)
        for block, names, labels in _blocks(source, start, stop):
            wrong = ~np.isfinite(block)
            if labels:
                wrong |= block < 0
            if not wrong.any():
                continue
            wrong &= _inside(runs, start, stop)[:, None]
            fatal = wrong if missing == "refuse" else wrong & ~np.isnan(block)
            if fatal.any():
                row, column = np.argwhere(fatal)[0]
                place, value = source.place(start + int(row), names[column]), float(block[row, column])
                raise DataError(f"{place}: {_missing(source, runs) if np.isnan(value) else _complaint(value)}")
            found.append(np.flatnonzero(wrong.any(1)) + start)
    wrong = np.concatenate(found)
    return np.unique(wrong) if len(wrong) else wrong


def _blocks(source: Source, start: int, stop: int) -> Iterator[tuple[np.ndarray, tuple[str, ...], bool]]:
    yield source.x.read(start, stop), source.columns, False
    if source.y is not None and not isinstance(source.y, SampleRows):  # those were looked at once a sample
        yield source.y.read(start, stop), source.targets, source.labels


def _inside(runs: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Which of the rows start to stop lie in a run, bool `(stop - start,)`."""
    rows = np.arange(start, stop)
    run = np.searchsorted(runs[:, 0], rows, side="right") - 1
    return (run >= 0) & (rows < runs[run, 1])


def _missing(source: Source, runs: np.ndarray) -> str:
    """What to say of the first missing value: how many there are."""
    cells = rows = 0
    names = source.columns + (source.targets if source.y is not None else ())
    of_column = np.zeros(len(names), np.int64)
    for start in range(0, source.x.shape[0], SLICE):
        stop = min(start + SLICE, source.x.shape[0])
        missing = np.concatenate([np.isnan(block) for block, _, _ in _blocks(source, start, stop)], axis=1)
        missing &= _inside(runs, start, stop)[:, None]
        cells, rows = cells + int(missing.sum()), rows + int(missing.any(1).sum())
        of_column += missing.sum(0)
    whole = int((runs[:, 1] - runs[:, 0]).sum())
    empty = [name for name, count in zip(names, of_column, strict=True) if count == whole]
    if empty and whole > 1:
        return (
            f"the value is missing, as in every row of {', '.join(empty)}; leave that column out, in a file with "
            f"features=[...] (missing='cut' would leave no row)"
        )
    if cells == 1:
        return "the value is missing; fill it in, or end the segment there with missing='cut'"
    where = f"in {counted(rows, 'row')}" if rows > 1 else "in this row"
    return f"the value is missing, one of {cells:,} {where}; fill them in, or end the segments there with missing='cut'"


def _complaint(value: float) -> str:
    if np.isinf(value):
        return "the value is infinite; correct it, or mark it as missing (NaN, an empty cell) and say missing='cut'"
    return f"the label is {value:.0f}; labels count from 0, so renumber them, or give y as floats"


def _target_columns(
    target: int | list[int] | tuple[int, ...] | None, features: int, who: str, horizon: Any
) -> tuple[int, ...]:
    """The columns of x that are forecast: those named, or the only one; none at horizon 0, or where none is said."""
    if target is None:
        return (0,) if features == 1 and horizon != 0 else ()
    columns = tuple(target) if isinstance(target, list | tuple) else (target,)
    whole = all(is_whole(c) for c in columns)
    if not whole or not all(0 <= c < features for c in columns):
        raise DataError(
            f"{who} expects target to be columns of x, whole numbers from 0 to {features - 1}, got {target!r}"
        )
    return tuple(int(c) for c in columns)
