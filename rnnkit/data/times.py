"""Times that are written as text, are numbers or objects: read as dates of UTC or numbers, and written out again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from typing import Any, NamedTuple

import numpy as np

from rnnkit.data.missing import NO_TIME
from rnnkit.data.timecolumns import COUNTED, DATES, NUMBER, NumberTimes, Place, TextTimes, TimeColumn, is_number
from rnnkit.data.timetext import PATTERNS, as_text, read_times
from rnnkit.data.zones import offset_name, offset_text, zone_named
from rnnkit.errors import DataError, counted, warn

CHUNK = 16_384
"""Cells that are read at a time: temporaries this small stay in the processor's cache."""


class Clock(NamedTuple):
    """What times are counted by.

    Attributes:
        zone: what they came in and go out in: an IANA name, `"UTC"`, an offset such as `"+02:00"`, or None.
        local: whether they are still those of local clocks in that zone, and not yet UTC: which of two hours in
            October is meant follows from the order of the rows of a series, so that it is settled last.
    """

    zone: str | None = None
    local: bool = False


NO_ZONE = Clock()


class TimeReader:
    """Reads a column of times whose cells come in blocks: `narrow` with every block, then `read` with every block.

    Of the readings, the one is taken that fits the whole column: dates with the year first (ISO 8601, `2022/10/29`),
    the day or the month first (`29/10/2022 20:00`), months by name; for numbers, dates of digits alone (`20200125`),
    or counted from 1970 in s, ms, us or ns where all lie from 1985 to 2032; else they stay numbers. Fractions of
    seconds, AM and PM, `24:00`, `UTC`, `Z` and offsets are understood. One line says what was assumed; where two
    readings fit the whole column, it is refused.

    Args:
        who: how messages begin: the file.
        column: its name, or the names of several whose cells were joined by a blank; None for an array.
        time_format: as `datetime.strptime` has it, such as `"%d/%m/%Y %H:%M"` (where it ends before them, a time of
            day, seconds and a zone may follow); `"s"`, `"ms"`, `"us"` or `"ns"` for numbers counted from 1970; or
            `"number"`.
        zone: of the clocks from which times without a zone were read: `"Europe/Berlin"`, `"UTC"`, `"+01:00"`.
        quiet: say nothing of what was assumed.

    Raises:
        DataError: a format or a zone that cannot be used.

    Example:
        >>> reader = TimeReader("'a.csv'", "t", time_format="%d/%m/%Y")
        >>> for block in (["29/10/2022"], ["01/11/2022"]):
        ...     reader.narrow(block, lambda n: f"line {n + 2}")
        >>> reader.read(["01/11/2022"], lambda n: f"line {n + 3}")
        array(['2022-11-01T00:00:00.000000'], dtype='datetime64[us]')
    """

    def __init__(
        self, who: str, column: Any, time_format: str | None = None, zone: str | None = None, *, quiet: bool = False
    ) -> None:
        several = isinstance(column, list | tuple)
        self._who = who
        self._column = f"columns {' and '.join(map(repr, column))}" if several else f"column {column!r}"
        if column is None:
            self._column = "time"
        self._zone = None if zone is None else zone_named(zone, f"{who}, {self._column}")
        self._format, self._quiet = time_format, quiet
        self._text = TextTimes(who, self._column, time_format if self._is_text else None, self._zone)
        self._numbers = NumberTimes(who, self._column, None if self._is_text else time_format)
        self._kind: TimeColumn | None = None
        self._missing: str | None = None
        self._decided = False

    def narrow(self, cells: Any, place: Place) -> None:
        """Leave the readings that fit more cells of the column.

        Args:
            cells: text or numbers, a list or an array `(n,)`; None, empty cells and NaN are missing.
            place: where the nth of them stands, for messages.

        Raises:
            DataError: a cell that no reading fits, or times with and without a zone.
        """
        for start, here, known in self._pieces(cells):
            if self._missing is None and not here.all():
                self._missing = place(start + int((~here).argmax()))
            if not len(known):
                continue
            if self._kind is None:
                self._kind = self._numbers if self._holds_numbers(known) else self._text
            if known.dtype.kind != "U" and self._kind is self._text:
                raise DataError(f"{self._who}, {self._column} holds both numbers and dates; write all its times alike")
            self._kind.narrow(known, _among(place, start, here))

    def read(self, cells: Any, place: Place) -> np.ndarray:
        """Cells as times `(n,)`: datetime64[us] (of UTC where `clock` has a zone and is not local; [ns] where that is
        too coarse), NaT where one is missing; or numbers, int64 or float64 with NaN.

        Raises:
            DataError: a cell that is no time, or a column that can be read in several ways.
        """
        kind = self._settled()
        dtype = kind.dtype
        if dtype == np.int64 and self._missing is not None:
            dtype = np.dtype(np.float64)
        times = np.full(len(cells), np.nan if dtype.kind == "f" else 0, dtype)
        if dtype.kind == "M":
            times[:] = "NaT"
        for start, here, known in self._pieces(cells):
            if len(known):
                read = kind.read(known, _among(place, start, here))
                if dtype != read.dtype and (np.abs(read) > 2**53).any():
                    raise DataError(
                        f"{self._who}, {self._missing}, {self._column} has no time, and beside numbers as large as "
                        f"these none can be left out; fill it in, or say what they count: time_format='ns'"
                    )
                times[start : start + len(here)][here] = read
        return times

    @property
    def clock(self) -> Clock:
        """What the times that were read are counted by."""
        kind = self._settled()
        if kind.dtype.kind != "M":
            return NO_ZONE
        given = None if self._zone is None else self._zone.name
        return Clock(given or kind.zone, local=given is not None and kind.zone is None)

    @property
    def _is_text(self) -> bool:
        return self._format is not None and self._format not in (*COUNTED, NUMBER)

    def _holds_numbers(self, known: np.ndarray) -> bool:
        if self._format is not None:
            return not self._is_text
        return known.dtype.kind != "U" or is_number(str(known[0]))

    def _pieces(self, cells: Any) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """The cells, some at a time: the first one's place, which have a time `(n,)`, and those that have."""
        for start in range(0, len(cells), CHUNK):
            piece = cells[start : start + CHUNK]
            if isinstance(piece, np.ndarray) and piece.dtype.kind in "iuf":
                here = np.isfinite(piece)
                known = piece[here] if not self._is_text else piece[here].astype(np.str_)
            else:
                text = as_text(piece)
                here = ~np.isin(text, NO_TIME)
                if not here.all():
                    here &= ~np.isin(np.char.strip(text), NO_TIME)
                known = text if here.all() else text[here]
            yield start, here, known

    def _settled(self) -> TimeColumn:
        if self._kind is None:
            raise DataError(f"{self._who}, {self._column} holds no time at all; name another column as time")
        if not self._decided:
            self._decided = True
            for line in self._kind.decide():
                if not self._quiet:
                    warn(line)
        return self._kind


