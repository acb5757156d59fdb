"""Times that are written as text or are objects: as numbers, or as dates without a zone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np

from rnnkit.errors import DataError

DATES = "datetime64[us]"

Complain = Callable[[int], DataError]
"""Makes the error about the nth of some times."""


def read_times(cells: list[str], no_time: Complain) -> np.ndarray:
    """Text as float64 where the first is a number, else as datetime64[us]; times with a zone in UTC.

    Raises:
        DataError: what `no_time` makes of one that cannot be read or is missing.
    """
    kind, read = (np.float64, as_number) if as_number(cells[0]) is not None else (DATES, as_instant)
    try:
        times = _converted(cells, kind)
    except (ValueError, Warning):
        found: list[Any] = [read(cell) for cell in cells]
        if None in found:
            raise no_time(found.index(None)) from None
        times = np.array(found, kind)
    missing = np.isnat(times) if kind == DATES else np.isnan(times)
    if missing.any():
        raise no_time(int(missing.argmax()))
    return times


def read_dates(values: np.ndarray, no_time: Complain) -> np.ndarray:
    """Text or objects as datetime64[us], those with a zone in UTC; NaT for what is missing.

    Raises:
        DataError: what `no_time` makes of one that is no date.
    """
    try:
        return _converted(values, DATES)
    except (ValueError, TypeError, Warning):
        dates = np.empty(len(values), DATES)
        for place, value in enumerate(values.tolist()):
            try:
                found = as_instant(value)
                dates[place] = _converted(value, DATES) if found is None else found
            except (ValueError, TypeError, Warning):
                raise no_time(place) from None
        return dates


def as_number(cell: str) -> float | None:
    """Text as a number, or None."""
    try:
        return float(cell)
    except ValueError:
        return None


def as_instant(value: Any) -> datetime | None:
    """ISO 8601 text or a date as a time without zone, in UTC where it has one; None for anything else."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if not isinstance(value, date):
        return None
    moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _converted(values: Any, kind: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy reads times with a zone, too, but no longer wants to
        return np.array(values, kind)
