"""Where each window's initial state comes from: pure functions of the grid.

A policy is any object with `origins(grid, first, stop)`; what it answers is proven before it is used. It may bring
two more functions: `widen(grid) -> Grid` lets windows begin earlier, and `slots(grid) -> SlotTable` says which states
are recorded and started from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from rnnkit.errors import ScheduleError, counted
from rnnkit.schedule.batch import FRESH, RECORDED
from rnnkit.schedule.brief import brief
from rnnkit.schedule.checks import check_whole, check_window
from rnnkit.schedule.grid import Grid, Pieces, WindowPieces, windows_of
from rnnkit.schedule.slots import SlotTable, slot_table


class StatePolicy(Protocol):
    """What a schedule needs of a policy."""

    def origins(self, grid: Grid, first: int, stop: int) -> np.ndarray:
        """`origin` of each window of the steps `first <= step < stop`, `(stop - first, B)`.

        FRESH (-1): from the initial state. k >= 0: from what the lane had after row k - 1 of its previous window.
        RECORDED (-2): from the recorded state of its first row, for a policy with `slots`.
        """
        ...


def widen(policy: StatePolicy, grid: Grid) -> Grid:
    """The grid with what a policy adds at the head of its windows."""
    return getattr(policy, "widen", lambda same: same)(grid)


def slots_of(policy: StatePolicy, grid: Grid) -> SlotTable | None:
    """What a policy records and starts from, of one that does; `grid` is the widened one."""
    return getattr(policy, "slots", lambda _: None)(grid)


@dataclass(frozen=True)
class Reset:
    """Every window starts from the initial state."""

    def origins(self, grid: Grid, first: int, stop: int) -> np.ndarray:
        """FRESH for every lane of the steps `first` to `stop`, `(steps, B)`."""
        return np.full((stop - first, grid.lanes), FRESH)


@dataclass(frozen=True)
class Carry:
    """Every window starts from the state that its lane had just before the window's first row.

    The state is a value: no gradient flows into the window that made it, and it was computed with the parameters
    before the update. A segment, and a lane at the start of an epoch, start from the initial state.

    Args:
        reset_every: every so many steps of an epoch all lanes start from the initial state; None: never.
        reset_probability: each window starts from the initial state with this probability, drawn anew each epoch
            from the schedule's seed.
        across_epochs: a lane starts an epoch from the state it had at the end of the epoch before, as loops do that
            never reset. That state has seen the end of the lane and not what stands before its start: the proof of
            continuity leaves this one place out.

    Raises:
        ScheduleError: `reset_every` below 1, or a probability outside [0, 1].
    """

    reset_every: int | None = None
    reset_probability: float = 0.0
    across_epochs: bool = False

    def __repr__(self) -> str:
        return brief(self)

    def __post_init__(self) -> None:
        if self.reset_every is not None:
            check_whole(self, "reset_every", self.reset_every, 1)
        _check_choice(self, "across_epochs", self.across_epochs)
        number = isinstance(self.reset_probability, int | float | np.number)
        if not number or isinstance(self.reset_probability, bool) or not 0 <= self.reset_probability <= 1:
            raise ScheduleError(f"Carry expects 0 <= reset_probability <= 1, got {self.reset_probability!r}")

    @property
    def proven(self) -> Carry:
        """What a proof looks at: whether a reset that is drawn hides a broken continuation is luck."""
        return replace(self, reset_probability=0.0) if self.reset_probability else self

    def origins(self, grid: Grid, first: int, stop: int) -> np.ndarray:
        """How many rows of the window before each lane goes on after, FRESH where it starts anew, `(steps, B)`."""
        warm = self.across_epochs and grid.epoch > 0
        origin = _continued(grid, first, stop, warm).copy()
        if first == 0 < stop and warm:
            origin[0] = grid.length
        if self.reset_every is not None:
            origin[np.arange(first, stop) % self.reset_every == 0] = FRESH
        if self.reset_probability:
            origin[grid.draw(first, stop) < self.reset_probability] = FRESH
        return origin


@dataclass(frozen=True)
class BurnIn:
    """Every window starts some rows earlier, from the initial state; these rows only warm the state up.

    They are not scored and, unless asked for, outside the gradient. Rows before the start of a segment do not exist:
    the burn-in is shorter there. Windows may come in any order.

    Args:
        rows: how many rows earlier.
        in_gradient: whether the gradient goes through these rows, too.

    Raises:
        ScheduleError: fewer than one row.
    """

    rows: int
    in_gradient: bool = False

    def __repr__(self) -> str:
        return brief(self)

    def __post_init__(self) -> None:
        check_whole(self, "rows", self.rows, 1)
        _check_choice(self, "in_gradient", self.in_gradient)

    def widen(self, grid: Grid) -> Grid:
        """The grid with windows that begin earlier."""
        return _earlier(grid, self.rows, self.in_gradient)

    def origins(self, grid: Grid, first: int, stop: int) -> np.ndarray:
        """FRESH for every lane of the steps `first` to `stop`: the rows in front warm the state, `(steps, B)`."""
        return np.full((stop - first, grid.lanes), FRESH)


@dataclass(frozen=True)
class Stored:
    """Every window starts from the state that was last recorded at its first row.

    Whenever a window passes over a row at which some window starts, the state before that row is recorded, after
    the step's update. So shuffled windows, too, start from a state that has seen what stands before them, computed
    with parameters that are some steps old: `Schedule.coverage` reports the age. A window whose first row was never
    passed over, in this epoch or the one before, starts from the initial state, and so does the start of a segment.

    Args:
        burn_in: rows that each window starts earlier, unscored and outside the gradient, so that part of the way is
            computed with the parameters of the day.

    Raises:
        ScheduleError: a negative burn-in; when the schedule is made, windows that start elsewhere in every epoch.

    Source: Kapturowski et al., "Recurrent experience replay in distributed reinforcement learning" (R2D2, 2019).
    """

    burn_in: int = 0

    def __repr__(self) -> str:
        return brief(self)

    def __post_init__(self) -> None:
        check_whole(self, "burn_in", self.burn_in, 0)

    def widen(self, grid: Grid) -> Grid:
        """The grid with windows that begin earlier."""
        return _earlier(grid, self.burn_in, False) if self.burn_in else grid

    def slots(self, grid: Grid) -> SlotTable:
        """A slot for each row at which a window starts, and who records it when."""
        if grid.varies:
            raise ScheduleError(
                f"{self!r} expects windows that start at the same rows in every epoch, got lengths that are drawn, or "
                f"shuffled windows of which some are dropped; use a length in rows and tail='keep'"
            )
        return slot_table(grid)

    def origins(self, grid: Grid, first: int, stop: int) -> np.ndarray:
        """RECORDED where a state stands in a slot for the window's first row, else FRESH, `(steps, B)`."""
        return np.where(self.slots(grid).reads(first, stop, grid.epoch) >= 0, RECORDED, FRESH)


