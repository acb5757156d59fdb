"""Scaling to mean 0 and standard deviation 1, fitted on the training part alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.checks import as_numbers
from rnnkit.data.source import SLICE
from rnnkit.errors import DataError, warn

if TYPE_CHECKING:
    from rnnkit.data.sequence import Sequence

ROUNDINGS = 4
"""A deviation of no more than so many roundings of a column's largest value is no deviation."""

PLAIN = 400
"""Powers of two whose squares and sums stay far within the range of float64."""

LOWEST = -1100
"""A power of two below all numbers but 0."""

SMALLEST = 5e-324
"""The smallest number above 0."""


@dataclass(frozen=True)
class Standard:
    """Per column: `scaled = (value - mean) / std`.

    Args:
        x_mean, x_std: of the features, F numbers each.
        y_mean, y_std: of the targets, O numbers each; or empty, to leave the targets as they are.

    Raises:
        DataError: different numbers of means and stds, one that is not finite, or a std that is not positive.

    Example:
        >>> import numpy as np
        >>> from rnnkit.data import Sequence, Standard
        >>> Standard.fit(Sequence(np.array([1.0, 3.0, 7.0])))
        Standard(x_mean=(2.0,), x_std=(1.0,), y_mean=(2.0,), y_std=(1.0,))
    """

    x_mean: tuple[float, ...]
    x_std: tuple[float, ...]
    y_mean: tuple[float, ...] = ()
    y_std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            given = getattr(self, name)
            values = as_numbers(given, "Standard", name, np.float64, DataError)
            if values.ndim != 1:
                raise DataError(f"Standard expects {name} to be a list of numbers, got {given!r}; write {name}=[0.0]")
            object.__setattr__(self, name, tuple(values.tolist()))
        for kind, means, stds in (("x", self.x_mean, self.x_std), ("y", self.y_mean, self.y_std)):
            if len(means) != len(stds):
                raise DataError(
                    f"Standard expects as many numbers in {kind}_mean as in {kind}_std, "
                    f"got {len(means)} and {len(stds)}"
                )
            if not np.isfinite(means + stds).all() or any(std <= 0 for std in stds):
                raise DataError(f"Standard expects finite {kind}_mean and positive {kind}_std, got {means}, {stds}")

    @classmethod
    def fit(cls, series: Sequence) -> Standard:
        """Mean and standard deviation over the rows of the segments: one pass, bounded slices, float64.

        Targets that are columns of x get the numbers of those columns. A constant column gets std 1; so does one that
        varies by nothing but rounding of its numbers, with a warning. Labels have theirs, too, for losses that take
        them as numbers; as labels they are never scaled.

        Args:
            series: usually the training part; a scaler that it carries is left aside.

        Source: the merging of moments is that of Chan, Golub and LeVeque (1979).
        """
        if not hasattr(series, "with_scaler"):
            raise DataError(
                f"Standard.fit expects a Sequence, got {type(series).__name__}; wrap it: rk.Sequence(values)"
            )
        moments = Moments()
        moments.add_series(series)
        moments.tell_rounded(f"Standard.fit of {series.name!r}")
        return moments.standard(series)

    def of_inputs(self) -> Standard:
        """The half that scales the features, and leaves targets as they are."""
        return Standard(self.x_mean, self.x_std)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Standard:
        """What `to_dict` wrote.

        Raises:
            DataError: a name that is missing or unknown.
        """
        known = {field.name for field in fields(cls)}
        if set(data) != known:
            raise DataError(f"Standard.from_dict expects {', '.join(sorted(known))}, got {', '.join(sorted(data))}")
        return cls(**data)

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists of numbers by name, for JSON and TOML."""
        return {name: list(values) for name, values in asdict(self).items()}

    def scale_x(self, x: np.ndarray) -> np.ndarray:
        """Features `(..., F)` scaled: a new array in float64."""
        return _scaled(x, *self._x)

    def scale_y(self, y: np.ndarray) -> np.ndarray:
        """Targets `(..., O)` scaled: a new array in float64; as they are where there is no y_mean."""
        return _scaled(y, *self._y) if self.y_mean else y

    def unscale_x(self, x: np.ndarray) -> np.ndarray:
        """Scaled features `(..., F)` in their own unit: a new array in float64."""
        mean, std = self._x
        return x * std + mean

    def unscale_y(self, y: np.ndarray) -> np.ndarray:
        """Scaled targets or predictions `(..., O)` in their own unit, in float64; y itself without y_mean."""
        if not self.y_mean:
            return y
        mean, std = self._y
        return y * std + mean

    @cached_property
    def _x(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.x_mean), np.array(self.x_std)

    @cached_property
    def _y(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.y_mean), np.array(self.y_std)


class Moments:
    """Count, mean and sum of squared deviations of each column of one or several sequences, block by block.

    Two blocks a, b with n = n_a + n_b rows merge to

        mean = mean_a + (mean_b - mean_a) n_b / n
        M2 = M2_a + M2_b + (mean_b - mean_a)² n_a n_b / n

    A mean far from 0 is rounded by its own size, so all of them are counted from the first block's mean, and whole
    numbers that float64 cannot tell apart from the first of them. Columns so large or small that their squares would
    leave the range of float64 are counted in a power of two.
    """

    def __init__(self) -> None:
        self.count = 0
        self.origin: Any = 0.0
        self.mean: Any = 0.0
        self.squares: Any = 0.0
        self.largest: Any = 0.0
        self.rounding: Any = 0.0
        self.whole: Any = None
        self.power: Any = LOWEST
        self.places: tuple[str, ...] = ()

    def add(self, block: np.ndarray) -> None:
        """Add rows `(n, C)` in float64."""
        largest = np.abs(block).max(0)
        self.largest = np.maximum(self.largest, largest)
        block = self._in_powers(block, largest)
        rows = len(block)
        if not self.count:
            self.origin = block.mean(0)
        shifted = block - self.origin
        mean = shifted.mean(0)
        squares = ((shifted - mean) ** 2).sum(0)
        total = self.count + rows
        shift = mean - self.mean
        self.squares = self.squares + squares + shift**2 * (self.count * rows / total)
        self.mean = self.mean + shift * (rows / total)
        self.count = total

    def add_series(self, series: Sequence) -> None:
        """Add the rows of a sequence's segments, in its own units: its features, then targets that are none of them."""
        own = series.target_columns is None
        for rows in series.row_slices(SLICE):
            x, y = series.stored(rows)
            blocks = (x, y) if own else (x,)
            if self.whole is None:
                self.whole = np.concatenate([_beyond(block[0]) for block in blocks])
            at = np.cumsum([0, *(block.shape[1] for block in blocks)])
            wholes = [self.whole[first:last] for first, last in pairwise(at)]
            self.add(np.concatenate([_less(*pair) for pair in zip(blocks, wholes, strict=True)], axis=1))
            self.rounding = np.maximum(self.rounding, np.concatenate([_rounding(block) for block in blocks]))
        self.places = series.places

    def standard(self, series: Sequence) -> Standard:
        """The scaler for sequences such as `series`, one of those that were added."""
        mean, std = self.mean_and_std()
        width = series.features
        targets = series.target_columns
        targets = range(width, len(mean)) if targets is None else targets
        return Standard(
            tuple(mean[:width]),
            tuple(std[:width]),
            tuple(mean[column] for column in targets),
            tuple(std[column] for column in targets),
        )

    def mean_and_std(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of each column; 1 for the deviation of one that is constant, but for rounding."""
        mean = np.ldexp(self.origin + self.mean, self.power)
        if self.whole is not None:
            mean = np.array([float(whole + each) for whole, each in zip(self.whole, mean, strict=True)])
        return mean, np.where((self.squares == 0) | self._rounded(), 1.0, self._std())

    def tell_rounded(self, who: str) -> None:
        """Warn of columns that are constant but for rounding."""
        for column in np.flatnonzero(self._rounded()):
            warn(
                f"{who}: {self.places[column]} varies by {self._std()[column]:.2g} around "
                f"{self.mean_and_std()[0][column]:.6g}, which is nothing but rounding, and is taken for constant; "
                f"leave it out, or give a Standard(...) of your own"
            )

    def _std(self) -> np.ndarray:
        std = np.ldexp(np.sqrt(self.squares / self.count), self.power)
        return np.where(self.squares == 0, 0.0, np.maximum(std, SMALLEST))

    def _rounded(self) -> np.ndarray:
        """Which columns vary, but by no more than a few roundings of their size."""
        varies = self.squares > 0
        return varies & (self._std() <= ROUNDINGS * self.rounding * self.largest)

    def _in_powers(self, block: np.ndarray, largest: np.ndarray) -> np.ndarray:
        """A block in each column's power of two, which grows with its largest value; moments so far likewise."""
        power = np.frexp(largest)[1]
        power = np.where(largest == 0, LOWEST, np.where(np.abs(power) <= PLAIN, 0, power))
        power = np.maximum(self.power, power)
        if self.count and (power > self.power).any():
            fewer = self.power - power
            self.origin, self.mean = np.ldexp(self.origin, fewer), np.ldexp(self.mean, fewer)
            self.squares = np.ldexp(self.squares, 2 * fewer)
        self.power = power
        return block if np.isin(power, (0, LOWEST)).all() else np.ldexp(block, -power)


def _beyond(row: np.ndarray) -> np.ndarray:
    """The whole numbers of a row `(C,)` of a block that float64 does not tell from their neighbours, else 0, as int."""
    if row.dtype.kind not in "iu":
        return np.zeros(len(row), object)
    return np.array([value if abs(value) >= 2**53 else 0 for value in row.tolist()], object)


def _less(block: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """A block less some whole numbers `(C,)`, in float64: exact for whole numbers that lie near."""
    if not whole.any():
        return block.astype(np.float64)
    far = block.astype(np.float64) - whole.astype(np.float64)
    if block.dtype.kind not in "iu":
        return far
    wrapped = block.astype(np.uint64) - np.array([value % 2**64 for value in whole.tolist()], np.uint64)
    return np.where(np.abs(far) < 2.0**62, wrapped.view(np.int64).astype(np.float64), far)


def _rounding(block: np.ndarray) -> np.ndarray:
    """The relative size of a rounding of a block's numbers, for each column; 0 for whole numbers."""
    eps = max(np.finfo(block.dtype).eps, np.finfo(np.float64).eps) if block.dtype.kind == "f" else 0.0
    return np.full(block.shape[1], float(eps))


def _scaled(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8 and (np.abs(mean) >= 2**53).any():
        whole = np.array([int(each) if abs(each) >= 2**53 else 0 for each in mean.tolist()], object)
        scaled = _less(values.reshape(-1, len(mean)), whole).reshape(values.shape)
        scaled -= np.where(whole == 0, mean, 0.0)
    else:
        scaled = values - mean
    scaled /= std
    return scaled
