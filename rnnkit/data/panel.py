"""Many short samples as one sequence, a segment a sample: from `(samples, steps, features)` or ragged lists."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rnnkit.data.source import BySample
from rnnkit.errors import DataError, counted


class Panel(NamedTuple):
    """Samples end to end.

    Attributes:
        x: rows `(N, F)`; a view of a contiguous array of samples, else a copy.
        y: targets `(N, O)`, labels `(N,)`, or None; those by sample once a sample, as `BySample`.
        segments: `(S, 2)`, start and stop of each sample.
        by_sample: whether y was given by sample and not by row.
    """

    x: Any
    y: Any
    segments: np.ndarray
    by_sample: bool


def panel_rows(x: Any, y: Any, who: str) -> Panel:
    """Lay samples end to end.

    Args:
        x: `(S, T, F)` or `(S, T)`, an array or a memmap; or a list of S arrays `(T, F)` or `(T,)`, T free.
        y: by sample: `(S,)`, integers for labels, or `(S, O)`; by row: like x, with O for F; or None.
        who: how messages begin.

    Raises:
        DataError: no sample, one without rows, samples of different widths, or another number of targets.
    """
    rows, lengths = _end_to_end(x, f"{who} expects x")
    ends = np.cumsum(lengths)
    segments = np.column_stack((ends - lengths, ends))
    if y is None:
        return Panel(rows, None, segments, False)
    if not _is_by_row(x, y, lengths, who):
        values = np.asarray(y)
        if values.ndim not in (1, 2) or len(values) != len(lengths):
            raise DataError(
                f"{who} expects a target for each of its {counted(len(lengths), 'sample')}, or one for each row like "
                f"x, got y of shape {values.shape}; give y of shape ({len(lengths)},) or ({len(lengths)}, targets)"
            )
        if values.dtype.kind not in "biuf":
            raise DataError(
                f"{who} expects targets to be numbers, got dtype {values.dtype}; number the classes: "
                f"np.unique(y, return_inverse=True)[1]"
            )
        wrong = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(1))
        if len(wrong):
            raise DataError(f"{who} expects finite targets, got {values[wrong[0]]} for sample {wrong[0]}")
        low = np.flatnonzero(values < 0) if values.ndim == 1 and values.dtype.kind == "i" else wrong
        if len(low):
            raise DataError(
                f"{who}, sample {low[0]}: the label is {values[low[0]]}; labels count from 0, so renumber them, or "
                f"give y as floats"
            )
        return Panel(rows, BySample(values, np.append(0, ends)), segments, True)
    targets, found = _end_to_end(y, f"{who} expects y")
    wrong = np.flatnonzero(found != lengths)
    if len(wrong):
        raise DataError(
            f"{who} expects one row of y for each row of x, but sample {wrong[0]} has "
            f"{counted(int(lengths[wrong[0]]), 'row')} of x and {found[wrong[0]]} of y"
        )
    return Panel(rows, targets, segments, False)


def _is_by_row(x: Any, y: Any, lengths: np.ndarray, who: str) -> bool:
    """Whether targets are given like x: an array with three axes, or with two beside an x of two; else samples."""
    if not hasattr(y, "__len__"):
        raise DataError(f"{who} expects y as an array or a list with an entry for each sample, got {y!r}")
    if hasattr(y, "ndim"):
        if y.ndim == 2 and getattr(x, "ndim", 3) == 2 and y.shape == x.shape:
            raise DataError(
                f"{who} cannot tell whether y of shape {y.shape} holds targets by sample or by row; give x of shape "
                f"(samples, steps, 1), and y likewise if its targets are by row"
            )
        return y.ndim == 3
    if len(y) != len(lengths) or all(np.ndim(sample) == 0 for sample in y):
        return False
    alike = all(np.ndim(sample) > 0 and len(sample) == rows for sample, rows in zip(y, lengths, strict=True))
    return alike and (len(set(lengths.tolist())) > 1 or any(np.ndim(sample) == 2 for sample in y))


def _end_to_end(samples: Any, who: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows `(N, F)` and the number of rows of each sample."""
    if hasattr(samples, "ndim"):
        if samples.ndim not in (2, 3) or 0 in samples.shape:
            raise DataError(f"{who} of shape (samples, steps, features), none of them 0, got {samples.shape}")
        width = samples.shape[2] if samples.ndim == 3 else 1
        return samples.reshape(-1, width), np.full(samples.shape[0], samples.shape[1])
    arrays = [np.asarray(sample) for sample in samples]
    if not arrays:
        raise DataError(f"{who} to have at least one sample, got none")
    for index, array in enumerate(arrays):
        if array.ndim not in (1, 2) or 0 in array.shape:
            raise DataError(f"{who} as samples of shape (steps, features), got {array.shape} as sample {index}")
        if array.shape[1:] != arrays[0].shape[1:]:
            raise DataError(
                f"{who} as samples with the same features, got {array.shape} as sample {index} and "
                f"{arrays[0].shape} as sample 0"
            )
    rows = np.concatenate([array.reshape(len(array), -1) for array in arrays])
    return rows, np.array([len(array) for array in arrays])
