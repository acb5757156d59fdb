"""How one column writes its times, as text or as numbers: the readings that fit are narrowed over the whole column."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

import numpy as np

from rnnkit.data.timetext import PATTERNS, ReadTimes, compiled, format_of, read_times
from rnnkit.data.zones import Zone, offset_name, offset_text
from rnnkit.errors import DataError

Place = Callable[[int], str]
"""Where the nth of some cells stands, for messages: `"line 12"`."""

DATES = "datetime64[us]"
FINE = "datetime64[ns]"

NUMBER = "number"
"""The `time_format` of times that are numbers and nothing else."""

COUNTED = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1000, "ns": 1}
"""Units in which times may be counted from 1970, in nanoseconds."""

COUNTED_BETWEEN = (473_385_600, 1_956_528_000)
"""Seconds from 1985 to 2032: whole numbers that all lie within are taken for times counted from 1970."""

DIGITS = ("%Y%m%d", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S")
"""Dates that whole numbers may be, from 1900 to 2100."""

DIGITS_BETWEEN = tuple(np.array(["1900", "2100"], DATES).astype(np.int64).tolist())

TOLD = ("day first", "month first", "short year first")
"""Readings of text that are told, because one cell alone does not say which is meant."""


class TimeColumn(Protocol):
    """A column of times, missing ones left out."""

    def narrow(self, cells: np.ndarray, place: Place) -> None:
        """Leave the readings that fit more cells `(n,)`, at least one."""
        ...

    def decide(self) -> list[str]:
        """Settle on one reading; what was assumed, in lines."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """The type of the times, once decided."""
        ...

    @property
    def zone(self) -> str | None:
        """The zone that they came in, once decided; None for numbers and times without one."""
        ...

    def read(self, cells: np.ndarray, place: Place) -> np.ndarray:
        """Cells `(n,)` as times `(n,)`, in UTC where they have a zone."""
        ...


class TextTimes:
    """Times written as text.

    Args:
        who: how messages begin: the file.
        column: what they call the column.
        time_format: as for `TimeReader`, or None.
        given: the zone that the user has named, or None.
    """

    def __init__(self, who: str, column: str, time_format: str | None, given: Zone | None) -> None:
        self._file, self._column, self._given, self._format = who, column, given, time_format
        self._who = f"{who}, {column}"
        named = {} if time_format is None else {time_format: compiled(time_format, self._who)}
        self._patterns: dict[str, re.Pattern[str]] = named or dict(PATTERNS)
        self._written: dict[str, set[str]] = {}
        self._example = ""
        self._fine = False
        self._zoned = False
        self._offsets: dict[int, None] = {}

    def narrow(self, cells: np.ndarray, place: Place) -> None:
        """Leave the readings that fit more cells `(n,)`.

        Raises:
            DataError: a cell that none fits, a zone that is not known, or times with and without a zone.
        """
        found = {name: read_times(cells, pattern) for name, pattern in self._patterns.items()}
        left = {name: read for name, read in found.items() if read.valid.all()}
        if not left:
            fitted = {name: int((~read.valid).argmax()) for name, read in found.items()}
            first = max(fitted.values())
            before = [name for name, count in fitted.items() if count == first] if first or self._example else []
            raise self._no_time(str(cells[first]), place(first), before)
        self._patterns = {name: self._patterns[name] for name in left}
        some = next(iter(left.values()))  # what stands behind the date is the same for each reading
        offset, zoned = self._offset(some, cells, place)
        if not self._example:
            self._example, self._zoned = f"{str(cells[0])!r}, {place(0)}", bool(zoned[0])
        for name in set(left) & set(TOLD):
            written = {format_of(cell, name) for cell in some.examples}
            self._written[name] = self._written.get(name, set()) | written
        self._fine |= bool(some.nanoseconds.any())
        if (zoned != self._zoned).any():
            row = int((zoned != self._zoned).argmax())
            has, had = ("no zone", "one") if self._zoned else ("a zone", "none")
            raise DataError(
                f"{self._at(place(row))} has {has} ({str(cells[row])!r}), and the times before it have {had}; write "
                f"all of them with their zone, or all without it and say zone='Europe/Berlin', or whichever it is"
            )
        if self._zoned:
            self._offsets |= dict.fromkeys([int(offset[0]), *np.unique(offset).tolist()])

    def decide(self) -> list[str]:
        """Settle on one reading; what was assumed, in lines.

        Raises:
            DataError: several fit the whole column.
        """
        options = {name: self._advised(name) for name in self._patterns if name in TOLD}
        if len(self._patterns) > 1:
            raise DataError(
                f"{self._who} can be read with the {' or the '.join(self._patterns)} ({self._example}): every time in "
                f"it fits both; say which: {' or '.join(f'time_format={written!r}' for written in options.values())}"
            )
        verb = "are" if self._column.startswith("columns") else "is"
        lines = [
            f"{self._who} {verb} read with the {name} ({self._example}); time_format={written!r} says so without this "
            f"line"
            for name, written in options.items()
        ]
        if len(self._offsets) > 1 and self._given is None:
            first, *others = map(offset_text, self._offsets)
            lines.append(
                f"{self._who} holds times with offsets {first} and {', '.join(others)}; they go out again with "
                f"{first}; name the zone that they are of: zone='Europe/Berlin', or zone='UTC'"
            )
        return lines

    @property
    def dtype(self) -> np.dtype:
        """Dates, in nanoseconds where microseconds are too coarse."""
        return np.dtype(FINE if self._fine else DATES)

    @property
    def zone(self) -> str | None:
        """The first offset that stands there."""
        return offset_name(next(iter(self._offsets))) if self._offsets else None

    def read(self, cells: np.ndarray, place: Place) -> np.ndarray:
        """Text `(n,)` as dates, in UTC where they have a zone."""
        ((_, pattern),) = self._patterns.items()
        found = read_times(cells, pattern)
        if not found.valid.all():
            first = int((~found.valid).argmax())
            raise self._no_time(str(cells[first]), place(first), list(self._patterns))
        utc = found.local - self._offset(found, cells, place)[0] * 1_000_000
        return (utc * 1000 + found.nanoseconds).astype(FINE) if self._fine else utc.astype(DATES)

    def _offset(self, found: ReadTimes, cells: np.ndarray, place: Place) -> tuple[np.ndarray, np.ndarray]:
        """The offset of each time, and whether it has one; with names of zones, such as CEST, understood."""
        offset, zoned = found.offset, found.zoned
        for name, rows in found.zones.items():
            if self._given is not None and name == self._given.name:
                continue
            seconds = None if self._given is None else self._given.abbreviation(name)
            if seconds is None:
                first = int(rows[0])
                advice = f"zone={name!r}" if "/" in name else "zone='Europe/Berlin', or whichever it is"
                raise DataError(
                    f"{self._at(place(first))} names the zone {name!r} ({str(cells[first])!r}), which "
                    f"{'the text alone does not settle' if self._given is None else f'{self._given.name} has not'}; "
                    f"say {advice}"
                )
            offset[rows], zoned[rows] = seconds, True
        return offset, zoned

    def _advised(self, name: str) -> str:
        """The `time_format` that reads the whole column as a reading does."""
        written = self._written[name]
        if len(written) == 1:
            return next(iter(written))
        return re.split(r",? +%[HI]|T%[HI]", min(written, key=len))[0]  # the time of day may follow in any form

    def _at(self, where: str) -> str:
        return f"{self._file}, {where}, {self._column}"

    def _no_time(self, cell: str, where: str, before: list[str]) -> DataError:
        if self._format is not None:
            advice = f"time_format={self._format!r} does not fit it; correct one of them"
        elif re.fullmatch(r"\s*\d{1,2}:\d{2}.*", cell):
            advice = "that is no date; name the column of the date, too: time=['Date', 'Time']"
        elif before:
            advice = f"the times before it are read with the {' or the '.join(before)}; write all of them alike"
        else:
            advice = "write it as 2014-07-01 00:30:00, or say how it is written: time_format='%d/%m/%Y %H:%M'"
        return DataError(f"{self._at(where)} expects a time, got {cell!r}; {advice}")


class NumberTimes:
    """Times written as numbers: counted from 1970, dates of digits alone, or numbers and nothing else.

    Args:
        who: how messages begin: the file.
        column: what they call the column.
        time_format: as for `TimeReader`, or None.
    """

    def __init__(self, who: str, column: str, time_format: str | None) -> None:
        self._file, self._column = who, column
        self._who = f"{who}, {column}"
        self._given = time_format
        readings = (NUMBER, *COUNTED, *DIGITS) if time_format is None else (time_format,)
        self._readings = list(readings)
        self._example = ""
        self._whole, self._fine = True, False

    def narrow(self, cells: np.ndarray, place: Place) -> None:
        """Leave the readings that fit more cells `(n,)`: text or numbers.

        Raises:
            DataError: a cell that is no number.
        """
        values = self._numbers(cells, place)
        self._example = self._example or f"{str(cells[0])!r}, {place(0)}"
        self._whole &= values.dtype.kind == "i"
        self._fine |= values.dtype.kind == "i" and "ns" in self._readings and bool((values % 1000).any())
        if len(self._readings) > 1:
            self._readings = [reading for reading in self._readings if self._fits(values, reading)]

    def decide(self) -> list[str]:
        """Settle on one reading; what was assumed, in lines.

        Raises:
            DataError: several fit the whole column.
        """
        special = [reading for reading in self._readings if reading != NUMBER]
        if len(special) > 1:
            raise DataError(
                f"{self._who} holds numbers ({self._example}) that may be times in several ways; say which: "
                f"{' or '.join(f'time_format={reading!r}' for reading in (*special, NUMBER))}"
            )
        self._readings = special or self._readings
        reading = self._readings[0]
        if reading in (NUMBER, self._given):
            return []
        what = f"times counted from 1970 in {reading}" if reading in COUNTED else "dates"
        return [
            f"{self._who} is read as {what} ({self._example}); time_format={reading!r} says so without this line, "
            f"time_format={NUMBER!r} keeps them numbers"
        ]

    @property
    def dtype(self) -> np.dtype:
        """Dates, whole numbers or numbers."""
        if self._readings[0] == NUMBER:
            return np.dtype(np.int64 if self._whole else np.float64)
        return np.dtype(FINE if self._readings[0] == "ns" and self._fine else DATES)

    @property
    def zone(self) -> str | None:
        """UTC for what is counted from 1970."""
        return "UTC" if self._readings[0] in COUNTED else None

    def read(self, cells: np.ndarray, place: Place) -> np.ndarray:
        """Cells `(n,)` as dates or numbers."""
        values, reading = self._numbers(cells, place), self._readings[0]
        if reading == NUMBER:
            return values.astype(self.dtype)
        if reading not in COUNTED:
            return read_times(values.astype(np.str_), compiled(reading, self._who)).local.astype(DATES)
        if self.dtype == FINE:
            return values.astype(FINE)
        factor = COUNTED[reading]
        if values.dtype.kind == "f":
            return np.round(values * (factor / 1000)).astype(np.int64).astype(DATES)
        return (values * (factor // 1000) if factor >= 1000 else values // 1000).astype(DATES)

    def _numbers(self, cells: np.ndarray, place: Place) -> np.ndarray:
        """Cells `(n,)` as int64 where all are whole, else float64."""
        if cells.dtype.kind in "iuf":
            return cells.astype(np.float64 if cells.dtype.kind == "f" else np.int64)
        for kind in (np.int64, np.float64):
            try:
                values = cells.astype(kind)
                break
            except (ValueError, OverflowError):
                continue
        else:
            values = np.full(len(cells), np.nan)
        broken = np.char.find(cells, "_") >= 0  # Python reads 1_0 as 10
        broken |= ~np.isfinite(values)
        if broken.any():
            first = next((row for row, cell in enumerate(cells.tolist()) if not is_number(cell)), 0)
            raise DataError(
                f"{self._file}, {place(first)}, {self._column} expects a time, got {str(cells[first])!r}; those before "
                f"it are numbers: write all of them alike"
            )
        return values

    def _fits(self, values: np.ndarray, reading: str) -> bool:
        if reading == NUMBER:
            return True
        if values.dtype.kind == "f":
            return reading == "s" and _within(values, *COUNTED_BETWEEN)
        if reading in COUNTED:
            low, high = (bound * (1_000_000_000 // COUNTED[reading]) for bound in COUNTED_BETWEEN)
            return _within(values, low, high)
        digits = len(reading.replace("%Y", "2000").replace("%", "")) + reading.count("%") - 1
        if not _within(values, 10 ** (digits - 1), 10**digits):
            return False
        found = read_times(values.astype(np.str_), compiled(reading, self._who))
        return bool(found.valid.all()) and _within(found.local, *DIGITS_BETWEEN)


def is_number(cell: str) -> bool:
    """Whether text is a finite number."""
    return re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", cell) is not None


def _within(values: np.ndarray, low: float, high: float) -> bool:
    return bool(((values >= low) & (values < high)).all())