def _among(place: Place, start: int, here: np.ndarray) -> Place:
    """Where the nth of the cells stands that have a time, of some that begin at `start`."""
    return lambda n: place(start + int(np.flatnonzero(here)[n]))


def write_times(times: np.ndarray, zone: str | None) -> np.ndarray:
    """Times as text, in their zone: what `TimeReader` reads as the same times.

    Args:
        times: `(n,)` datetime64, of UTC where there is a zone; or numbers.
        zone: an IANA name, `"UTC"`, an offset such as `"+02:00"`, or None for clocks of no zone.

    Returns:
        `(n,)` text: ISO 8601, with seconds, fractions of them where there are any, and the offset of the zone at each
        time; empty for NaT. Numbers as Python writes them.

    Example:
        >>> write_times(np.array(["2022-10-30T00:30", "2022-10-30T01:30"], "datetime64[us]"), "Europe/Berlin").tolist()
        ['2022-10-30T02:30:00+02:00', '2022-10-30T02:30:00+01:00']
    """
    times = np.asarray(times)
    if times.dtype.kind != "M":
        return times.astype(np.str_)
    missing = np.isnat(times)
    fine = times.dtype if np.datetime_data(times.dtype)[0] in ("us", "ns") else np.dtype(DATES)
    times = np.where(missing, np.datetime64(0, "s"), times).astype(fine)
    ends = np.zeros(len(times), "U6")
    if zone is not None:
        ahead = zone_named(zone, "write_times").ahead(times.astype(DATES).astype(np.int64))
        offsets, which = np.unique(ahead, return_inverse=True)
        ends = np.array([offset_text(int(offset)) for offset in offsets], np.str_)[which.reshape(-1)]
        times = times + ahead.astype("timedelta64[s]")
    unit = next(unit for unit in ("s", "ms", "us", "ns") if (times.astype(f"datetime64[{unit}]") == times).all())
    text = np.char.add(np.datetime_as_string(times.astype(f"datetime64[{unit}]")), ends)
    text[missing] = ""
    return text.astype(f"U{np.char.str_len(text).max(initial=1)}")


