"""One long table of several series: which rows belong to which, and their rows one series after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from rnnkit.data.mapped import is_mapped
from rnnkit.data.source import ArrayRows, GatheredRows, Rows, SeriesRows, Source
from rnnkit.data.times import NO_ZONE, Clock
from rnnkit.errors import DataError, did_you_mean


class Ids(NamedTuple):
    """Which series each row belongs to.

    Attributes:
        names: the series, in order of first appearance.
        codes: `(N,)` whole numbers, each the place of a row's series in `names`.
    """

    names: tuple[str, ...]
    codes: np.ndarray


class Others(NamedTuple):
    """The columns of a table, read where one is sought that names its series.

    Attributes:
        names: all of them.
        ids: reads one as the series of each row; raises DataError where it cannot be that.
    """

    names: list[Any]
    ids: Callable[[Any], Ids]


class Coder:
    """Numbers the ids of rows, block by block: text or whole numbers, in order of first appearance."""

    def __init__(self, who: str, column: Any) -> None:
        self._who, self._column = who, column
        self._numbers: dict[str, int] = {}
        self._rows = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The series so far."""
        return tuple(self._numbers)

    def codes(self, values: list[str] | np.ndarray, lines: list[int] | None = None) -> np.ndarray:
        """The places in `names` of the ids of the next rows, `(n,)` int32.

        Args:
            values: their ids.
            lines: theirs in the file, for messages.

        Raises:
            DataError: a value that is no id.
        """
        kind = "U" if isinstance(values, list) else values.dtype.kind
        codes = self._number_text(values, lines) if kind in "OUST" else self._number_numbers(np.asarray(values), lines)
        self._rows += len(codes)
        return codes

    def _number_text(self, values: Iterable[Any], lines: list[int] | None) -> np.ndarray:
        numbers, codes = self._numbers, []
        if isinstance(values, np.ndarray):
            values = (np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values).tolist()
        for row, value in enumerate(values):
            if not isinstance(value, str) or not value:
                raise self._no_id(row, value, lines)
            codes.append(numbers.setdefault(value, len(numbers)))
        return np.array(codes, np.int32)

    def _number_numbers(self, values: np.ndarray, lines: list[int] | None) -> np.ndarray:
        if values.dtype.kind not in "iuf":
            raise DataError(
                f"{self._who}, column {self._column!r} expects an id of a series in each row, text or whole numbers, "
                f"got dtype {values.dtype}"
            )
        found, first, which = np.unique(values, return_index=True, return_inverse=True)
        broken = ~np.isfinite(found) | (found != np.floor(found)) if values.dtype.kind == "f" else np.zeros(0, bool)
        if broken.any():
            row = int(first[broken].min())
            raise self._no_id(row, values[row].item(), lines)
        codes = np.empty(len(found), np.int32)
        for place in np.argsort(first).tolist():
            codes[place] = self._numbers.setdefault(str(int(found[place])), len(self._numbers))
        return codes[which.reshape(-1)]

    def _no_id(self, row: int, value: Any, lines: list[int] | None) -> DataError:
        at = f"row {self._rows + row}" if lines is None else f"line {lines[row]}"
        return DataError(
            f"{self._who}, {at}, column {self._column!r} expects the id of a series, text or a whole number, "
            f"got {value!r}; fill it in"
        )


@dataclass(frozen=True)
class Gathered:
    """Rows in the order in which their series follow each other.

    Attributes:
        source: the rows.
        times: of those rows, or None.
        clock: what they are counted by.
    """

    source: Source
    times: Any
    clock: Clock = NO_ZONE


