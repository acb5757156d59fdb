"""Which rows stand in which window: the grid of step x lane, as index arithmetic.

A window is made of *pieces*, contiguous runs of rows of one segment. Most windows are one piece; a window into which
short segments are packed has several, and the state resets between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Pieces(NamedTuple):
    """Contiguous runs of rows and where they stand; each field an int64 array `(P,)`, sorted by step, lane, at.

    Attributes:
        step, lane: the window.
        at: position of the first row inside the window, from 0.
        segment: the segment of the rows.
        offset: the first row, counted from the start of its segment.
        rows: how many rows.
    """

    step: np.ndarray
    lane: np.ndarray
    at: np.ndarray
    segment: np.ndarray
    offset: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class Grid:
    """What a splitter makes of segment lengths, and a policy of its windows.

    Attributes:
        length: rows T of every window, `lead` included.
        lead: rows at the head of every window that are read again and not scored.
        lanes: lanes B of every step.
        steps: steps of an epoch.
        pieces: `pieces(first, stop)` gives the pieces of the steps `first <= step < stop`. Positions of a window
            that no piece covers are padding. The arrays are not to be changed.
        detached: rows at the head of every window that are outside the gradient, at most `lead`.
        reweight: `(T,)` or None for ones; what the gradient is multiplied by that crosses from row t to row t - 1.
        mean_rows: where windows differ in length by chance, the rows that one is expected to have in a lane, by
            whose share of scored ones every window's loss is divided in place of its own rows; else None.
        varies: whether windows start at other rows in another epoch.
        epoch, seed: which epoch's grid this is, and the seed of its schedule: what a policy may draw from.
    """

    length: int
    lead: int
    lanes: int
    steps: int
    pieces: Callable[[int, int], Pieces]
    detached: int = 0
    reweight: np.ndarray | None = None
    mean_rows: float | None = None
    varies: bool = False
    epoch: int = 0
    seed: int = 0

    def draw(self, first: int, stop: int) -> np.ndarray:
        """Uniform numbers in [0, 1) for the windows of the steps `first <= step < stop`, `(stop - first, B)`."""
        bits = np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=(self.epoch, 1)))
        return np.random.Generator(bits.advance(first * self.lanes)).random((stop - first, self.lanes))


class WindowPieces(NamedTuple):
    """First piece of each window of some steps, `(K, B)`; -1 in all fields for a window of padding."""

    piece: np.ndarray
    segment: np.ndarray
    offset: np.ndarray


def windows_of(pieces: Pieces, first: int, stop: int, lanes: int) -> WindowPieces:
    """The first piece of each window of the steps `first <= step < stop`."""
    windows = WindowPieces._make(np.full((stop - first, lanes), -1) for _ in WindowPieces._fields)
    backwards = slice(None, None, -1)  # the first piece of a window is written last, and stays
    cell = (pieces.step[backwards] - first, pieces.lane[backwards])
    for field, values in zip(windows, (np.arange(len(pieces.step)), pieces.segment, pieces.offset), strict=True):
        field[cell] = values[backwards]
    return windows


def joined(pieces: Pieces) -> Pieces:
    """Merge pieces where one continues the other inside a window."""
    if len(pieces.step) < 2:
        return pieces
    a, b = Pieces._make(f[:-1] for f in pieces), Pieces._make(f[1:] for f in pieces)
    continues = (
        (a.step == b.step)
        & (a.lane == b.lane)
        & (a.segment == b.segment)
        & (a.at + a.rows == b.at)
        & (a.offset + a.rows == b.offset)
    )
    if not continues.any():
        return pieces
    heads = np.flatnonzero(np.concatenate([[True], ~continues]))
    return Pieces._make(f[heads] for f in pieces)._replace(rows=np.add.reduceat(pieces.rows, heads))


def seen_before(pieces: Pieces, windows: WindowPieces, first: int, cut: np.ndarray) -> np.ndarray:
    """For each window `(K, B)` from step `first` on, its last piece with a row before position `cut`; -1: none."""
    lanes = windows.piece.shape[1]
    cell = (pieces.step - first) * lanes + pieces.lane
    before = pieces.at < cut.ravel()[cell]
    counts = np.bincount(cell[before], minlength=cut.size).reshape(cut.shape)
    return np.where(counts > 0, windows.piece + counts - 1, -1)


def spread(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For counts `(P,)`: the index of each piece repeated `count` times, and 0 ... count-1 within each."""
    total = int(counts.sum())
    which = np.repeat(np.arange(len(counts)), counts)
    return which, np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