def given_times(
    time: Any, who: str, rows: int, time_format: str | None = None, zone: str | None = None
) -> tuple[np.ndarray, Clock]:
    """Times that the caller holds: numbers, datetime64, text as `TimeReader` reads it, or datetime objects.

    Args:
        time: an array or a list, one for each row.
        who: how messages begin.
        rows: how many there should be.
        time_format, zone: as for `TimeReader`.

    Returns:
        `(rows,)` numbers or datetime64, and what they are counted by. Numbers stay numbers unless `time_format` says
        what they count.

    Raises:
        DataError: another number of them, one that is no time, or times with and without a zone.
    """
    times = np.asarray(time)
    if times.shape != (rows,):
        raise DataError(f"{who} expects one time for each of {counted(rows, 'row')}, got shape {times.shape}")
    kind = times.dtype.kind
    if kind in "iuf" and time_format is None:
        if zone is not None:
            raise DataError(
                f"{who} has times that are numbers, got zone={zone!r}; say time_format='s' or what they count"
            )
        return times, NO_ZONE
    if kind == "M":
        return times, clock_of(None, zone, who)
    if kind in "OT":
        some = next((value for value in times.tolist() if value is not None), None)
        if isinstance(some, date):
            return _read_objects(times, who, zone)
    if kind in "OUSTiuf":
        reader = TimeReader(who, None, time_format, zone)
        reader.narrow(times, lambda row: f"row {row}")
        return reader.read(times, lambda row: f"row {row}"), reader.clock
    raise DataError(f"{who} expects time as numbers or dates, got dtype {times.dtype}")


def _read_objects(values: np.ndarray, who: str, zone: str | None) -> tuple[np.ndarray, Clock]:
    """Dates and datetime objects as datetime64[us], in UTC where they have a zone."""
    dates = np.full(len(values), "NaT", DATES)
    first: datetime | None = None
    for row, value in enumerate(values.tolist()):
        if value is None or value != value:
            continue
        if not isinstance(value, date):
            raise DataError(
                f"{who} expects time as numbers or dates, got {value!r} at row {row}; write all of them alike"
            )
        moment = value if isinstance(value, datetime) else datetime.combine(value, clock_time())
        first = first or moment
        if (moment.tzinfo is None) != (first.tzinfo is None):
            raise DataError(
                f"{who} has {'no zone' if moment.tzinfo is None else 'a zone'} in the time at row {row} ({value}), and "
                f"those before it have {'none' if first.tzinfo is None else 'one'}; give all of them one, or none and "
                f"say zone='Europe/Berlin', or whichever it is"
            )
        dates[row] = moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    return dates, clock_of(None if first is None else zone_of(first), zone, who)


def zone_of(moment: datetime) -> str | None:
    """The name of a datetime's zone: of the IANA database, or its offset; None where it has none."""
    if moment.tzinfo is None:
        return None
    name = getattr(moment.tzinfo, "key", None) or getattr(moment.tzinfo, "zone", None)
    if isinstance(name, str):
        return zone_named(name, "time").name
    return offset_name(round((moment.utcoffset() or timedelta()).total_seconds()))


def clock_of(had: str | None, zone: str | None, who: str) -> Clock:
    """What datetime64 is counted by that came with a zone, in UTC, or without one.

    Args:
        had: the zone that it came with, or None.
        zone: what the user has said, or None.
        who: how messages begin.

    Raises:
        DataError: a zone that is not known.
    """
    name = zone if zone is not None else had
    return Clock(None if name is None else zone_named(name, who).name, local=zone is not None and had is None)


def looks_like_time(cell: str) -> bool:
    """Whether text that is no number, with a decimal comma neither, can be read as a time."""
    if is_number(cell.replace(",", ".", 1)):
        return False
    return any(read_times(np.array([cell]), pattern).valid[0] for pattern in PATTERNS.values())
