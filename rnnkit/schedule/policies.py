"""Where each window's initial state comes from: pure functions of the grid.

A policy is any object with `origins(grid, first, stop)`; what it answers is proven before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rnnkit.schedule.grid import Grid, Pieces, windows_of


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
        head = max(first - 1, 0)
        pieces = grid.pieces(head, stop)
        windows = windows_of(pieces, head, stop, grid.lanes)
        after_predecessor = _find(pieces, head, windows.segment, windows.offset - 1) + 1
        at_same_row = _find(pieces, head, windows.segment, windows.offset)
        origin = np.where(after_predecessor > 0, after_predecessor, at_same_row)
        origin = np.where(origin < 0, grid.length, origin)  # no continuation: the proof will say so
        started = (np.arange(head, stop) > 0)[:, None]
        return np.where(started & (windows.offset != 0), origin, -1)[first - head :]


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
