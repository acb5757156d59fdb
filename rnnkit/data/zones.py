"""Zones of times: their offsets from UTC at any time, and clocks that are set forward and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from rnnkit.errors import DataError, did_you_mean

SECOND = 1_000_000
"""Microseconds."""

YEARS = (1900, 2100)
"""Changes of clocks before and after are not looked for: the offset of the nearest one holds."""


@dataclass(frozen=True)
class Zone:
    """A zone by its name: of the IANA database, `"UTC"`, or an offset such as `"+02:00"`; made by `zone_named`.

    Attributes:
        name: as times carry it.
        fixed: seconds ahead of UTC where that never changes, else None.
    """

    name: str
    fixed: int | None = None

    @property
    def changes(self) -> tuple[np.ndarray, np.ndarray]:
        """When clocks change: `(K,)` int64 microseconds of UTC; and the seconds ahead of UTC before the first and after
        each, `(K + 1,)` int64."""
        return _changes(self.name) if self.fixed is None else (np.empty(0, np.int64), np.array([self.fixed]))

    def ahead(self, utc: np.ndarray) -> np.ndarray:
        """Seconds by which local clocks are ahead at some times of UTC `(n,)` int64 microseconds."""
        instants, offsets = self.changes
        return offsets[np.searchsorted(instants, utc, side="right")]

    def abbreviation(self, name: str) -> int | None:
        """The seconds ahead of UTC of a name such as `CEST` in this zone, or None where clocks never show it."""
        if self.fixed is not None:
            return None
        from zoneinfo import ZoneInfo

        zone, instants = ZoneInfo(self.name), self.changes[0].tolist()
        for instant in [*reversed(instants), 0]:
            moment = datetime.fromtimestamp(instant / SECOND + 1, zone)
            if moment.tzname() == name:
                return round((moment.utcoffset() or timedelta()).total_seconds())
        return None


@cache
def _changes(name: str) -> tuple[np.ndarray, np.ndarray]:
    from zoneinfo import ZoneInfo

    zone, epoch = ZoneInfo(name), datetime(1970, 1, 1, tzinfo=UTC)

    def offset(second: int) -> int:
        ahead = (epoch + timedelta(seconds=second)).astimezone(zone).utcoffset()
        return 0 if ahead is None else round(ahead.total_seconds())

    low, high = ((datetime(year, 1, 1, tzinfo=UTC) - epoch).days * 86400 for year in YEARS)
    step = 10 * 86400  # no zone has set its clocks twice within fewer days
    offsets, instants = [offset(low)], []
    for start in range(low, high, step):
        stop = min(start + step, high)
        if offset(stop) == offsets[-1]:
            continue
        while stop - start > 1:  # halve, until the change lies between two seconds
            middle = (start + stop) // 2
            start, stop = (middle, stop) if offset(middle) == offsets[-1] else (start, middle)
        instants.append(stop * SECOND)
        offsets.append(offset(stop))
    return np.array(instants, np.int64), np.array(offsets, np.int64)


def zone_named(name: Any, who: str) -> Zone:
    """A zone by its name.

    Raises:
        DataError: a name that is not known.
    """
    text = name.strip() if isinstance(name, str) else ""
    if text in ("UTC", "Z", "GMT"):
        return Zone("UTC", 0)
    offset = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?([0-5]\d))?", text)
    if offset is not None and int(offset[2]) < 24:
        seconds = (int(offset[2]) * 60 + int(offset[3] or 0)) * 60 * (-1 if offset[1] == "-" else 1)
        return Zone(offset_name(seconds), seconds)
    from zoneinfo import ZoneInfo, available_timezones

    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        near = did_you_mean(text, sorted(available_timezones()))
        raise DataError(
            f"{who} expects zone to be a name such as 'Europe/Berlin', 'UTC' or '+01:00', got {name!r}{near}"
        ) from None
    return Zone(text)


def offset_name(seconds: int) -> str:
    """An offset from UTC as ISO 8601 writes it, and 0 as `UTC`."""
    return offset_text(seconds) if seconds else "UTC"


def offset_text(seconds: int) -> str:
    """An offset from UTC as ISO 8601 writes it: `+02:00`."""
    hours, rest = divmod(abs(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02}:{minutes:02}" + (f":{rest:02}" if rest else "")


def to_utc(local: np.ndarray, zone: Zone, edges: np.ndarray, named: Callable[[int], str]) -> np.ndarray:
    """Times of local clocks as times of UTC.

    An hour that clocks show twice is settled by the order of the rows of a series: up to the step back in it, the
    first is meant, from there on the second. Where there is none, the one is meant that leaves the smaller hole, and
    the first of two that leave the same; in rows that are in no order, the second of two that are equal is later.

    Args:
        local: `(N,)` datetime64; NaT stays.
        zone: that of the clocks.
        edges: `(S + 1,)`, the row at which each series begins, and N.
        named: names a row for messages.

    Raises:
        DataError: a time that clocks skipped.
    """
    instants, offsets = zone.changes
    clock = local.astype("datetime64[us]").astype(np.int64)
    before, after = offsets[:-1] * SECOND, offsets[1:] * SECOND
    over = np.searchsorted(instants + np.maximum(before, after), clock, side="right")
    begun = np.searchsorted(instants + np.minimum(before, after), clock, side="right")
    inside = (begun > over) & ~np.isnat(local)
    skipped = np.flatnonzero(inside)[after[over[inside]] > before[over[inside]]] if inside.any() else np.empty(0, int)
    if len(skipped):
        row = int(skipped[0])
        change = over[row]
        shown = [str((instants[change] + step[change]).astype("datetime64[us]"))[:16] for step in (before, after)]
        raise DataError(
            f"{named(row)}: {zone.name} has no time {local[row].astype('datetime64[s]')}: its clocks went from "
            f"{shown[0]} to {shown[1]}; correct the time or the zone (an offset that never changes is zone='+01:00')"
        )
    second = np.zeros(len(clock), bool)
    twice = np.flatnonzero(inside)
    if len(twice):
        series = np.searchsorted(edges, twice, side="right")
        order = np.lexsort((over[twice], series))  # stable: the rows of each series and change stay in their order
        cuts = np.flatnonzero((np.diff(series[order]) != 0) | (np.diff(over[twice][order]) != 0)) + 1
        for rows in np.split(twice[order], cuts):
            place = int(np.searchsorted(edges, rows[0], side="right"))
            shift = int((before - after)[over[rows[0]]])
            second[rows] = _second(clock[edges[place - 1] : edges[place]], rows - edges[place - 1], shift)
    ahead = offsets[over + second]
    return local - ahead.astype("timedelta64[s]")


def _second(clock: np.ndarray, rows: np.ndarray, shift: int) -> np.ndarray:
    """Which rows in an hour that comes twice lie in the second one.

    Args:
        clock: `(n,)` int64, what clocks show in each row of a series.
        rows: `(k,)`, those in the hour, ascending.
        shift: by how much clocks are set back.
    """
    if np.sign(np.diff(clock)).sum() < 0:  # the newest row stands first
        return _second(clock[::-1], len(clock) - 1 - rows[::-1], shift)[::-1]
    back = np.flatnonzero(np.diff(clock[rows]) <= 0) + 1
    second = np.zeros(len(rows), bool)
    if len(back) == 1:
        second[back[0] :] = True
    elif len(back) == 0:
        into = clock[rows[0]] - clock[rows[0] - 1] if rows[0] > 0 else 0
        out = clock[rows[-1] + 1] - clock[rows[-1]] if rows[-1] + 1 < len(clock) else -shift
        second[:] = max(into + shift if rows[0] > 0 else 0, out) < max(into, out + shift)
    else:
        order = np.argsort(clock[rows], kind="stable")
        second[order[1:]] = np.diff(clock[rows][order]) == 0
    return second
