"""`Prediction` and `Forecast`: numbers that answer like an array, and what each of them is a prediction of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from rnnkit.data.times import write_times
from rnnkit.errors import DataError

AXES = ("samples", "rows", "horizons", "targets", "levels")
"""Axes in their order; an axis that a prediction does not need is not there."""


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(NDArrayOperatorsMixin):
    """What `predict` returns: a prediction made after each row of the source, and what it is a prediction of.

    It goes where an array goes: `np.asarray`, indexing, iteration, arithmetic, comparisons, NumPy's functions and the
    methods of an array are those of `values`, and give plain arrays. Neither it nor its arrays can be assigned to;
    change a copy: `predicted.copy()`. Place t of the axis `"rows"` holds what was predicted after row t was read.

    Attributes:
        values: in the data's own units, float64; logits for the cross-entropies. NaN where nothing was predicted.
        axes: the names of the axes of `values`, some of `"samples"`, `"rows"`, `"horizons"`, `"targets"`, `"levels"`,
            in this order: `("rows", "targets")`, or `("rows", "levels")` for the classes of the cross-entropy. Outputs
            of the net are ordered horizon, target, level, the last fastest.
        rows: int64, the row that is predicted: `horizon` rows after the one that was read. Like `times` and `is_future`
            it has the axes `"rows"` and, if there is one, `"horizons"`. A row that the data do not have counts on from
            the last one of its series, so that in a table of several series a row is told by `series` and `rows`.
        is_future: bool, whether the row lies behind the last one of its series whose target is known: no error can be
            taken there yet.
        times: when that is, numbers or datetime64, or None where the data have no times. Behind the end of a segment
            they go on by its most frequent step. Missing (NaN, NaT) where nothing was predicted.
        zone: of the times, which are in UTC then; None for times as the data have them.
        series: `(rows,)` the id of the series of each, objects; None for a sequence that is not a table of several.
        ends: `(S,)` int64, of a sequence with `score="last"` the place along `"rows"` that counts for each sample; else
            None.
        ids: `(S,)` the id of each sample: of its series in a table, else its number in the whole sequence.

    Example:
        >>> import numpy as np, rnnkit as rk
        >>> series = rk.Sequence(np.sin(np.arange(100) / 5))
        >>> schedule = rk.Schedule(series, rk.Continuation(length=16), rk.Carry())
        >>> run = rk.fit(rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1)), schedule, backend="numpy", epochs=1)
        >>> predicted = rk.predict(run, series)
        >>> predicted.shape, predicted.axes, predicted.rows[-1], predicted.is_future.sum()
        ((100, 1), ('rows', 'targets'), np.int64(100), np.int64(1))
    """

    values: np.ndarray
    axes: tuple[str, ...]
    rows: np.ndarray
    is_future: np.ndarray
    times: np.ndarray | None = None
    zone: str | None = None
    series: np.ndarray | None = None
    ends: np.ndarray | None = None
    ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            array = getattr(self, name)
            if isinstance(array, np.ndarray):
                array = array.view()
                array.flags.writeable = False  # whichever way it is come by: what is frozen is not written into
                object.__setattr__(self, name, array)

    def __reduce__(self) -> Any:  # arrays that are sent or copied can be written into again
        return type(self), tuple(getattr(self, name) for name in self.__dataclass_fields__)

    def by_sample(self) -> Prediction:
        """The prediction for each sample of a sequence with `score="last"`, made after the row of it that counts.

        Returns:
            The same axes, with an entry a sample along `"rows"`; `series` are their `ids`.

        Raises:
            DataError: a sequence of which every row counts.
        """
        if self.ends is None:
            raise DataError(
                "by_sample expects a prediction of a sequence with score='last', of which a row a sample counts; "
                "every row of this one does, so choose rows: predicted[rows]"
            )
        return replace(self.at(self.ends), series=self.ids)

    def at(self, places: np.ndarray) -> Prediction:
        """The predictions at some places `(n,)`, whole numbers, along the axis `"rows"`, with what they are of."""

        def there(array: np.ndarray | None) -> Any:
            return None if array is None else array[places]

        return replace(
            self,
            values=self.values.take(places, self.axes.index("rows")),
            rows=self.rows[places],
            is_future=self.is_future[places],
            times=there(self.times),
            series=there(self.series),
            ends=None,
            ids=None,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `values`, its axes in the order of `axes`."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of `values`."""
        return self.values.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is None:
            return np.asarray(self.values, dtype)
        if copy:
            return np.array(self.values, dtype)
        if dtype is not None and np.dtype(dtype) != self.values.dtype:
            raise ValueError(f"values of {self.values.dtype} cannot be had as {np.dtype(dtype)} without a copy")
        return self.values

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        if any(isinstance(array, Prediction) for array in out):
            if len(out) > 1 or out[0] is not inputs[0]:
                return NotImplemented
            out = ()  # `predicted += 1` gives a new array: what is frozen is not written into
        plain = (array.values if isinstance(array, Prediction) else array for array in inputs)
        return getattr(ufunc, method)(*plain, **options, **({"out": out} if out else {}))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in self.__dataclass_fields__:  # while one is being unpickled or copied
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        try:
            return getattr(self.values, name)
        except AttributeError:
            known = ", ".join(self.__dataclass_fields__)
            raise AttributeError(
                f"{type(self).__name__} has {known}, and what an array has; got {name!r}", name=name, obj=self
            ) from None

    def __getitem__(self, index: Any) -> Any:
        return self.values[np.asarray(index) if isinstance(index, Prediction) else index]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def __bool__(self) -> bool:
        return bool(self.values)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {size:,}" for name, size in zip(self.axes, self.shape, strict=True))
        what = f"{sizes}; {self._span()}; {int(self.is_future.sum()):,} in the future"
        return f"{type(self).__name__}({what})\n{self.values}"

    def _span(self) -> str:
        """The first and the last row that is predicted, with their times."""
        told = []
        for place in (0, -1) if self.rows.size else ():
            time = "" if self.times is None else write_times(self.times.reshape(-1)[[place]], self.zone)[0]
            told.append(f"{self.rows.flat[place]:,} ({time})" if time else f"{self.rows.flat[place]:,}")
        return f"of rows {' to '.join(told)}" if told else "of no row"


class Forecast(Prediction):
    """What `forecast` returns: a `Prediction` of the rows after the last one whose target is known.

    Place k of the axis `"rows"` holds the kth row after it; all of them are in the future.
    """
