"""Scaling to mean 0 and standard deviation 1, fitted on the training part alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.data.source import SLICE
from rnnkit.errors import DataError

if TYPE_CHECKING:
    from rnnkit.data.sequence import Sequence


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
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
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

        Targets that are columns of x get the numbers of those columns. A constant column gets std 1. Labels have
        theirs, too, for losses that take them as numbers; as labels they are never scaled.

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
    """Of each column of one or several sequences: count, mean and sum of squared deviations, block by block.

    Two blocks a, b with n = n_a + n_b rows merge to

        mean = mean_a + (mean_b - mean_a) n_b / n
        M2 = M2_a + M2_b + (mean_b - mean_a)² n_a n_b / n

    A mean far from 0 is rounded by its own size, so all of them are counted from the first block's mean.
    """

    def __init__(self) -> None:
        self.count = 0
        self.origin: Any = 0.0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    def add(self, block: np.ndarray) -> None:
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
        raw = series.with_scaler(None)
        own = series.target_columns is None
        for rows in series.row_slices(SLICE):
            x, y = raw.take(rows, np.float64)
            self.add(np.concatenate((x, y.reshape(len(y), -1)), axis=1) if own else x)

    def standard(self, series: Sequence) -> Standard:
        """The scaler for sequences such as `series`, one of those that were added."""
        mean, std = self.mean_and_std()
        width = series.features
        targets = series.target_columns or range(width, len(mean))
        return Standard(
            tuple(mean[:width]),
            tuple(std[:width]),
            tuple(mean[column] for column in targets),
            tuple(std[column] for column in targets),
        )

    def mean_and_std(self) -> tuple[np.ndarray, np.ndarray]:
        std = np.sqrt(self.squares / self.count)
        return self.origin + self.mean, np.where(std == 0, 1.0, std)


def _scaled(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    scaled = values - mean
    scaled /= std
    return scaled