class BySeries:
    """The rows of a table series by series, in order of first appearance, the rows of each in the order of the file.

    Args:
        source: all rows of a file.
        times: `(N,)`, or None.
        ids: the series of each row.
        clock: what the times are counted by.
    """

    def __init__(self, source: Source, times: Any, ids: Ids, clock: Clock = NO_ZONE) -> None:
        self._source, self._times, self._names, self._clock = source, times, ids.names, clock
        self._places = {name: place for place, name in enumerate(ids.names)}
        self._rows = np.argsort(ids.codes, kind="stable")
        self._edges = np.append(0, np.cumsum(np.bincount(ids.codes, minlength=len(ids.names))))
        self._in_order = bool((np.diff(ids.codes) >= 0).all())

    @property
    def in_memory(self) -> bool:
        """Whether all of it stands in arrays, in memory or mapped into it."""
        return self._source.indexable

    def of(self, only: Any = None) -> Gathered:
        """Some series, end to end.

        Rows that stand so already are not moved. Else arrays in memory are copied, those of one series as a view where
        they stand together, and everything else is read through an index of its rows.

        Args:
            only: the id or the ids of the series to keep; None keeps all.

        Raises:
            DataError: an id that no row has.
        """
        source, times, edges = self._source, self._times, self._edges
        kept = range(len(self._names)) if only is None else self._kept(only)
        if len(kept) == len(self._names) and self._in_order:
            return Gathered(replace(source, series=SeriesRows(self._names, edges)), times, self._clock)
        index = np.concatenate([self._rows[edges[place] : edges[place + 1]] for place in kept])
        names = tuple(self._names[place] for place in kept)
        ends = np.append(0, np.cumsum([edges[place + 1] - edges[place] for place in kept]))
        picked = replace(moved(source, index), series=SeriesRows(names, ends))
        return Gathered(picked, None if times is None else np.asarray(times)[index], self._clock)

    def _kept(self, only: Any) -> list[int]:
        """The places of the series to keep, ascending."""
        given = only.tolist() if isinstance(only, np.ndarray | np.generic) else only
        wanted = given if isinstance(given, list | tuple | range) else [given]
        asked = [series_named(name, self._places) or _id(name) for name in wanted]
        who, names = self._source.who, self._names
        if not asked:
            raise DataError(f"{who} expects only= to name at least one series, got none; leave it out to keep all")
        for name in asked:
            if name not in self._places:
                shown = ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")
                raise DataError(
                    f"{who} has no series {name!r}, asked for with only=; its series are {shown}"
                    f"{did_you_mean(name, names)}"
                )
        return sorted({self._places[name] for name in asked})


def series_named(asked: Any, names: Collection[str]) -> str | None:
    """The one of some series that an id means: by its text, a number also the series whose id is that number."""
    text = _id(asked)
    if text in names:
        return text
    if isinstance(asked, bool) or not isinstance(asked, int | float | np.number):
        return None
    same = [name for name in names if _number(name) == asked]
    return same[0] if len(same) == 1 else None


def moved(source: Source, index: np.ndarray) -> Source:
    """Some rows of a source in another order; they keep their names in messages.

    Arrays in memory are copied, and everything else is read through the index.

    Args:
        source: the rows.
        index: `(n,)`, which of them, in their new order.
    """
    lines, file_rows = source.lines, source.file_rows
    return replace(
        source,
        x=_gathered(source.x, index),
        y=None if source.y is None else _gathered(source.y, index),
        lines=None if lines is None else lines[index],
        file_rows=(index if file_rows is None else file_rows[index]) if lines is None else None,
    )


def _gathered(rows: Rows, index: np.ndarray) -> Rows:
    if isinstance(rows, GatheredRows):
        return GatheredRows(rows.rows, rows.index[index])
    if isinstance(rows, ArrayRows):
        first, stop = int(index[0]), int(index[-1]) + 1
        if stop - first == len(index) and (np.diff(index) == 1).all():
            return ArrayRows(rows.array[first:stop])
        if not is_mapped(rows.array):
            return ArrayRows(rows.array[index])
    return GatheredRows(rows, index)


def _number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None


def _id(name: Any) -> str:
    """An id as series are named: a whole number without its point."""
    whole = isinstance(name, float | np.floating) and float(name).is_integer()
    return str(int(name) if whole else name)
