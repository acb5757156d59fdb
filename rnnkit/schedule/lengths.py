"""Window lengths drawn by chance, so that no lag is always cut: for `Continuation(length=...)`.

With L the length of a window and h(n) = P(L = n | L >= n) its hazard, the gradient that crosses from row n to row
n - 1 of a window (rows from 0) got through a cut that would have stopped it with probability h(n). Multiplied by
1 / (1 - h(n)) it is, in the mean over all cuts, what it would be without any: the estimate is unbiased for every lag
at which a window may still be running.

Source: Tallec and Ollivier, "Unbiasing truncated backpropagation through time" (2017), equations 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnkit.checks import is_whole
from rnnkit.errors import ScheduleError
from rnnkit.schedule.checks import MOST, check_whole


@dataclass(frozen=True)
class Uniform:
    """Every whole number of rows from `low` to `high`, with equal chance.

    No window is longer than `high`: lags beyond it are cut always, and no weight brings them back.

    Raises:
        ScheduleError: not 1 <= low <= high.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        whole = all(is_whole(n) for n in (self.low, self.high))
        if not whole or not 1 <= self.low <= self.high:
            raise ScheduleError(f"Uniform expects whole numbers 1 <= low <= high, got {self.low!r} and {self.high!r}")
        check_whole(self, "high", self.high)

    @property
    def mean(self) -> float:
        """Rows of a window in the mean."""
        return (self.low + self.high) / 2

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Lengths of `count` windows, int64."""
        return rng.integers(self.low, self.high, count, endpoint=True)

    def factors(self, rows: int) -> np.ndarray:
        """1 / (1 - h(n)) for n = 0 ... rows - 1, `(rows,)`; 1 where every window is cut."""
        n = np.arange(rows)
        left = np.maximum(self.high - n, 0)  # the lengths beyond n that may still come
        return np.where((n >= self.low) & (left > 0), (left + 1) / np.maximum(left, 1), 1.0)


@dataclass(frozen=True)
class Geometric:
    """After every row the window ends with probability 1 / mean: no memory, no longest window, no lag always cut.

    Raises:
        ScheduleError: a mean of 1 row or less.
    """

    mean: float

    def __post_init__(self) -> None:
        if (
            isinstance(self.mean, bool)
            or not isinstance(self.mean, int | float | np.integer)
            or not 1 < self.mean < float("inf")
        ):
            raise ScheduleError(f"Geometric expects mean > 1 (rows), got {self.mean!r}")
        if self.mean > MOST:
            raise ScheduleError(f"Geometric expects mean <= {MOST:,} (rows), got {self.mean:g}; make it smaller")

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Lengths of `count` windows, int64."""
        return rng.geometric(1 / self.mean, count)

    def factors(self, rows: int) -> np.ndarray:
        """1 / (1 - h(n)) for n = 0 ... rows - 1, `(rows,)`; nothing is cut before the first row."""
        return np.where(np.arange(rows) > 0, 1 / (1 - 1 / self.mean), 1.0)


Lengths = Uniform | Geometric
