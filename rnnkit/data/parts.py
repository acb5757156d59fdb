"""Training, validation and test part as index arithmetic: in time in every series, or by whole segments or series."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np

from rnnkit.checks import is_number
from rnnkit.data.source import SeriesRows
from rnnkit.errors import DataError, listed, warn

By = Literal["time", "series"]
"""Along what a table of several series is parted."""

PARTS = ("training", "validation", "test")

NAMES = 6
"""Series that a warning names at most."""


class Whole(NamedTuple):
    """What is parted.

    Attributes:
        who: how messages begin.
        runs: `(S, 3)` int64, as of a `Sequence`.
        extent: `(K, 2)`, the rows of the source that it answers for: of each series of its table, or all of them.
        horizon: rows between a row and its target.
        tail: rows at the end of each run that have no target.
        by_segment: whether a part holds whole segments.
        table: which rows belong to which series, or None for one series.
    """

    who: str
    runs: np.ndarray
    extent: np.ndarray
    horizon: int
    tail: int
    by_segment: bool
    table: SeriesRows | None

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each run, `(S,)`."""
        return self.runs[:, 2] - self.runs[:, 1]


class PartRows(NamedTuple):
    """Its runs `(S, 3)` and the rows that it answers for `(K, 2)`."""

    runs: np.ndarray
    extent: np.ndarray


def split_rows(whole: Whole, train: float, validation: float, by: By | None) -> list[PartRows | None]:
    """The three parts as `Sequence.split` says; None for one of no rows.

    Raises:
        DataError: fractions or numbers that do not fit, a part without a row that has a target, or no such `by`.
    """
    if by is not None and by not in get_args(By):
        raise DataError(f"split of {whole.who} expects by to be 'time' or 'series', got {by!r}")
    table = whole.table
    if by == "series" and table is None:
        raise DataError(
            f"split of {whole.who} by whole series expects a table of several series, got one without series_id; open "
            f"it with series_id=..., or leave out by='series'"
        )
    owner = np.zeros(len(whole.runs), np.int64)
    if table is not None:
        owner = np.searchsorted(table.edges, whole.runs[:, 1], side="right") - 1
    series, owner = np.unique(owner, return_inverse=True)
    if by == "series" and table is not None:
        return _by_series(whole, train, validation, series, table)
    if whole.by_segment or len(series) == 1 or table is None:
        return _in_one(whole, train, validation)
    return _in_every_series(whole, train, validation, series, owner, table, silent=by == "time")


def _in_one(whole: Whole, train: float, validation: float) -> list[PartRows | None]:
    """One series, or samples: parts of all rows, one after the other."""
    ends = np.cumsum(np.append(0, whole.lengths))
    total = int(ends[-1])
    edges = np.cumsum((0, *part_sizes(total, train, validation, whole.who)))
    if whole.by_segment:  # or the last rows of segments would not be in their part
        edges = ends[np.abs(ends - edges[:, None]).argmin(1)]
        edges[1:] = np.maximum(edges[1:], ends[1])  # the training part has one at least
    first, last = whole.extent[0, 0], whole.extent[-1, 1]
    inner = [last if edge == total else rows_at(whole.runs, edge) for edge in edges[1:3]]
    return _parts(whole, edges, np.array([first, *inner, last]))


def _by_series(
    whole: Whole, train: float, validation: float, series: np.ndarray, table: SeriesRows
) -> list[PartRows | None]:
    """Whole series, in their order."""
    counts = np.cumsum((0, *part_sizes(len(series), train, validation, whole.who, "series")))
    firsts = np.append(table.edges[series], whole.extent[-1, 1])[counts]
    firsts[0] = whole.extent[0, 0]
    behind = np.searchsorted(whole.runs[:, 1], firsts)
    return _parts(whole, np.append(0, np.cumsum(whole.lengths))[behind], firsts)


