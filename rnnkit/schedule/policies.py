"""Where each window's initial state comes from: pure functions of the grid.

A policy is any object with `origins(grid, first, stop)`; what it answers is proven before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rnnkit.schedule.grid import Grid, Pieces, Windows, windows_of


class StatePolicy(Protocol):
    """What a schedule needs of a policy."""

    def origins(self, grid: Grid, first: int, stop: int) -> np.ndarray:
        """`origin` of each window of the steps `first <= step < stop`, `(stop - first, B)`.

        -1: from the initial state. k >= 0: from the state that the lane had after row k - 1 of its previous window.
        """
        ...


@dataclass(frozen=True)
class Reset:
    """Every window starts from the initial state."""

    def origins(self, grid: Grid, first: int, stop: int) -> np.ndarray:
        """See `StatePolicy.origins`."""
        return np.full((stop - first, grid.lanes), -1)


@dataclass(frozen=True)
class Carry:
    """Every window starts from the state that its lane had just before the window's first row.

    The state is a value: no gradient flows into the window that made it, and it was computed with the parameters
    before the update. A segment, and a lane at the start of an epoch, start from the initial state.
    """

    def origins(self, grid: Grid, first: int, stop: int) -> np.ndarray:
        """See `StatePolicy.origins`."""
        head = _last_fresh_step(grid, first)
        pieces = grid.pieces(head, stop)
        windows = windows_of(pieces, head, stop, grid.lanes)
        origin = _find(pieces, head, windows.segment, windows.offset - 1) + 1
        origin = np.where(origin < 1, grid.length, origin)  # no continuation: the proof will say so
        step = np.arange(head, stop)[:, None]
        cold = (step == 0) | (windows.offset == 0)
        # a window that starts at the very row of the one before starts from what that one started from
        again = _starts_again(windows)
        root = np.maximum.accumulate(np.where(again, 0, step - head), axis=0)
        return np.where(np.take_along_axis(cold, root, axis=0), -1, np.where(again, 0, origin))[first - head :]


def _starts_again(windows: Windows) -> np.ndarray:
    """Which windows `(K, B)` start at the very row at which their lane's previous window starts."""
    again = np.zeros(windows.piece.shape, bool)
    again[1:] = (windows.segment[1:] == windows.segment[:-1]) & (windows.offset[1:] == windows.offset[:-1])
    return again & (windows.piece >= 0)


def _last_fresh_step(grid: Grid, step: int) -> int:
    """The last step before this one in which no window starts again, or 0."""
    for head in range(step - 1, 0, -1):
        if not _starts_again(windows_of(grid.pieces(head - 1, head + 1), head - 1, head + 1, grid.lanes)).any():
            return head
    return 0


def _find(pieces: Pieces, first: int, segment: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Where the row `offset` of `segment`, each `(K, B)`, stands in the same lane's previous window; -1: nowhere."""
    found = np.full(segment.shape, -1)
    followed = pieces.step - first + 1 < len(segment)
    step, lane, at, in_segment, start, count = (field[followed] for field in pieces)
    window = (step - first + 1, lane)
    distance = offset[window] - start
    here = (segment[window] == in_segment) & (distance >= 0) & (distance < count)
    found[window[0][here], lane[here]] = (at + distance)[here]
    return found
