"""`LaneState`: what the lanes of a schedule remember, for a training loop and a net that are not rnnkit's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from rnnkit.backend.lanes import copied, cuts, hand_on, record, rows_left, select, start_of, value, write, zeros
from rnnkit.checks import is_whole
from rnnkit.errors import ContinuityError, ModelError, ScheduleError, counted
from rnnkit.schedule.batch import FRESH, RECORDED, Batch, Slots
from rnnkit.train.alike import check_alike, leaves


class LaneState:
    """The state of each lane from batch to batch, kept as the schedule says, for any net: `walk` and `put`.

    A window is handed out in pieces, cut wherever something happens to the state of a lane but the recurrence: a
    reset, padding that a state outlives, a row after which the state is handed on or recorded, the end of rows
    outside the gradient. Most windows are one piece; short segments packed into many lanes, and `Stored` with windows
    that overlap, make many, which is right but slow, and slower where a net is compiled for each length.

    Inside a window the gradient passes from piece to piece, so that the pieces are the window. What a lane starts a
    window from is a value, and so is the state after rows outside the gradient; their outputs have weight 0, and may
    be computed without a graph where `rows.stop <= batch.detached`.

    The state of a lane is held through padding. What the net puts out there means nothing and has weight 0.

    One object serves one schedule, whose batches come in order and epoch after epoch: what `Stored` records, and what
    `Carry(across_epochs=True)` hands on, outlives the epoch. Data sets in turn take an object each. What a window hands
    on and records is written when its walk ends: a walk that was broken off may be begun again.

    Args:
        initial: the state that fresh lanes start from, `(B, ...)` each: an array of NumPy, PyTorch or JAX (Keras'
            tensors are one of these on its backends `torch` and `jax`; TensorFlow's are refused), or a tuple, list or
            dict of arrays, nested as you like; such as `torch.nn.LSTM` takes it. Kept as it is, so that its gradient
            can be taken; a part computed from parameters, such as `h0.expand(...)`, is set anew for each batch:
            `lanes.initial = ...`.
        axis: the lane axis of every array; 1 for the `(layers, B, H)` of `torch.nn.LSTM`.

    Raises:
        ModelError: what is no array, or has no such axis, or another number of lanes than the others.

    Example:
        >>> import numpy as np, rnnkit as rk
        >>> series = rk.Sequence(np.arange(9.0), segments=[(0, 3), (3, 9)], horizon=0)
        >>> schedule = rk.Schedule(series, rk.Continuation(length=5), rk.Carry())
        >>> lanes = rk.LaneState(np.zeros((schedule.lanes, 1)))
        >>> for batch in schedule.batches():
        ...     for rows, state in lanes.walk(batch):
        ...         y = state + np.cumsum(batch.x[rows], axis=0)  # the simplest net that remembers
        ...         lanes.put(y[-1])
        ...         print(rows, state.ravel(), y.ravel())
        slice(0, 3, None) [0.] [0. 1. 3.]
        slice(3, 5, None) [0.] [3. 7.]
        slice(0, 4, None) [7.] [12. 18. 25. 33.]
        slice(4, 5, None) [33.] [33.]
    """

    def __init__(self, initial: Any, *, axis: int = 0) -> None:
        self._axis = axis
        self._initial, self._lanes = initial, _lanes(initial, axis)
        self._handed_on = value(initial)
        self._from = np.full(self._lanes, FRESH)  # hand_on of the batch before: which of its states stand there
        self._window = 0  # rows of that batch
        self._seen = np.full(self._lanes, -1)  # the row that they have seen last
        self._store = zeros(initial, 0, axis)
        self._recorded = np.zeros(0, bool)
        self._due = False
        self._put: Any = None

    @property
    def initial(self) -> Any:
        """The state that fresh lanes start from."""
        return self._initial

    @initial.setter
    def initial(self, state: Any) -> None:
        check_alike(self._initial, state, "initial")
        self._initial = state

    @property
    def state(self) -> Any:
        """What each lane has handed on, a value; the initial state where it hands nothing on.

        At the end of an epoch that is the state after the last row of each lane.
        """
        return copied(self._handed_on)

    def walk(self, batch: Batch) -> Iterator[tuple[slice, Any]]:
        """The pieces of a window, in order, each with the state before it; `put` the state after it.

        Args:
            batch: the next of the schedule's batches.

        Yields:
            `(rows, state)`: a slice of the window's T rows, and a state of its own memory like `initial`.

        Raises:
            ContinuityError: a batch that does not follow the one walked before it.
            ScheduleError: a batch of another number of lanes, or whose gradient is to be weighed (`reweight=True`).
            ModelError: a piece without `put`.
        """
        self._check(batch)
        axis, left = self._axis, rows_left(batch)
        state = start_of(batch, self._initial, self._handed_on, self._store, axis)
        states = {0: state}
        for start, stop in itertools.pairwise(cuts(len(batch.x), batch.detached, None, left | _changes(batch))):
            state = select(batch.reset[start], self._initial, state, axis)
            self._due = True
            yield slice(start, stop), copied(state)
            if self._due:
                raise ModelError(
                    f"LaneState.walk expects the state after each piece, got none after rows {start} to {stop - 1} of "
                    f"the window; write lanes.put(state) at the end of the loop over walk"
                )
            state = select(batch.valid[start], self._put, state, axis)
            if stop == batch.detached:  # who has read nothing yet stands at the initial state, inside the gradient
                state = select(batch.valid[:stop].max(0), value(state), state, axis)
            if stop in left:
                states[stop] = value(state)
        self._handed_on, self._put = value(hand_on(batch, states, self._initial, axis)), None
        self._from, self._window = np.minimum(batch.hand_on, len(batch.x)), len(batch.x)
        last = batch.rows[np.maximum(self._from, 1) - 1, np.arange(self._lanes)]
        self._seen = np.where(self._from > 0, last, -1)
        if batch.slots is not None:
            self._record(batch.slots, states)

    def put(self, state: Any) -> None:
        """Say what the net's state is after the piece that `walk` handed out last; the numbers are copied.

        Raises:
            ModelError: a state of another structure, shape, dtype or library than `initial`, or one nobody asked for.
        """
        if not self._due:
            raise ModelError(
                "LaneState.put expects to be called once for each piece of walk, got a state between pieces; "
                "write lanes.put(state) inside the loop over walk"
            )
        check_alike(self._initial, state, "state")
        self._put, self._due = copied(state), False

    def _record(self, slots: Slots, states: dict[int, Any]) -> None:
        """Write states into their slots; how many there are shows as they come."""
        written = slots.write[slots.write >= 0]
        known, needed = len(self._recorded), int(written.max(initial=-1)) + 1
        if needed > known:
            size = max(needed, 2 * known)
            wider = zeros(self._store, size, self._axis)
            self._store = write(wider, np.arange(known), self._store, self._axis)
            self._recorded = np.concatenate([self._recorded, np.zeros(size - known, bool)])
        self._store = record(slots, states, self._store, self._axis)
        self._recorded[written] = True

    def _check(self, batch: Batch) -> None:
        if batch.x.shape[1] != self._lanes:
            raise ScheduleError(
                f"LaneState(axis={self._axis}) of {counted(self._lanes, 'lane')} expects batches of as many, got one "
                f"of {batch.x.shape[1]}; make `initial` for schedule.lanes lanes, and say which axis theirs is"
            )
        if batch.reweight is not None:
            raise ScheduleError(
                "LaneState expects reweight=False: weighing the gradient up between the rows of a window takes a net "
                "that is rnnkit's own; train with rk.fit, or leave reweight out"
            )
        carried, from_slot = batch.origin >= 0, batch.origin == RECORDED
        # a lane may go back to its start, as it does across epochs, but not forward past rows that it has not seen
        passed = (batch.origin > 0) & (self._seen >= 0) & (batch.row > self._seen + 1)
        # the batch before may be the last of a block with shorter windows, or with longer ones the last of an epoch
        after_epoch = (self._from == self._window) & (batch.origin >= len(batch.x))
        other = carried & (self._from != batch.origin) & ((self._from < 0) | (self._from > batch.origin)) & ~after_epoch
        if batch.slots is not None and from_slot.any():
            slot = batch.slots.read
            known = (slot < len(self._recorded)) & (slot >= 0)
            known[known] = self._recorded[slot[known]]
            other |= from_slot & ~known
        if (passed | other).any():
            lane = int(np.argmax(passed | other))
            raise ContinuityError(
                f"LaneState.walk expects the batch that follows the one walked before, got one whose lane {lane} "
                f"starts at row {batch.row[lane]} from a state that is not there; walk every batch of every epoch to "
                f"its end, in order, with a LaneState for each schedule"
            )


def _lanes(initial: Any, axis: int) -> int:
    """How many lanes a state has."""
    if not is_whole(axis):
        raise ModelError(f"LaneState expects axis to be a whole number, that of the lanes, got {axis!r}; write axis=0")
    found = {}
    for path, array in leaves(initial, "initial"):
        if not 0 <= axis < array.ndim:
            raise ModelError(
                f"LaneState(axis={axis}) expects arrays with that axis, got {path} of shape {tuple(array.shape)}; "
                f"say which axis is that of the lanes, from 0"
            )
        found[path] = array.shape[axis]
    if len(set(found.values())) != 1:
        lanes = ", ".join(f"{count} in {path}" for path, count in found.items())
        raise ModelError(
            f"LaneState(axis={axis}) expects arrays of as many lanes each, got {lanes or 'no array'}; "
            f"give arrays with the lanes along one axis"
        )
    return next(iter(found.values()))


def _changes(batch: Batch) -> set[int]:
    """The rows before which something happens to a state that is asked for besides what happens to every net's.

    A reset; padding that a state outlives, and its end.
    """
    window, valid = len(batch.x), batch.valid
    asked = np.where(valid.any(0), window - valid[::-1].argmax(0), 0)
    asked = np.maximum(np.minimum(batch.hand_on, window), asked)
    rows = np.arange(1, window)[:, None]
    changes = (valid[1:] & ~valid[:-1]) | (valid[:-1] & ~valid[1:] & (rows < asked))
    return {*np.flatnonzero(batch.reset.any(1)).tolist(), *(np.flatnonzero(changes.any(1)) + 1).tolist()}
