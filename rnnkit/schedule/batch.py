"""What a schedule hands to a backend: one step (`Batch`) or several in one piece (`Block`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Batch(NamedTuple):
    """One training step: a window of T rows for each of B lanes.

    Attributes:
        x: inputs, `(T, B, F)`; zero at padding.
        y: targets, `(T, B, O)`, or integer labels `(T, B)`; zero at padding.
        reset: `(T, B)` bool; before row t is consumed, the lane's state becomes the initial state.
        valid: `(T, B)` bool; false is padding: the state is held, nothing is scored.
        weight: `(T, B)`; how much the row counts in the loss, 0 at padding and where it only advances the state.
        origin: `(B,)`; -1: the lane starts from the initial state; k >= 0: from the state that the same lane of the
            previous batch had after its row k - 1.
        rows: `(T, B)`; which row of the sequence stands here, -1 at padding.
        segment: `(B,)`; the segment of the lane's first row, -1 for a lane of padding.
        row: `(B,)`; the lane's first row, counted in the whole sequence, -1 for a lane of padding.
    """

    x: np.ndarray
    y: np.ndarray
    reset: np.ndarray
    valid: np.ndarray
    weight: np.ndarray
    origin: np.ndarray
    rows: np.ndarray
    segment: np.ndarray
    row: np.ndarray


class Block(NamedTuple):
    """K consecutive batches in one piece: the arrays of `Batch` with an axis K in front.

    `origin` has one row more, `(K + 1, B)`: its last row belongs to the batch after the block and says after which
    row of the last batch the state is handed on (T where there is no such batch).
    """

    x: np.ndarray
    y: np.ndarray
    reset: np.ndarray
    valid: np.ndarray
    weight: np.ndarray
    origin: np.ndarray
    rows: np.ndarray
    segment: np.ndarray
    row: np.ndarray

    def batch(self, k: int) -> Batch:
        """The k-th batch, as views."""
        return Batch._make(array[k] for array in self)
