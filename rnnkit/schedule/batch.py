"""What a schedule hands to a backend: one step (`Batch`) or several in one piece (`Block`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

BLOCK_ROWS = 65_536
"""Rows (times lanes) that are held at a time at most, unless one step has more."""


FRESH = -1
"""`origin` of a lane that starts from the initial state."""

RECORDED = -2
"""`origin` of a lane that starts from a recorded state."""


class Slots(NamedTuple):
    """Which recorded states the windows start from, and which they record: a slot for each row that may start one.

    Attributes:
        read: `(B,)`; the slot that the lane starts from, where its `origin` is RECORDED.
        at: `(B, W)`; the state after row `at - 1` of the lane's window is recorded, after the step's update ...
        write: `(B, W)`; ... in this slot; -1: nothing. No slot is written twice in a step.
    """

    read: np.ndarray
    at: np.ndarray
    write: np.ndarray


class Batch(NamedTuple):
    """One training step: a window of T rows for each of B lanes.

    Attributes:
        x: inputs, `(T, B, F)`; zero at padding.
        y: targets, `(T, B, O)`, or integer labels `(T, B)`; zero at padding.
        reset: `(T, B)` bool; before row t is consumed, the lane's state becomes the initial state.
        valid: `(T, B)` bool; false is padding: the state is held, nothing is scored.
        weight: `(T, B)`; how much the row counts in the loss, 0 at padding and where it only advances the state.
        origin: `(B,)`; FRESH: the lane starts from the initial state; k >= 0: from the state that the same lane of the
            previous batch had after its row k - 1, in the first batch of an epoch, whatever k is, after the last row of
            the epoch before; RECORDED: from a recorded state, see `slots`.
        rows: `(T, B)`; which row of the sequence stands here, -1 at padding.
        segment: `(B,)`; the segment of the lane's first row, -1 for a lane of padding.
        row: `(B,)`; the lane's first row, counted in the whole sequence, -1 for a lane of padding.
        hand_on: `(B,)`; `origin` of the batch after this one: k >= 0: the lane hands on its state after row k - 1,
            below 0: nothing. T where there is no such batch, as at the end of an epoch.
        detached: rows at the head that are outside the gradient: the state after them is a value.
        reweight: `(T,)` or None for ones; what the gradient is multiplied by that crosses from row t to row t - 1.
        scale: what the step's mean loss is multiplied by before its gradient is taken; None: 1.
        slots: the states that are recorded and started from, or None.
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
    hand_on: np.ndarray
    detached: int = 0
    reweight: np.ndarray | None = None
    scale: Any = None
    slots: Slots | None = None


class Block(NamedTuple):
    """K consecutive batches in one piece: the arrays of `Batch` with an axis K in front.

    `origin` has one row more, `(K + 1, B)`: its last row belongs to the batch after the block and says after which
    row of the last batch the state is handed on (T where there is no such batch). `detached` and `reweight` are the
    same for all K; `scale` is `(K,)`.
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
    detached: int = 0
    reweight: np.ndarray | None = None
    scale: np.ndarray | None = None
    slots: Slots | None = None

    def batch(self, k: int) -> Batch:
        """The k-th batch, as views."""
        slots = None if self.slots is None else Slots._make(field[k] for field in self.slots)
        scale = None if self.scale is None else self.scale[k]
        arrays = (*(array[k] for array in self[:9]), self.origin[k + 1])
        return Batch._make([*arrays, self.detached, self.reweight, scale, slots])
