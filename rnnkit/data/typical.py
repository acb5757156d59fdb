"""What the targets of a training part are like: the least that a model has to beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from rnnkit.data.sequence import Sequence
from rnnkit.data.source import SLICE


class Typical(NamedTuple):
    """The targets of the rows that were trained on, in their own units.

    Attributes:
        rows: how many rows.
        mean: of each target, O numbers.
        label: of labels the most frequent one, the lowest of several; else None.
        often: how many rows have it; 0 without labels.
    """

    rows: int
    mean: tuple[float, ...]
    label: int | None
    often: int


class SeenTargets(NamedTuple):
    """What a look at the targets of a training part tells.

    Attributes:
        typical: what they are like.
        constant: of each target, whether it is the same in every row.
    """

    typical: Typical
    constant: tuple[bool, ...]


def typical(series: Sequence) -> Typical:
    """What the targets of a sequence are like.

    Example:
        >>> import numpy as np, rnnkit as rk
        >>> typical(rk.Sequence(np.zeros(4), [1, 0, 2, 2]))
        Typical(rows=4, mean=(1.25,), label=2, often=2)
    """
    return look_at_targets(series).typical


def look_at_targets(series: Sequence) -> SeenTargets:
    """Look at every target of a sequence that counts, once, slice by slice."""
    raw, rows, total = series.with_scaler(None), 0, np.zeros(series.outputs)
    low, high = np.full(series.outputs, np.inf), np.full(series.outputs, -np.inf)
    labels: Counter[int] = Counter()
    for block in series.row_slices(SLICE):
        y = raw.take(block[series.scored(block)], np.float64)[1]
        flat = y.reshape(len(y), -1).astype(np.float64, copy=False)  # labels are whole numbers
        rows, total = rows + len(y), total + flat.sum(0, dtype=np.float64)
        low, high = np.minimum(low, flat.min(0, initial=np.inf)), np.maximum(high, flat.max(0, initial=-np.inf))
        if series.labels:
            labels.update(dict(zip(*(found.tolist() for found in np.unique(y, return_counts=True)), strict=True)))
    label = min(labels, key=lambda one: (-labels[one], one)) if labels else None
    often = 0 if label is None else labels[label]
    found = Typical(rows, tuple((total / max(rows, 1)).tolist()), label, often)
    return SeenTargets(found, tuple((low == high).tolist()) if rows > 1 else (False,) * series.outputs)


def all_together(parts: Iterable[Typical]) -> Typical | None:
    """Several training parts as one; None where they have different numbers of targets, or where there are none."""
    known = list(parts)
    if not known or len({len(part.mean) for part in known}) > 1:
        return None
    rows = sum(part.rows for part in known)
    mean = np.sum([np.array(part.mean) * (part.rows / max(rows, 1)) for part in known], axis=0)
    often: Counter[int] = Counter()
    for part in known:
        if part.label is not None:
            often[part.label] += part.often
    label = min(often, key=lambda one: (-often[one], one)) if often else None
    return Typical(rows, tuple(mean.tolist()), label, 0 if label is None else often[label])