def _parts(whole: Whole, edges: np.ndarray, rows: np.ndarray) -> list[PartRows | None]:
    """Cut at four places, counted over the rows of the runs, and as rows of the source."""
    parts: list[PartRows | None] = []
    for place, name in enumerate(PARTS):
        begin, end = (int(edge) for edge in edges[place : place + 2])
        kept = clip_runs(whole.runs, begin, end, whole.tail)
        if end > begin and not len(kept):
            raise DataError(
                f"split of {whole.who}: the {name} part has {_rows(end - begin)}, none of them with a target "
                f"{_rows(whole.horizon)} later in the same segment; make it larger or the horizon smaller"
            )
        parts.append(PartRows(kept, np.clip(whole.extent, rows[place], rows[place + 1])) if len(kept) else None)
    return parts


def _in_every_series(
    whole: Whole,
    train: float,
    validation: float,
    series: np.ndarray,
    owner: np.ndarray,
    table: SeriesRows,
    silent: bool,
) -> list[PartRows | None]:
    """Each series in time by itself; one that is too short for some part lies wholly in training.

    Args:
        series: `(K,)` those that have runs.
        owner: `(S,)` which of them each run belongs to.
        silent: whether those that are too short go without a warning.
    """
    rows = np.bincount(owner, whole.lengths).astype(np.int64)
    part_sizes(int(rows.max()), train, validation, whole.who)  # what fits not even the longest is refused
    sizes = np.stack(
        [np.rint(rows * part) if isinstance(part, float) else rows * 0 + part for part in (train, validation)]
    )
    training, held = sizes.astype(np.int64)
    if isinstance(train, float) and isinstance(validation, float):
        held = rows - training if train + validation > 1 - 1e-9 else np.minimum(held, rows - training)
    edges = np.stack((rows * 0, training, training + held, rows), axis=1)
    fits = edges[:, 2] <= rows
    edges = np.minimum(edges, rows[:, None])
    wanted = np.array([True, validation != 0, bool((edges[:, 3] > edges[:, 2]).any())])
    if isinstance(train, float) and isinstance(validation, float):
        wanted[2] = train + validation < 1 - 1e-9
    before = np.cumsum(whole.lengths) - whole.lengths
    before -= before[np.searchsorted(owner, owner)]  # counted in each series by itself
    targeted = np.stack(
        [_targeted(whole, owner, before, edges[owner, p], edges[owner, p + 1]) for p in range(3)], axis=1
    )
    short = ~fits | (~targeted & wanted).any(1)
    if short.all():
        raise DataError(
            f"split of {whole.who}: each of its {len(series)} series is too short for {_named(wanted)} in time, the "
            f"longest has {_rows(rows.max())}, with targets {_rows(whole.horizon)} later; make the parts larger or the "
            f"horizon smaller, or part by whole series: by='series'"
        )
    if short.any() and not silent:
        names = listed([repr(table.names[place]) for place in series[short]], NAMES, "in all")
        few = short.sum() == 1
        warn(
            f"split of {whole.who}: {short.sum()} of {len(series)} series {'is' if few else 'are'} too short for "
            f"{_named(wanted)} and {'lies' if few else 'lie'} wholly in training: {names}; say by='time' if that is "
            f"meant, or by='series' to part by whole series"
        )
    edges[short, 1:] = rows[short, None]
    places = _rows_at_edges(whole, series, edges, rows)
    parts: list[PartRows | None] = []
    for place in range(3):
        runs = _between(whole, before, edges[owner, place], edges[owner, place + 1])
        extent = whole.extent if place == 0 else whole.extent[:, 1:]  # a series without runs stays in training
        extent = np.broadcast_to(extent, whole.extent.shape).copy()
        extent[series] = places[:, place : place + 2]
        parts.append(PartRows(runs, extent) if len(runs) else None)
    return parts


