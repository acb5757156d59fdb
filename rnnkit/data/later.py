"""Times that go on after the last known one."""

from __future__ import annotations

import numpy as np

STEPS = 10_000
"""Steps in time, the last ones, among which the most frequent is looked for."""


def later_times(times: np.ndarray, count: int) -> np.ndarray:
    """The times of some more rows, by the most frequent step; by months where all are months apart.

    Args:
        times: `(N,)` numbers or datetime64, in order, one at least.
        count: how many more.

    Returns:
        `(count,)` of the same dtype; missing (NaN, NaT; for whole numbers the last one again) after a single time.

    Example:
        >>> import numpy as np
        >>> later_times(np.array(["2024-01-31", "2024-02-29", "2024-03-31"], "datetime64[D]"), 2).astype(str).tolist()
        ['2024-04-30', '2024-05-31']
    """
    times, ahead = times[-STEPS - 1 :], np.arange(1, count + 1)
    if len(times) < 2:
        return np.full(count, times[-1] if times.dtype.kind in "iu" else missing_time(times.dtype), times.dtype)
    for days in (0, 1) if times.dtype.kind == "M" else ():  # the last day of a month is one before the first
        if (months := _months_apart(times, days)) is not None:
            return _months_later(times[-1], days, months * ahead)
    steps, often = np.unique(np.diff(times), return_counts=True)
    return (times[-1] + ahead * steps[often.argmax()]).astype(times.dtype)


def missing_time(dtype: np.dtype) -> np.generic | float:
    """What stands for no time among times of a dtype: NaT, or NaN."""
    return np.datetime64("NaT") if dtype.kind == "M" else np.nan


def _months_apart(times: np.ndarray, days: int) -> int | None:
    """How many months lie between dates that stand, so many days later, at one place of their months; else None."""
    if np.datetime_data(times.dtype)[0] in ("Y", "M", "W"):
        return None
    later = times + np.timedelta64(days, "D")
    month = later.astype("datetime64[M]")
    steps = np.diff(month).astype(np.int64)
    alike = steps[0] > 0 and (steps == steps[0]).all() and (later - month == later[0] - month[0]).all()
    return int(steps[0]) if alike else None


def _months_later(time: np.datetime64, days: int, months: np.ndarray) -> np.ndarray:
    later = time + np.timedelta64(days, "D")
    month = later.astype("datetime64[M]")
    return ((month + months) + (later - month) - np.timedelta64(days, "D")).astype(time.dtype)
