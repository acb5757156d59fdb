"""Recorded states: which row each slot belongs to, who records it when, and who starts from it.

A slot belongs to a row at which some window starts, and holds the state before that row. Where two lanes of a step
pass over the same row, the one counts that has read more rows before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rnnkit.schedule.batch import Slots
from rnnkit.schedule.grid import Grid, Pieces, joined, spread, windows_of


@dataclass(frozen=True, eq=False)
class SlotTable:
    """What is recorded and started from in one epoch; M slots, W recordings in all.

    Attributes:
        segment, offset: `(M,)`, the row of each slot, counted from the start of its segment.
        start: `(steps, B)`, the slot of each window's first row, -1: none.
        step, lane, at, slot: `(W,)`, each recording, sorted by step and lane: the state after row `at - 1` of the
            window goes into the slot.
        first, last: `(M,)`, the first and last step that records each slot, -1: none does.
    """

    segment: np.ndarray
    offset: np.ndarray
    start: np.ndarray
    step: np.ndarray
    lane: np.ndarray
    at: np.ndarray
    slot: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def __len__(self) -> int:
        return len(self.segment)

    def reads(self, first: int, stop: int, epoch: int) -> np.ndarray:
        """The slot that each window of these steps starts from, `(stop - first, B)`; -1: the initial state."""
        slot = self.start[first:stop]
        if not len(self):
            return slot.copy()
        step = np.arange(first, stop)[:, None]
        recorded = (self.first[slot] >= 0) & ((epoch > 0) | (self.first[slot] < step))
        return np.where((slot >= 0) & recorded, slot, -1)

    def block(self, first: int, stop: int, epoch: int) -> Slots:
        """The recordings and starts of these steps, each with an axis K in front."""
        low, high = np.searchsorted(self.step, [first, stop])
        lanes = self.start.shape[1]
        cell = (self.step[low:high] - first) * lanes + self.lane[low:high]
        counts = np.bincount(cell, minlength=(stop - first) * lanes)
        shape = (stop - first, lanes, max(int(counts.max(initial=0)), 1))
        at, write = np.zeros(shape, np.int64), np.full(shape, -1)
        which, nth = spread(counts)
        at.reshape(-1, shape[2])[which, nth] = self.at[low:high]
        write.reshape(-1, shape[2])[which, nth] = self.slot[low:high]
        return Slots(self.reads(first, stop, epoch), at, write)

    def ages(self, before: SlotTable | None) -> np.ndarray:
        """How many steps old the state is that each window starts from, of those that start from a recorded one.

        Args:
            before: the table of the epoch before; None in the first one.
        """
        step, lane = np.nonzero(self.reads(0, len(self.start), int(before is not None)) >= 0)
        slot = self.start[step, lane]
        order = np.lexsort((self.step, self.slot))
        steps = len(self.start)
        keys = (self.slot * steps + self.step)[order]
        found = np.searchsorted(keys, slot * steps + step) - 1
        here = (found >= 0) & (self.slot[order][found] == slot) & (self.step[order][found] < step)
        ages = step - np.where(here, self.step[order][found], 0)
        if before is not None:
            ages = np.where(here, ages, step + len(before.start) - before.last[slot])
        return ages


@lru_cache(maxsize=4)
def slot_table(grid: Grid) -> SlotTable:
    """Find the rows at which windows start, inside segments, and every window that passes over one."""
    pieces = joined(grid.pieces(0, grid.steps))
    windows = windows_of(pieces, 0, grid.steps, grid.lanes)
    size = int((pieces.offset + pieces.rows).max()) + 1  # so that segment * size + offset tells rows apart
    key = np.where((windows.piece >= 0) & (windows.offset > 0), windows.segment * size + windows.offset, -1)
    rows = np.unique(key[key >= 0])
    start = np.where(key >= 0, np.searchsorted(rows, key), -1)
    step, lane, at, slot = _recordings(pieces, rows, size)
    first, last = np.full(len(rows), -1), np.full(len(rows), -1)
    first[slot[::-1]], last[slot] = step[::-1], step  # sorted by step: the last one written stays
    return SlotTable(rows // size, rows % size, start, step, lane, at, slot, first, last)


def _recordings(pieces: Pieces, rows: np.ndarray, size: int) -> tuple[np.ndarray, ...]:
    """`(step, lane, at, slot)` of each recording, one for a step and slot, sorted by step, lane, at."""
    begin = pieces.segment * size + pieces.offset
    low = np.searchsorted(rows, begin, side="right")
    which, nth = spread(np.searchsorted(rows, begin + pieces.rows, side="right") - low)
    slot = low[which] + nth
    read = rows[slot] - begin[which]  # rows of the piece before it
    step, lane, at = pieces.step[which], pieces.lane[which], pieces.at[which] + read
    order = np.lexsort((lane, read, slot, step))
    chosen = np.ones(len(order), bool)
    chosen[:-1] = (step[order][1:] != step[order][:-1]) | (slot[order][1:] != slot[order][:-1])
    kept = np.sort(order[chosen])  # recordings were found in the order of step, lane and at
    return step[kept], lane[kept], at[kept], slot[kept]
