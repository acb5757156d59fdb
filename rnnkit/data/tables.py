"""Files that hold columns in chunks of rows, as sources: a chunk is read when a row of it is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rnnkit.data.columns import Opened, Wanted, check_columns, choose, file_source, instead
from rnnkit.data.order import SEEN, tell_falling
from rnnkit.data.series import Coder, Ids, Others
from rnnkit.data.source import SLICE, Rows
from rnnkit.data.times import NO_ZONE, Clock, TimeReader, clock_of
from rnnkit.errors import DataError, RnnkitError, SourceError

KEPT = 1 << 26
"""Bytes of chunks that stay in memory for the next reading, beside the last one, which always stays."""

READ = 4096
"""Smaller chunks are read together, so that about so many rows come at a time."""


class TableFile(Protocol):
    """Columns of N rows in chunks. It can be pickled: what arrives opens the file again."""

    @property
    def who(self) -> str:
        """How messages begin."""
        ...

    @property
    def names(self) -> list[Any]:
        """The columns, in order."""
        ...

    @property
    def edges(self) -> np.ndarray:
        """The rows at which chunks begin, ascending from 0, and N at the end."""
        ...

    def kind(self, column: Any) -> tuple[str, str]:
        """The letter of NumPy's kind of a column's values, and what messages call their type."""
        ...

    def numbers(self, columns: list[Any]) -> Rows:
        """Some columns of numbers as rows."""
        ...

    def read(self, chunk: int, columns: list[Any]) -> np.ndarray:
        """Some columns of numbers of one chunk, `(n, F)`."""
        ...

    def column(self, chunk: int, column: Any) -> np.ndarray:
        """One column of one chunk as it is, `(n,)`: numbers, dates or text."""
        ...


class ChunkedRows:
    """Columns of a table as rows: reads the chunks it needs whole, and keeps the last ones, up to `KEPT` bytes."""

    def __init__(self, table: TableFile, columns: list[Any], dtype: np.dtype) -> None:
        self.shape = (int(table.edges[-1]), len(columns))
        self.dtype = dtype
        self._table, self._columns = table, columns
        self._kept: dict[int, np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop, `(stop - start, F)`."""
        return self.take(np.arange(start, stop))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(...)` as a new array `(..., F)`; each chunk that they lie in is read once at most."""
        flat = rows.reshape(-1)
        block = np.empty((flat.size, self.shape[1]), self.dtype)
        if not flat.size:
            return block.reshape(*rows.shape, self.shape[1])
        order = np.argsort(flat, kind="stable")  # chunk by chunk
        ordered, edges = flat[order], self._table.edges
        chunks = np.searchsorted(edges, ordered, side="right") - 1
        cuts = np.flatnonzero(np.diff(chunks, prepend=-1))
        for first, last in zip(cuts, [*cuts[1:], flat.size], strict=True):
            chunk = int(chunks[first])
            block[order[first:last]] = self._chunk(chunk)[ordered[first:last] - edges[chunk]]
        return block.reshape(*rows.shape, self.shape[1])

    def _chunk(self, chunk: int) -> np.ndarray:
        block = self._kept.pop(chunk, None)
        if block is None:
            with reading(self._table.who):
                block = np.asarray(self._table.read(chunk, self._columns), self.dtype)
        self._kept[chunk] = block  # the last one used stands last
        while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > KEPT:
            del self._kept[next(iter(self._kept))]
        return block


@contextmanager
def reading(who: str) -> Iterator[None]:
    """Say of what a library raises while it reads that the file cannot be read."""
    try:
        yield
    except RnnkitError:
        raise
    except (OSError, ValueError, TypeError, RuntimeError, LookupError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise SourceError(f"{who} cannot be read: {said}; it seems to be damaged, make it again") from error


def table_source(table: TableFile, wanted: Wanted) -> Opened:
    """What was asked for of a table.

    Raises:
        DataError: a column that is not there or holds something else than was asked of it, or no rows.
        SourceError: a file that cannot be read.
    """
    who = table.who
    choice = choose(who, table.names, wanted)
    for column in choice.features + choice.targets:
        letter, name = table.kind(column)
        if letter not in "biuf":
            others = [other for other in choice.features if table.kind(other)[0] in "biuf"]
            advice = instead(column, others, wanted, "time" in name or "date" in name)
            raise DataError(f"{who}, column {column!r} expects numbers, got {name}; {advice}")
    if not table.edges[-1]:
        raise DataError(f"{who} has no rows")
    x, y = (table.numbers(columns) if columns else None for columns in (choice.features, choice.targets))
    assert x is not None  # `choose` finds one feature at least
    labels = wanted.horizon == 0 and all(table.kind(column)[0] in "iu" for column in choice.targets)
    times, clock = (None, NO_ZONE) if wanted.time is None else _times(table, wanted)
    ids = None if wanted.series_id is None else table_ids(table, wanted.series_id)
    others = Others(table.names, partial(table_ids, table))
    if wanted.time is None and wanted.sort is not False:
        for column in table.names:
            with reading(who):
                cells = table.column(0, column)[:SEEN]
            tell_falling(who, column, cells)
    return Opened(file_source(who, choice, x, y, labels), times, ids, clock, others)


def table_ids(table: TableFile, column: Any) -> Ids:
    """The series that each row belongs to; no other column is read.

    Raises:
        DataError: a column that is not there, or a value that is no id.
        SourceError: a file that cannot be read.
    """
    check_columns(table.who, table.names, "series_id", [column])
    coder, codes = Coder(table.who, column), [np.empty(0, np.int32)]
    for part in _parts(table, column):
        codes += [coder.codes(part[start : start + SLICE]) for start in range(0, len(part), SLICE)]
    return Ids(coder.names, np.concatenate(codes))


def _times(table: TableFile, wanted: Wanted) -> tuple[np.ndarray, Clock]:
    """The column of times, `(N,)` numbers or dates, and what they are counted by; text as that of a CSV file."""
    who, column = table.who, wanted.time
    if isinstance(column, list | tuple):
        return _joined_times(table, list(column), wanted)
    letter, kind = table.kind(column)
    if letter == "b":
        raise DataError(f"{who}, column {column!r} expects times, got {kind}; name another column as time")
    parts = list(_parts(table, column))
    if any(part.dtype.kind == "M" for part in parts):
        had = re.search(r"tz=([^\]]+)\]", kind)  # as Arrow writes its types
        return np.concatenate(parts), clock_of(had and had[1], wanted.zone, who)
    reader = TimeReader(who, column, wanted.time_format, wanted.zone)
    places = [lambda n, first=int(first): f"row {first + n}" for first in table.edges[:-1]]
    for part, place in zip(parts, places, strict=True):
        reader.narrow(part, place)
    times = [reader.read(part, place) for part, place in zip(parts, places, strict=True)]
    return np.concatenate(times), reader.clock


def _joined_times(table: TableFile, columns: list[Any], wanted: Wanted) -> tuple[np.ndarray, Clock]:
    """Times of which the date, the hour and so on stand in columns of their own."""
    reader = TimeReader(table.who, columns, wanted.time_format, wanted.zone)
    pieces = [np.concatenate([part.astype(object) for part in _parts(table, column)]) for column in columns]
    cells = [" ".join(str(cell) for cell in row) for row in zip(*pieces, strict=True)]
    reader.narrow(cells, lambda n: f"row {n}")
    return reader.read(cells, lambda n: f"row {n}"), reader.clock


def _parts(table: TableFile, column: Any) -> Iterator[np.ndarray]:
    for chunk in range(len(table.edges) - 1):
        with reading(table.who):
            part = table.column(chunk, column)
        yield part


def missing_library(path: Path, library: str, extra: str) -> SourceError:
    """The error about a library that is not installed."""
    return SourceError(f"reading {str(path)!r} needs {library}, which is not installed; pip install 'rnnkit[{extra}]'")