def _targeted(whole: Whole, owner: np.ndarray, before: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Whether each series `(K,)` has a row with a target between two places of its own, given for each run."""
    lengths = np.clip(end - before, 0, whole.lengths) - np.clip(begin - before, 0, whole.lengths)
    return np.bincount(owner, np.maximum(lengths - whole.tail, 0)) > 0


def _between(whole: Whole, before: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The pieces of runs between two places, counted from that of each run, that have a target."""
    first, starts, stops = whole.runs.T
    lengths = stops - starts
    pieces = (first, starts + np.clip(begin - before, 0, lengths), starts + np.clip(end - before, 0, lengths))
    runs = np.stack(pieces, axis=1)
    return runs[runs[:, 2] - runs[:, 1] > whole.tail]


def _rows_at_edges(whole: Whole, series: np.ndarray, edges: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The rows of the source at which parts of series begin, `(K, 4)`; what lies between two belongs to the earlier."""
    firsts, lasts = whole.extent[series].T
    counted = (np.cumsum(rows) - rows)[:, None] + edges
    inside = np.minimum(counted, rows.sum() - 1)
    places = np.where(edges < rows[:, None], rows_at(whole.runs, inside), lasts[:, None])
    places[:, 0] = firsts
    return places


def _named(wanted: np.ndarray) -> str:
    """The parts that are wanted, for messages."""
    names = [name for name, has in zip(PARTS, wanted, strict=True) if has]
    return f"a {names[0]} part" if len(names) == 1 else f"a {', '.join(names[:-1])} and {names[-1]} part"


def clip_runs(runs: np.ndarray, begin: int, end: int, tail: int = 0) -> np.ndarray:
    """What lies between two rows, counted over the rows of the runs `(R, 3)` alone; no piece of `tail` rows or fewer.

    The first column, the first row that a warm-up may read, stays that of the whole run.
    """
    first, starts, stops = runs.T
    lengths = stops - starts
    before = np.cumsum(lengths) - lengths
    pieces = np.stack(
        (first, starts + np.clip(begin - before, 0, lengths), starts + np.clip(end - before, 0, lengths)),
        axis=1,
    )
    return pieces[pieces[:, 2] - pieces[:, 1] > tail]


def rows_at(runs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The rows that stand at some places, from 0, among the rows of the runs `(R, 3)`."""
    _, starts, stops = runs.T
    before = np.cumsum(stops - starts) - (stops - starts)
    run = np.searchsorted(before, counts, side="right") - 1
    return starts[run] + counts - before[run]


def part_sizes(rows: int, train: float, validation: float, who: str, noun: str = "rows") -> tuple[int, int, int]:
    """Rows of the training, validation and test part, from fractions (float) or numbers of rows (int).

    Args:
        rows: how many there are.
        train, validation: the sizes of two parts.
        who: how messages begin.
        noun: what is counted.

    Raises:
        DataError: a fraction outside 0 to 1, a negative number, no training part, or more than there is.
    """
    sizes = []
    for name, part in (("train", train), ("validation", validation)):
        number = is_number(part)
        if not number or not 0 <= part <= (1 if isinstance(part, float) else rows):
            raise DataError(
                f"split of {who} expects {name} to be a fraction from 0.0 to 1.0 or a number of {noun} "
                f"up to {rows}, got {part!r}"
            )
        sizes.append(round(part * rows) if isinstance(part, float) else int(part))
    if sizes[0] == 0:
        raise DataError(f"split of {who} expects a training part, got train={train!r} of {rows} {noun}; make it larger")
    fractions = isinstance(train, float) and isinstance(validation, float)
    if train + validation > 1 + 1e-9 if fractions else sum(sizes) > rows:
        raise DataError(
            f"split of {who} expects train and validation within {rows} {noun}, got train={train!r} and "
            f"validation={validation!r}; make them smaller"
        )
    if fractions and train + validation > 1 - 1e-9:
        sizes[1] = rows - sizes[0]  # two fractions that make up 1 may round to a row too many, or too few
    sizes[1] = min(sizes[1], rows - sizes[0])
    return sizes[0], sizes[1], rows - sum(sizes)


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"
