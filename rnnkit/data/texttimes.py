"""The times of a text file: read by DuckDB where all are written as ISO 8601 without a zone, else by `TimeReader`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rnnkit.data.columns import Wanted
from rnnkit.data.numberstyles import stripped
from rnnkit.data.texttable import TextTable, is_null
from rnnkit.data.times import DATES, Clock, TimeReader, clock_of

Span = tuple[Any, Any]


def read_text_times(
    table: TextTable,
    columns: Sequence[str],
    first: str,
    who: str,
    wanted: Wanted,
    places: Sequence[Span],
    spans: Sequence[Span],
    lines: np.ndarray | range,
    dates: Any = None,
) -> tuple[Callable[[int], np.ndarray], Clock]:
    """What reads the times of the nth block, and what they are counted by.

    Args:
        table: the rows as text.
        columns: those that hold the times, whose cells are joined by a blank.
        first: the first time.
        who: how messages begin.
        wanted: the user's word on format and zone.
        places: the rows of each block as the table counts them, or None for all.
        spans: likewise, in numbers.
        lines: the line of each row.
        dates: the times of a table that is one block, as `iso_sql` reads them, where that was done already.
    """
    cell = f"coalesce({stripped(columns[0])}, '')"
    if len(columns) > 1:
        cell = f"trim(concat_ws(' ', {', '.join(map(stripped, columns))}))"
    if wanted.time_format is None and len(columns) == 1 and is_iso(first):
        iso = iso_sql(columns[0], len(first))
        fits = is_null(dates) is None if dates is not None else not table.one([f"count_if({iso} IS NULL)"])[0]
        if fits:

            def read(block: int) -> np.ndarray:
                found = dates if dates is not None else table.columns([iso], *places[block])[0]
                return np.asarray(found, DATES)

            return read, clock_of(None, wanted.zone, who)
    reader = TimeReader(who, wanted.time, wanted.time_format, wanted.zone)
    told = [lambda n, start=start: f"line {lines[start + n]}" for start, _ in spans]
    for place, at in zip(places, told, strict=True):
        reader.narrow(_cells(table, cell, place), at)
    return lambda block: reader.read(_cells(table, cell, places[block]), told[block]), reader.clock


def is_iso(cell: str) -> bool:
    """Whether text looks like a date, with minutes or seconds or without, as ISO 8601 writes it without a zone."""
    return len(cell) in (10, 16, 19) and cell[4] == cell[7] == "-" and cell[:4].isdigit()


def iso_sql(cell: str, width: int) -> str:
    """SQL of text as a timestamp; NULL where it is not ISO 8601 without a zone and so many characters long."""
    end = ":__" if width > len("2014-07-01") else "-__"  # or an offset ends it
    shape = "____-" + "_" * (width - 8) + end
    return f"try_cast(CASE WHEN {cell} LIKE '{shape}' THEN {cell} END AS TIMESTAMP)"


def _cells(table: TextTable, cell: str, place: Span) -> list[str]:
    return table.columns([cell], *place)[0].tolist()
