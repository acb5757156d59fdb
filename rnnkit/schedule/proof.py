"""Continuity is proven, not hoped for: every carried window reads the row after the one its state has seen.

For each window that starts from carried state (`origin` k >= 0), look at the same lane of the step before. The state
after its row k - 1 has seen, last, the last row that stands before position k there. The window continues it if its
own first row is the next row of the same segment. If only padding stands before position k, the state is still the
one that window started from; then both must start at the same row. Windows of padding hold their state.

Where a window starts from a recorded state (`origin` RECORDED), the slot must be that of its first row, and whatever is
recorded there must be the state before that very row.

And no row may stand in two lanes of one step: overlapping windows side by side are consecutive in time, not
continuations, and the state before such a row would be two states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnnkit.errors import ContinuityError, ScheduleError, counted
from rnnkit.schedule.batch import FRESH, RECORDED
from rnnkit.schedule.grid import Grid, Pieces, WindowPieces, joined, seen_before, windows_of
from rnnkit.schedule.policies import slots_of
from rnnkit.schedule.slots import SlotTable

if TYPE_CHECKING:
    from rnnkit.schedule.schedule import Schedule

PROOF_WINDOWS = 1 << 18
"""Windows that are proven at a time, to bound the memory of the proof."""


def prove(schedule: Schedule, grid: Grid) -> None:
    """Check every window of a grid.

    Raises:
        ContinuityError: naming the first window that is no continuation, and the splitter that would do.
    """
    for first in range(0, grid.steps, max(1, PROOF_WINDOWS // grid.lanes)):
        stop = min(first + max(1, PROOF_WINDOWS // grid.lanes), grid.steps)
        _prove_steps(schedule, grid, first, stop)


def _prove_steps(schedule: Schedule, grid: Grid, first: int, stop: int) -> None:
    _check_pieces(schedule, grid, grid.pieces(first, stop), first, stop)
    policy = getattr(schedule.policy, "proven", schedule.policy)
    origin = policy.origins(grid, first, stop)
    table = slots_of(schedule.policy, grid)
    least = FRESH if table is None else RECORDED
    if origin.shape != (stop - first, grid.lanes) or (origin < least).any() or (origin > grid.length).any():
        raise ScheduleError(
            f"{schedule.policy!r} expects to answer with origins of {least} to {grid.length}, one a step and lane "
            f"{(stop - first, grid.lanes)}, got {origin.shape} with {origin.min()} to {origin.max()}"
        )
    if table is not None:
        _prove_slots(schedule, grid, table, first, stop)
    if grid.reweight is not None:
        _check_reweight(schedule, grid, first, stop)
    if first == 0 and grid.epoch and getattr(schedule.policy, "across_epochs", False):
        origin = np.concatenate([np.full_like(origin[:1], FRESH), origin[1:]])  # the one place that is left out
    if (origin < 0).all():
        return
    head = max(first - 1, 0)
    pieces = joined(grid.pieces(head, stop))
    windows = windows_of(pieces, head, stop, grid.lanes)
    origin = np.concatenate([np.full((first - head, grid.lanes), FRESH), origin])
    if not len(pieces.step):
        return
    wrong, seen_segment, seen_rows = _broken(pieces, windows, head, origin)
    shared = _in_two_lanes(pieces, windows.piece.shape, head) & (origin >= 0)
    if (wrong | shared).any():
        k, lane = (int(i) for i in np.argwhere(wrong | shared)[0])
        segment = int(windows.segment[k, lane])
        row = int(schedule.series.starts[segment] + windows.offset[k, lane])
        reason = "another lane of that step reads some of them too"
        if wrong[k, lane]:
            seen = int(schedule.series.starts[seen_segment[k, lane]] + seen_rows[k, lane]) - 1
            last = "no row yet" if seen_rows[k, lane] < 0 else f"row {seen} last"
            reason = f"the state of that lane has seen {last}"
        raise _refusal(schedule, grid, head + k, lane, segment, row, int(pieces.rows[windows.piece[k, lane]]), reason)


def _prove_slots(schedule: Schedule, grid: Grid, table: SlotTable, first: int, stop: int) -> None:
    """Every recorded state is the one before its slot's row, and every window reads the slot of its first row."""
    if first == 0 and grid.epoch:
        known = schedule.slots(0)
        if known is None or not (
            np.array_equal(known.segment, table.segment) and np.array_equal(known.offset, table.offset)
        ):
            raise ContinuityError(
                f"{schedule.policy!r} over {schedule.splitter!r}: the windows of epoch {grid.epoch} start at other "
                f"rows than those of epoch 0, so that recorded states cannot be found again; use Carry() or Reset()"
            )
    pieces = joined(grid.pieces(first, stop))
    windows = windows_of(pieces, first, stop, grid.lanes)
    slots = table.block(first, stop, grid.epoch)
    read = slots.read >= 0
    wrong = read & (
        (table.segment[slots.read] != windows.segment) | (table.offset[slots.read] != windows.offset)
        if len(table)
        else read
    )
    for w in range(slots.at.shape[2]):
        writes, at = slots.write[..., w] >= 0, slots.at[..., w]
        if not writes.any():
            continue
        seen = seen_before(pieces, windows, first, at)
        after = pieces.offset[seen] + np.minimum(pieces.rows[seen], at - pieces.at[seen])
        slot = slots.write[..., w]
        fits = (seen >= 0) & (pieces.segment[seen] == table.segment[slot]) & (after == table.offset[slot])
        wrong |= writes & ~fits
    if wrong.any():
        k, lane = (int(i) for i in np.argwhere(wrong)[0])
        raise ContinuityError(
            f"{schedule.policy!r} over {schedule.splitter!r}: at step {first + k}, lane {lane} a recorded state is not "
            f"the one before its slot's row; use the policy Stored() or Reset()"
        )


