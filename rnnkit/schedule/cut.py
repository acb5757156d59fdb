"""Samples that are scored at their last row and cut into windows: which of their rows never reach the loss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from rnnkit.errors import counted, warn
from rnnkit.schedule.coverage import history
from rnnkit.schedule.grid import Grid, joined, windows_of
from rnnkit.schedule.policies import StatePolicy, slots_of
from rnnkit.schedule.splitters import Continuation, Splitter


class CutSamples(NamedTuple):
    """Samples that are scored at their last row, and how they are cut.

    Attributes:
        name: for messages.
        lengths: `(S,)`, rows of each sample.
        splitter, policy: as they were given.
        grid: what they make of an epoch.
    """

    name: str
    lengths: np.ndarray
    splitter: Splitter
    policy: StatePolicy
    grid: Grid


class Lost(NamedTuple):
    """What the loss does not get to see.

    Attributes:
        cut: samples of which earlier rows reach neither the state nor the gradient at their last row.
        rows: all such rows.
        unscored: samples whose last row is in no window.
    """

    cut: int
    rows: int
    unscored: int


def lost(panel: CutSamples) -> Lost:
    """Count what the loss of an epoch does not get to see of samples.

    A state that is carried or recorded has seen what stands before its window: there the gradient alone is cut, which
    is what truncation means. A sample that is cut because a strip begins inside of it is not counted where others are
    carried: there are fewer of them than lanes.
    """
    grid, policy = panel.grid, getattr(panel.policy, "proven", panel.policy)
    pieces = joined(grid.pieces(0, grid.steps))
    ends = pieces.offset + pieces.rows == panel.lengths[pieces.segment]
    ends &= pieces.at + pieces.rows > grid.lead  # else it is read again, and not scored
    unscored = len(panel.lengths) - len(np.unique(pieces.segment[ends]))
    if slots_of(policy, grid) is not None:
        return Lost(0, 0, unscored)
    root, carried = history(grid, policy, pieces)
    unseen = pieces.offset[root]
    if carried:
        strips = windows_of(pieces, 0, grid.steps, grid.lanes)
        lane = pieces.lane[root]
        begins = (pieces.segment[root] == strips.segment[0, lane]) & (unseen == strips.offset[0, lane])
        unseen = np.where(begins, 0, unseen)
    unseen = unseen[ends]
    return Lost(int(np.count_nonzero(unseen)), int(unseen.sum()), unscored)


def warn_of_lost(panels: Iterable[CutSamples]) -> None:
    """Warn of samples of which rows, or all, never reach the loss: once for those that are cut alike."""
    found: dict[str, list[tuple[CutSamples, Lost]]] = {}
    for panel in panels:
        found.setdefault(f"{panel.splitter!r} with {panel.policy!r}", []).append((panel, lost(panel)))
    for how, those in found.items():
        samples = sum(len(panel.lengths) for panel, _ in those)
        rows = sum(int(panel.lengths.sum()) for panel, _ in those)
        cut, unseen, unscored = (sum(numbers) for numbers in zip(*(each for _, each in those), strict=True))
        names = repr(those[0][0].name) + (f" and {len(those) - 1:,} more data sets" if len(those) > 1 else "")
        longest = max(int(panel.lengths.max()) for panel, _ in those)
        if cut:
            carrying = (
                ", or Carry(), which hands their state on" if isinstance(those[0][0].splitter, Continuation) else ""
            )
            warn(
                f"{how} cuts {cut:,} of {samples:,} samples of {names}, which are scored at their "
                f"last row: {unseen / rows:.1%} of all rows never reach the loss; use Chunked(length='segment') for "
                f"windows of whole samples, here up to {counted(longest, 'row')}{carrying}"
            )
        if unscored:
            warn(
                f"{how} leaves out the last row of {unscored:,} of {samples:,} samples of {names}, which are "
                f"scored there alone: they are not trained on; use tail='keep'"
            )
