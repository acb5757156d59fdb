"""Naive predictions, from what was known when a prediction was made and nothing later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnkit.checks import is_whole
from rnnkit.data import Sequence
from rnnkit.data.survey import Facts
from rnnkit.errors import DataError, did_you_mean, listed

AHEAD = 10_000
"""Rows that a target given apart is looked for behind the row that it is predicted from, at most."""

ALIKE, ENOUGH = 500, 20
"""Rows over which a target is compared with later values of its column, and in how many it has to be one at least."""

Column = str | int

Baseline = Column | list[str] | list[int] | tuple[Column, ...] | None
"""The column of x that targets are the future of, by name or number; or one for each target."""


@dataclass(frozen=True)
class Known:
    """The columns of x that targets are the future of.

    Attributes:
        columns: one for each target.
        ahead: how many rows after its row each target stands in its column, `(O,)` int64; None where that is not known.
    """

    columns: tuple[int, ...]
    ahead: np.ndarray | None

    def last(self, x: np.ndarray) -> np.ndarray:
        """Persistence: the value of each column in rows x `(n, F)`, `(n, O)`."""
        return x[:, self.columns]

    def season(self, series: Sequence, rows: np.ndarray, period: int) -> tuple[np.ndarray, np.ndarray]:
        """Seasonal-naive predictions: a whole number of periods before the predicted row, the last one that is known.

        Args:
            series: in its own units.
            rows: rows `(n,)` that have a target.
            period: rows of a season.

        Returns:
            `(values, known)`: `(n, O)`, and `(n,)` bool, false where one would lie before the run of rows.
        """
        assert self.ahead is not None  # else there is no season
        back = self.ahead - period * np.maximum(-(-self.ahead // period), 1)  # at most 0: nothing later than the row
        first = series.runs[np.searchsorted(series.starts, rows, side="right") - 1, 0]
        place = rows[:, None] + back
        known = (place >= first[:, None]).all(1)
        x = series.take(np.maximum(place, first[:, None]), np.float64)[0]  # (n, O, F)
        return np.take_along_axis(x, np.array(self.columns)[None, :, None], -1)[..., 0], known


def known_columns(series: Sequence, baseline: Baseline) -> Known | None:
    """What a naive prediction may repeat.

    Args:
        series: in its own units.
        baseline: the column of x that the targets are the future of, by name or number, or one for each target; left
            out, the targets' own where they are columns of x.

    Returns:
        None where the targets are given apart, and no column is named.

    Raises:
        DataError: no such column, or another number of them.
    """
    columns = chosen_columns(series, baseline)
    if columns is None:
        return None
    own = columns == series.target_columns
    return Known(columns, np.full(len(columns), series.horizon) if own else _ahead(series, columns))


def chosen_columns(series: Sequence | Facts, baseline: Baseline) -> tuple[int, ...] | None:
    """The column of x for each target that a naive prediction repeats, or None.

    Raises:
        DataError: no such column, or another number of them.
    """
    if baseline is None or not series.outputs:
        return series.target_columns
    given = list(baseline) if isinstance(baseline, list | tuple) else [baseline] * series.outputs
    if len(given) != series.outputs:
        raise DataError(
            f"evaluate expects baseline to be a column, or one for each target, {series.outputs} in all, got "
            f"{len(given)}; name as many, or one for all"
        )
    return tuple(_column(series, column) for column in given)


def _column(series: Sequence | Facts, column: Column) -> int:
    names = series.feature_names or ()
    if isinstance(column, str) and column in names:
        return names.index(column)
    if is_whole(column) and 0 <= column < series.features:
        return int(column)
    known = f"a feature ({listed(names, 12, 'in all')})" if names else "a column of x"
    raise DataError(
        f"evaluate expects baseline to be {known}, or its number from 0 to {series.features - 1}, got {column!r}"
        f"{did_you_mean(str(column), names)}; name the one that the targets of {series.name!r} are the future of"
    )


def _ahead(series: Sequence, columns: tuple[int, ...]) -> np.ndarray | None:
    """How many rows ahead targets given apart are of their columns: where the longest segment shows them to be."""
    start, stop = series.segments[int(series.lengths.argmax())]
    end = int(series.runs[int(series.lengths.argmax()), 2])
    numbers = series.as_numbers()
    y = numbers.read_y(start, min(start + ALIKE, stop), np.float64)
    x = numbers.read_x(start, min(start + ALIKE + AHEAD, end), np.float64)
    found = [_shift(x[:, column], y[:, place]) for place, column in enumerate(columns)]
    return None if -1 in found else np.array(found)


def _shift(column: np.ndarray, target: np.ndarray) -> int:
    """The smallest k with `target[t] = column[t + k]` for every t that has both, `ENOUGH` at least; -1 for none."""
    same = np.isclose(column, target[0], rtol=1e-6, atol=0)  # one may be stored in fewer digits
    for k in np.flatnonzero(same).tolist():
        both = min(len(target), len(column) - k)
        if both >= ENOUGH and np.allclose(column[k : k + both], target[:both], rtol=1e-6, atol=0):
            return k
    return -1
