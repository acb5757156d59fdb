"""Numbers that may stand for a missing value: one far outside all others, exactly repeated."""

from __future__ import annotations

import numpy as np

FAR = 10
"""Ranges of all other values by which such a number lies outside them at least."""


class Extremes:
    """The lowest and the highest value of some columns, and how often they occur, block by block."""

    def __init__(self, columns: int) -> None:
        self._ends = [[_End(sign) for sign in (1.0, -1.0)] for _ in range(columns)]

    def add(self, values: np.ndarray) -> None:
        """Look at more rows `(n, C)`."""
        for column, ends in enumerate(self._ends):
            known = values[:, column]
            known = known[np.isfinite(known)]
            for end in ends:
                end.add(known)

    def repeated(self) -> dict[int, tuple[float, int]]:
        """By column, a value that may stand for a missing one, and how often it occurs."""
        found = {}
        for column, (low, high) in enumerate(self._ends):
            for end, other in ((low, high), (high, low)):
                if end.second is None or end.count < 2:
                    continue
                spread = abs(other.value - end.second)
                if 0 < FAR * spread < abs(end.value - end.second):
                    found[column] = end.value, end.count
        return found


class _End:
    """The lowest of some values (with sign -1 the highest), how often it occurs, and the one next to it."""

    def __init__(self, sign: float) -> None:
        self._sign, self._first, self._second, self.count = sign, np.inf, np.inf, 0

    @property
    def value(self) -> float:
        """The outermost value."""
        return self._sign * self._first

    @property
    def second(self) -> float | None:
        """The one next to it."""
        return self._sign * self._second if np.isfinite(self._second) else None

    def add(self, values: np.ndarray) -> None:
        """Look at more values `(n,)`."""
        if not len(values):
            return
        first = self._sign * float(values.min() if self._sign > 0 else values.max())
        count = int((values == self._sign * first).sum())
        others = values[values != self._sign * first]
        second = self._sign * float(others.min() if self._sign > 0 else others.max()) if len(others) else np.inf
        if first < self._first:
            self._second, self._first, self.count = min(self._first, second), first, count
        elif first == self._first:
            self._second, self.count = min(self._second, second), self.count + count
        else:
            self._second = min(self._second, first)
