"""What an epoch reads and scores, and how far back state and gradient reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnkit.data import Sequence
from rnnkit.errors import counted
from rnnkit.schedule.batch import FRESH
from rnnkit.schedule.grid import Grid, Pieces, joined, seen_before, windows_of
from rnnkit.schedule.policies import StatePolicy, slots_of
from rnnkit.schedule.slots import SlotTable


class Reach(NamedTuple):
    """How many earlier rows of its segment a scored row reaches back to, over all scored rows; 0: only itself."""

    minimum: int
    median: float
    maximum: int

    def __str__(self) -> str:
        return f"{self.minimum:,} ... {self.median:,.6g} ... {counted(self.maximum, 'row')}"


@dataclass(frozen=True)
class Coverage:
    """The account of one epoch.

    Attributes:
        rows: rows that may count in the loss: those with a target, or the last of each segment.
        scored_once, scored_more, scored_never: how many of them count once, more than once, never in the loss.
        steps, lanes, length: the grid; `steps x lanes x length` cells are computed.
        padding: share of the cells that are padding.
        unscored: share of the cells that are read again only to advance the state.
        resets: how often a lane starts from the initial state, inside windows included.
        state_reach: how far back the state of a scored row has seen.
        gradient_reach: how far back the gradient of a scored row's loss goes.
        recorded: windows that start from a recorded state.
        age: how many steps before such a window its state was recorded; None where none is.
    """

    rows: int
    scored_once: int
    scored_more: int
    scored_never: int
    steps: int
    lanes: int
    length: int
    padding: float
    unscored: float
    resets: int
    state_reach: Reach
    gradient_reach: Reach
    recorded: int = 0
    age: Reach | None = None

    def __str__(self) -> str:
        lines = [
            ("steps", f"{self.steps:,} of {self.lanes:,} x {counted(self.length, 'cell')} (lanes x rows)"),
            (
                "rows scored",
                f"once {self.scored_once:,}, more than once {self.scored_more:,}, never {self.scored_never:,}",
            ),
            ("padding", f"{self.padding:.1%} of the cells; read again without score {self.unscored:.1%}"),
            ("resets", f"{self.resets:,} starts from the initial state"),
            ("state reaches back", f"{self.state_reach} (minimum, median, maximum)"),
            ("gradient reaches back", f"{self.gradient_reach}"),
        ]
        if self.age is not None:
            ages = str(self.age).replace(" row", " step")
            lines.append(("recorded states", f"{counted(self.recorded, 'window')} start from one, {ages} old"))
        return "\n".join(f"  {label:<22}{text}" for label, text in lines)


def cover(grid: Grid, policy: StatePolicy, series: Sequence, before: SlotTable | None = None) -> Coverage:
    """Count what a grid reads of the segments of a series under a policy.

    Args:
        before: what the epoch before recorded, under a policy that records states; None in the first epoch.
    """
    pieces = joined(grid.pieces(0, grid.steps))
    lengths, skipped = series.lengths, np.clip(grid.lead - pieces.at, 0, pieces.rows)
    unscored = int(skipped.sum())
    if series.score == "last":
        ending = pieces.offset + pieces.rows == lengths[pieces.segment]
        skipped = np.where(ending, np.maximum(skipped, pieces.rows - 1), pieces.rows)
    outside = np.clip(grid.detached - pieces.at, 0, pieces.rows)
    root, carried = history(grid, policy, pieces)
    state_before, resets = pieces.offset - pieces.offset[root], len(root) - carried
    table = slots_of(policy, grid)
    ages = np.zeros(0, np.int64)
    if table is not None:
        ages = table.ages(before)
        state_before = np.maximum(state_before, _recorded_reach(grid, table, pieces))
        resets -= len(ages)
    times = _times_scored(pieces, skipped, lengths)
    cells = grid.steps * grid.lanes * grid.length
    read = int(pieces.rows.sum())
    scorable = int(lengths.sum()) if series.score == "all" else len(lengths)
    once, more = int((times == 1).sum()), int((times > 1).sum())
    return Coverage(
        rows=scorable,
        scored_once=once,
        scored_more=more,
        scored_never=scorable - once - more,
        steps=grid.steps,
        lanes=grid.lanes,
        length=grid.length,
        padding=1 - read / cells,
        unscored=unscored / cells,
        resets=resets,
        state_reach=_reach(state_before + skipped, state_before + pieces.rows),
        gradient_reach=_reach(skipped - outside, pieces.rows - outside),
        recorded=len(ages),
        age=_reach(ages, ages + 1) if len(ages) else None,
    )


def _recorded_reach(grid: Grid, table: SlotTable, pieces: Pieces) -> np.ndarray:
    """For each piece the rows of its segment that the recorded state at its start has seen, followed through time.

    What the epoch before recorded is taken to have seen the whole segment.
    """
    reads = table.reads(0, grid.steps, grid.epoch)
    behind = np.where(grid.epoch > 0, table.offset, 0)  # rows behind each slot, as of the step
    found = np.zeros(len(pieces.step), np.int64)
    windows = windows_of(pieces, 0, grid.steps, grid.lanes)
    marks = np.searchsorted(table.step, np.arange(grid.steps + 1))
    for step in range(grid.steps if len(table) else 0):
        seen = np.where(reads[step] >= 0, behind[reads[step]], 0)
        real = windows.piece[step] >= 0
        found[windows.piece[step][real]] = seen[real]
        now = slice(marks[step], marks[step + 1])
        lane, slot = table.lane[now], table.slot[now]
        inside = table.offset[slot] - windows.offset[step, lane]  # rows of the window before the slot's row
        same = table.segment[slot] == windows.segment[step, lane]
        behind[slot] = np.where(same, inside + seen[lane], table.offset[slot])
    return found


def history(grid: Grid, policy: StatePolicy, pieces: Pieces) -> tuple[np.ndarray, int]:
    """The piece `(P,)` at whose first row the state of each piece began; and how many windows are carried into."""
    windows = windows_of(pieces, 0, grid.steps, grid.lanes)
    origin = np.maximum(policy.origins(grid, 0, grid.steps), FRESH)
    carried = (origin[1:] >= 0) & (windows.piece[1:] >= 0)
    cut = np.concatenate([np.maximum(origin[1:], 0), np.zeros_like(origin[:1])])
    seen = seen_before(pieces, windows, 0, cut)[:-1]
    parent = np.where(seen >= 0, seen, windows.piece[:-1])[carried]
    root = np.arange(len(pieces.step))
    root[windows.piece[1:][carried]] = parent
    while (root != root[root]).any():  # every round doubles the distance walked back
        root = root[root]
    return root, int(carried.sum())


def _times_scored(pieces: Pieces, skipped: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    start = (np.cumsum(lengths) - lengths)[pieces.segment] + pieces.offset
    change = np.zeros(int(lengths.sum()) + 1, np.int32)
    np.add.at(change, start + skipped, 1)
    np.add.at(change, start + pieces.rows, -1)
    return np.cumsum(change[:-1], out=change[:-1])


def _reach(low: np.ndarray, high: np.ndarray) -> Reach:
    """Minimum, median and maximum of all whole numbers in the ranges `low <= value < high`, with repetition."""
    low, high = low[low < high], high[low < high]
    if not len(low):
        return Reach(0, 0.0, 0)
    change = np.zeros(int(high.max()) + 1, np.int64)
    np.add.at(change, low, 1)
    np.add.at(change, high, -1)
    ranks = np.cumsum(np.cumsum(change[:-1]))
    total = int(ranks[-1])
    middle = np.searchsorted(ranks, [(total - 1) // 2 + 1, total // 2 + 1])
    return Reach(int(low.min()), float(middle.mean()), int(high.max()) - 1)
