"""Numbers that may stand for a missing value: one far outside all others, exactly repeated."""

from __future__ import annotations

import numpy as np

FAR = 10
"""Ranges of all other values by which such a number lies outside them at least."""


CELLS = 1 << 16
"""Cells that are looked at together: so few stay in the processor's cache."""


class Extremes:
    """The lowest and the highest value of some columns, and how often they occur, block by block."""

    def __init__(self, columns: int) -> None:
        self._low, self._high = _Ends(1.0, columns), _Ends(-1.0, columns)

    def add(self, values: np.ndarray) -> None:
        """Look at more rows `(n, C)`."""
        size = max(1, CELLS // max(1, values.shape[1]))
        for start in range(0, len(values), size):
            cells = np.array(values[start : start + size].T, np.float64, order="C")
            finite = np.isfinite(cells)
            if not finite.all():
                cells[~finite] = np.nan
            self._low.add(cells)
            self._high.add(cells)

    def repeated(self) -> dict[int, tuple[float, int]]:
        """By column, a value that may stand for a missing one, and how often it occurs."""
        found = {}
        for ends, others in ((self._low, self._high), (self._high, self._low)):
            for column in np.flatnonzero((ends.count >= 2) & np.isfinite(ends.second)).tolist():
                value, second = float(ends.first[column]), float(ends.second[column])
                spread = abs(-float(others.first[column]) - second)
                if 0 < FAR * spread < abs(value - second):
                    found[column] = ends.sign * value, int(ends.count[column])
        return dict(sorted(found.items()))


class _Ends:
    """The lowest value of some columns (with sign -1 the highest), how often it occurs, and the one next to it.

    Attributes:
        sign: what values are multiplied by, so that the outermost is the lowest.
        first, second: `(C,)` the lowest of these, and the lowest but that; infinite where there is none.
        count: `(C,)` how often the first occurs.
    """

    def __init__(self, sign: float, columns: int) -> None:
        self.sign = sign
        self.first, self.second = np.full(columns, np.inf), np.full(columns, np.inf)
        self.count = np.zeros(columns, np.int64)

    def add(self, cells: np.ndarray) -> None:
        """Look at more cells `(C, n)`, finite or NaN."""
        lowest = self.sign * (np.fmin if self.sign > 0 else np.fmax).reduce(cells, axis=1)
        inner = lowest > self.first
        self.second[inner] = np.minimum(self.second, lowest)[inner]
        for column in np.flatnonzero(lowest <= self.first):
            values, first = self.sign * cells[column], lowest[column]
            others = values[values > first]
            second = float(others.min()) if len(others) else np.inf
            if first < self.first[column]:
                second, self.count[column] = min(second, self.first[column]), 0
            self.first[column] = first
            self.second[column] = min(self.second[column], second)
            self.count[column] += int((values == first).sum())