def _earlier(grid: Grid, rows: int, in_gradient: bool) -> Grid:
    """Windows that begin so many rows earlier, where their segment has them."""
    check_window(grid.length + rows, grid.lanes, 1, f"a burn-in of {counted(rows, 'row')}")

    def pieces(first: int, stop: int) -> Pieces:
        found = grid.pieces(first, stop)
        heads = np.ones(len(found.step), bool)
        heads[1:] = (found.step[1:] != found.step[:-1]) | (found.lane[1:] != found.lane[:-1])
        more = np.where(heads, np.minimum(rows, found.offset), 0)
        return found._replace(at=found.at + rows - more, offset=found.offset - more, rows=found.rows + more)

    detached = grid.detached if in_gradient else grid.detached + rows
    reweight = None if grid.reweight is None else np.concatenate([np.ones(rows), grid.reweight])
    length, lead = grid.length + rows, grid.lead + rows
    return replace(grid, length=length, lead=lead, pieces=pieces, detached=detached, reweight=reweight)


@lru_cache(maxsize=4)  # the proof asks for what is handed out afterwards
def _continued(grid: Grid, first: int, stop: int, warm: bool) -> np.ndarray:
    """Origins that continue, in every lane, what its state has seen; `warm`: which is something before step 0, too."""
    head = _last_fresh_step(grid, first)
    pieces = grid.pieces(head, stop)
    windows = windows_of(pieces, head, stop, grid.lanes)
    origin = _find(pieces, head, windows.segment, windows.offset - 1) + 1
    origin = np.where(origin < 1, grid.length, origin)  # no continuation: the proof will say so
    step = np.arange(head, stop)[:, None]
    cold = np.where(step == 0, not warm, windows.offset == 0)
    # a window that starts at the very row of the one before starts from what that one started from
    again = _starts_again(windows)
    root = np.maximum.accumulate(np.where(again, 0, step - head), axis=0)
    return np.where(np.take_along_axis(cold, root, axis=0), FRESH, np.where(again, 0, origin))[first - head :]


def _check_choice(policy: Any, name: str, value: Any) -> None:
    if not isinstance(value, bool | np.bool_):
        raise ScheduleError(f"{type(policy).__name__} expects {name} to be True or False, got {value!r}")


def _starts_again(windows: WindowPieces) -> np.ndarray:
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
