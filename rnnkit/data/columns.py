"""Which columns of a file are inputs, targets and times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from rnnkit.data.mapped import Mapping, mapping, packed, unpacked
from rnnkit.data.series import Ids, Others
from rnnkit.data.source import Rows, Source
from rnnkit.data.textoptions import TextOptions
from rnnkit.data.times import NO_ZONE, Clock
from rnnkit.errors import DataError, counted, did_you_mean, warn

Column = str | int
Columns = list[str] | list[int] | tuple[str, ...] | tuple[int, ...]


class Wanted(NamedTuple):
    """Which columns the caller asked for."""

    time: Column | Columns | None
    features: Columns | None
    target: Column | Columns | None
    horizon: int
    series_id: Column | None = None
    time_format: str | None = None
    zone: str | None = None
    text: TextOptions = TextOptions()
    sort: bool | None = None


class Opened(NamedTuple):
    """What a file holds of what was asked for.

    Attributes:
        source: its rows.
        times: `(N,)`, or None.
        ids: the series of each row, or None.
        clock: what the times are counted by.
        others: the columns of the file, for messages; None where `series_id` is given.
    """

    source: Source
    times: Any
    ids: Ids | None = None
    clock: Clock = NO_ZONE
    others: Others | None = None


class Choice(NamedTuple):
    """Which columns of the file are what.

    Attributes:
        features: columns of x.
        targets: columns of y, empty where they are columns of x, or there are none.
        target_columns: which columns of x the targets are, none where there are no targets, or None.
        every: all columns of the file.
    """

    features: list[Any]
    targets: list[Any]
    target_columns: tuple[int, ...] | None
    every: list[Any]


def choose(who: str, known: list[Any], wanted: Wanted, dates: tuple[str, ...] = ()) -> Choice:
    """Find the columns asked for among those of the file, or the default ones.

    Where no target is named it is the only feature, `horizon` rows ahead; of several features, or at horizon 0, there
    is none.

    Args:
        who: how messages begin.
        known: the columns of the file.
        wanted: what was asked for.
        dates: columns that seem to hold dates, for messages.

    Raises:
        DataError: a column that is not there or asked for twice, or no column left for the features.
    """
    targets = _listed(wanted.target)
    unread = (*_listed(wanted.time), wanted.series_id, *(targets if wanted.horizon == 0 else ()))
    features = [column for column in known if column not in unread]
    if wanted.features is not None:
        features = _listed(wanted.features)
    elif wanted.target is None and wanted.time is None and len(dates) == 1 and len(features) > 1:
        others = [column for column in features if column not in dates]
        target = f", and which to predict: target={others[-1]!r}, or a list" if len(others) > 1 else ""
        raise DataError(
            f"{who} has {counted(len(features), 'column')} ({names(features)}), and {dates[0]!r} seems to hold the "
            f"times; say time={dates[0]!r}{target}"
        )
    if wanted.target is None and len(features) == 1 and wanted.horizon != 0:
        targets = features
    for option, columns in (
        ("time", _listed(wanted.time)),
        ("series_id", _listed(wanted.series_id)),
        ("target", targets),
        ("features", features),
    ):
        check_columns(who, known, option, columns)
    if not features and targets and wanted.features is None:
        raise DataError(
            f"{who} has no column left to predict {names([*map(repr, targets)])} from at horizon 0, where a target is "
            f"no feature unless features names it; say horizon=1 to forecast it"
        )
    if not features:
        raise DataError(f"{who} expects at least one column for features, got none; its columns are {names(known)}")
    read = [column for column in targets if column in features]
    if read and wanted.horizon == 0:
        warn(
            f"{who} reads its target {names([*map(repr, read)])} among the features at horizon 0: the model is shown "
            f"the value that it is to predict, and can copy it; leave it out of features, or say horizon=1 to "
            f"forecast it"
        )
    if len(read) == len(targets):
        return Choice(features, [], tuple(features.index(column) for column in targets), known)
    return Choice(features, targets, None, known)


def instead(column: Any, others: list[Any], wanted: Wanted, times: bool) -> str:
    """What to do about a column that holds no numbers.

    Args:
        column: the column.
        others: the features that do hold numbers.
        wanted: what was asked for.
        times: whether it seems to hold times.
    """
    use = ""
    if times and wanted.time is None:
        use = f", or say time={column!r} if it holds the times"
    elif not times and wanted.series_id is None:
        use = f", or say series_id={column!r} if it names the series of each row"
    return f"leave it out: features={others if 0 < len(others) <= 12 else '[...]'}{use}"


def check_columns(who: str, known: list[Any], option: str, columns: list[Any]) -> None:
    """Whether columns that an option names stand in the file, once.

    Raises:
        DataError: one that does not, or is named twice.
    """
    for column in columns:
        if column not in known or isinstance(column, bool):
            raise DataError(
                f"{who} has no column {column!r}, asked for as {option}; its columns are {names(known)}"
                f"{did_you_mean(str(column), map(str, known))}"
            )
        if known.count(column) > 1 or columns.count(column) > 1:
            raise DataError(f"{who}: {option} names column {column!r}, which stands there twice; name it once")


def file_source(
    who: str, choice: Choice, x: Rows, y: Rows | None, labels: bool, lines: np.ndarray | None = None
) -> Source:
    """The source that holds the chosen columns."""
    targets = choice.targets or [choice.features[column] for column in choice.target_columns or ()]
    return Source(
        x=x,
        y=y,
        target_columns=choice.target_columns,
        labels=labels and len(choice.targets) == 1,
        who=who,
        columns=tuple(f"column {column!r}" for column in choice.features),
        targets=tuple(f"column {column!r}" for column in choice.targets),
        lines=lines,
        feature_names=tuple(map(str, choice.features)),
        target_names=tuple(map(str, targets)) or None,
    )


@dataclass(frozen=True, eq=False)
class PickedColumns:
    """Some columns of an array, in any order, that slice by rows; the array itself is not copied."""

    array: np.ndarray
    columns: list[int]

    def __reduce__(self) -> Any:
        return _picked_columns, (packed(self.array), self.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """`(N, F)`."""
        return self.array.shape[0], len(self.columns)

    @cached_property
    def _mapping(self) -> Mapping | None:
        return mapping(self.array)

    def __getitem__(self, rows: slice) -> np.ndarray:
        if self._mapping is not None:
            self._mapping.check()
        return np.asarray(self.array[rows])[:, self.columns]


def _picked_columns(sent: Any, columns: list[int]) -> PickedColumns:
    return PickedColumns(unpacked(sent), columns)


def pick(array: np.ndarray, columns: list[int]) -> Any:
    """Columns of an array: a view where they stand side by side."""
    first, last = columns[0], columns[-1] + 1
    return array[:, first:last] if columns == list(range(first, last)) else PickedColumns(array, columns)


def _listed(columns: Any) -> list[Any]:
    if columns is None:
        return []
    return list(columns) if isinstance(columns, list | tuple) else [columns]


def names(columns: list[Any]) -> str:
    """Columns for a message, the first twelve of many."""
    shown = ", ".join(map(str, columns[:12]))
    return shown if len(columns) <= 12 else f"{shown}, ... ({len(columns)} in all)"