def _check_reweight(schedule: Schedule, grid: Grid, first: int, stop: int) -> None:
    """A gradient is weighed up for the cuts that it may meet; where the state is cut, too, there is nothing to mend."""
    origin = schedule.policy.origins(grid, first, stop)
    windows = windows_of(grid.pieces(first, stop), first, stop, grid.lanes)
    cut = (windows.offset > 0) & (origin < 0) & (np.arange(first, stop) > 0)[:, None]
    if cut.any():
        raise ScheduleError(
            f"{schedule.splitter!r} expects a policy that carries the state from window to window, got "
            f"{schedule.policy!r}; use Carry(), or reweight=False"
        )


def _check_pieces(schedule: Schedule, grid: Grid, pieces: Pieces, first: int, stop: int) -> None:
    """Every piece lies inside its segment and its window, and the pieces of a window stand in order."""
    step, lane, at, segment, offset, rows = pieces
    lengths = schedule.series.lengths
    known = (segment >= 0) & (segment < len(lengths))
    inside = known & (offset >= 0) & (offset + rows <= lengths[np.where(known, segment, 0)])
    fits = (rows >= 1) & (at >= 0) & (at + rows <= grid.length) & (lane >= 0) & (lane < grid.lanes)
    fits &= (step >= first) & (step < stop)
    cell = (step - first) * grid.lanes + lane
    fits[1:] &= (cell[1:] > cell[:-1]) | ((cell[1:] == cell[:-1]) & (at[1:] >= at[:-1] + rows[:-1]))
    wrong = np.flatnonzero(~(inside & fits))
    if len(wrong):
        k = wrong[0]
        raise ScheduleError(
            f"{schedule.splitter!r} expects pieces inside their segment ({counted(len(lengths), 'segment')}) and "
            "inside a window "
            f"of {counted(grid.length, 'row')}, sorted by step, lane and place; got rows {offset[k]} to "
            f"{offset[k] + rows[k] - 1} of segment {segment[k]} at place {at[k]} of step {step[k]}, lane {lane[k]}"
        )


def _broken(
    pieces: Pieces, windows: WindowPieces, first: int, origin: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which windows `(K, B)` are carried into without continuing; the segment their state saw last, and how far."""
    before = WindowPieces._make(np.concatenate([np.full_like(f[:1], -1), f[:-1]]) for f in windows)
    cut = np.concatenate([np.maximum(origin[1:], 0), np.zeros_like(origin[:1])])  # beside the window it cuts
    seen = seen_before(pieces, windows, first, cut)
    seen = np.concatenate([np.full_like(seen[:1], -1), seen[:-1]])  # beside the window that continues it
    cut = np.maximum(origin, 0)
    after = pieces.offset[seen] + np.minimum(pieces.rows[seen], cut - pieces.at[seen])  # the next row of its segment
    continues = (seen >= 0) & (pieces.segment[seen] == windows.segment) & (after == windows.offset)
    untouched = (seen < 0) & (before.segment == windows.segment) & (before.offset == windows.offset)
    wrong = (origin >= 0) & (windows.piece >= 0) & ~continues & ~untouched
    return wrong, pieces.segment[seen], np.where(seen >= 0, after, -1)


def _in_two_lanes(pieces: Pieces, shape: tuple[int, ...], first: int) -> np.ndarray:
    """Which windows `(K, B)` hold a row that an earlier row of another lane's window in the same step runs into."""
    found = np.zeros(shape, bool)
    if shape[1] == 1:
        return found
    order = np.lexsort((pieces.offset, pieces.segment, pieces.step))
    step, lane, _, segment, offset, count = (field[order] for field in pieces)
    overlap = (
        (step[1:] == step[:-1])
        & (segment[1:] == segment[:-1])
        & (lane[1:] != lane[:-1])
        & (offset[1:] < offset[:-1] + count[:-1])
    )
    found[step[1:][overlap] - first, lane[1:][overlap]] = True
    return found


def _refusal(
    schedule: Schedule, grid: Grid, step: int, lane: int, segment: int, row: int, count: int, reason: str
) -> ContinuityError:
    scored = grid.length - grid.lead
    remedy = (
        f"Chunked(length={scored}), in order and in one lane,"
        if grid.lanes == 1
        else f"Continuation(length={scored}, lanes={grid.lanes}), whose lanes walk contiguous strips,"
    )
    return ContinuityError(
        f"{schedule.policy!r} over {schedule.splitter!r}: the window at step {step}, lane {lane} reads rows {row} to "
        f"{row + count - 1} of {schedule.series.name!r} (segment {segment}), but {reason}; "
        f"use {remedy} or the policy Reset()"
    )
