"""What is known of many data sets before training: each is opened once, measured, and closed again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from rnnkit.data.dataset import DataSet, OpenParts
from rnnkit.data.scaling import Moments, Standard
from rnnkit.data.sequence import Score, Sequence
from rnnkit.data.source import SLICE
from rnnkit.data.typical import Typical, look_at_targets
from rnnkit.errors import DataError, RnnkitError, listed

OnError = Literal["stop", "skip"]

Part = Literal["training", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)


class Facts(NamedTuple):
    """What is known of a data set.

    Attributes:
        name: its name.
        lengths: `(S,)`, rows of each segment of its training part.
        rows: of its training part, with a target.
        features, outputs, labels, horizon, score, feature_names, target_names, target_columns: as of `Sequence`.
        scaler: through which it is seen, or None.
        highest: its highest label, the row of the first such, and its segment; None without labels.
        parts: those that it has, of training, validation and test, in this order.
        part_rows: the rows of each of these.
        part_series: how many series have rows in each of these, None without `series_id`.
        fingerprint: what tells whether it has changed.
        typical: what the targets of its training part are like.
        constant: of each target, whether it is the same in every row of that part.
    """

    name: str
    lengths: np.ndarray
    rows: int
    features: int
    outputs: int
    labels: bool
    horizon: int
    score: Score
    feature_names: tuple[str, ...] | None
    target_names: tuple[str, ...] | None
    target_columns: tuple[int, ...] | None
    scaler: Standard | None
    highest: tuple[int, int, int] | None
    parts: tuple[Part, ...]
    part_rows: tuple[int, ...]
    part_series: tuple[int | None, ...]
    fingerprint: tuple[Any, ...]
    typical: Typical
    constant: tuple[bool, ...] = ()


class Opening(NamedTuple):
    """A data set that is about to be opened.

    Attributes:
        name: its name.
        place, sets: its place, from 0, among how many.
    """

    name: str
    place: int
    sets: int


class Survey(NamedTuple):
    """What is known of the data sets that can be opened, by name, and why the others cannot."""

    facts: dict[str, Facts]
    skipped: dict[str, str]


def survey(
    datasets: Collection[DataSet], on_error: OnError, on_open: Callable[[Opening], None] | None = None
) -> Survey:
    """Open each data set once, measure it, and close it again.

    Args:
        datasets: their names differ.
        on_error: `"stop"` at the first that cannot be opened, or `"skip"` such.
        on_open: called before each is opened.

    Raises:
        RnnkitError: under `"stop"`, what opening says, with the data set's name before it.
        DataError: data sets with different features, or none that can be opened.
    """
    facts: dict[str, Facts] = {}
    skipped: dict[str, str] = {}
    shared, of_all = Moments(), None
    sharing: list[str] = []
    for place, dataset in enumerate(datasets):
        if on_open is not None:
            on_open(Opening(dataset.name, place, len(datasets)))
        try:
            opened = dataset.open()
            found = _facts(dataset, opened)
        except RnnkitError as error:
            if on_error == "stop":
                raise
            skipped[dataset.name] = str(error)
            continue
        if facts:
            _check_alike(next(iter(facts.values())), found)
        facts[dataset.name] = found
        if dataset.scaler == "shared":
            if sharing:
                _check_sharing(facts[sharing[0]], found)
            shared.add_series(opened.training)
            sharing.append(dataset.name)
            of_all = shared.standard(opened.training)
        del opened  # so that the next is opened when this one is closed
    if not facts:
        reasons = "; ".join(skipped.values())
        raise DataError(f"Curriculum expects a data set that can be opened, got none: {reasons}")
    if sharing:
        shared.tell_rounded(f"the scaler that {listed(map(repr, sharing), 6, 'in all')} share")
    for name in sharing:
        facts[name] = facts[name]._replace(scaler=of_all)
    return Survey(facts, skipped)


def facts_of(series: Sequence) -> Facts:
    """What is known of a series that is trained on as it stands, without other parts; its targets are read once."""
    targets = look_at_targets(series)
    return Facts(
        name=series.name,
        lengths=series.lengths,
        rows=len(series),
        features=series.features,
        outputs=series.outputs,
        labels=series.labels,
        horizon=series.horizon,
        score=series.score,
        feature_names=series.feature_names,
        target_names=series.target_names,
        target_columns=series.target_columns,
        scaler=series.scaler,
        highest=None,
        parts=("training",),
        part_rows=(len(series),),
        part_series=(series.series_count,),
        fingerprint=(),
        typical=targets.typical,
        constant=targets.constant,
    )


def _facts(dataset: DataSet, opened: OpenParts) -> Facts:
    series = opened.training
    held: dict[Part, Sequence] = {part: rows for part in PARTS if (rows := getattr(opened, part)) is not None}
    scaler = Standard.fit(series) if dataset.scaler == "own" else dataset.scaler or series.scaler
    if isinstance(scaler, Standard):
        series.with_scaler(scaler)  # one that was given has to fit
    return facts_of(series)._replace(
        name=dataset.name,
        scaler=scaler if isinstance(scaler, Standard) else None,
        highest=_highest(opened.series) if series.labels else None,
        parts=tuple(held),
        part_rows=tuple(map(len, held.values())),
        part_series=tuple(part.series_count for part in held.values()),
        fingerprint=dataset.fingerprint(opened.series),
    )


def _highest(series: Sequence) -> tuple[int, int, int]:
    """The highest label, the first row that has it, and that row's segment."""
    label, row = -1, -1
    for rows in series.row_slices(SLICE):
        labels = series.take(rows)[1]
        at = int(labels.argmax())
        if labels[at] > label:
            label, row = int(labels[at]), int(rows[at])
    return label, row, int(np.searchsorted(series.starts, row, side="right")) - 1


def _check_alike(first: Facts, other: Facts) -> None:
    if other.features != first.features:
        raise DataError(
            f"data sets of one curriculum expect the same number of features, got {first.features} in {first.name!r} "
            f"and {other.features} in {other.name!r}; choose columns with options={{'features': [...]}}"
        )


def _check_sharing(first: Facts, other: Facts) -> None:
    if (first.outputs, first.target_columns) != (other.outputs, other.target_columns):
        raise DataError(
            f"data sets that share a scaler expect the same targets, got {_targets(first)} in {first.name!r} and "
            f"{_targets(other)} in {other.name!r}; use scaler='own' for one of them"
        )


def _targets(facts: Facts) -> str:
    columns = facts.target_columns
    return f"{facts.outputs} apart from x" if columns is None else f"columns {', '.join(map(str, columns))} of x"
