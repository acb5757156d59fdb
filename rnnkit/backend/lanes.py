"""The edges of a window, over the arrays of any library: where it is cut, what its lanes start from and leave behind.

Between the rows at which a window is cut nothing happens to its state but the recurrence. A state is a tree of arrays
of NumPy, PyTorch or JAX, all of them with the lanes along one axis; where several trees go together they are alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rnnkit.backend.libraries import Library, library_of
from rnnkit.backend.trees import map_leaves
from rnnkit.schedule.batch import FRESH, RECORDED, Batch, Slots


def cuts(rows: int, detached: int = 0, reweight: np.ndarray | None = None, others: Iterable[int] = ()) -> list[int]:
    """The rows, 0 and T among them, at which a window is cut.

    Args:
        rows: T.
        detached: rows at the head that are outside the gradient; the state after them is a value.
        reweight: `(T,)` or None; the gradient is weighed where it is not 1.
        others: further rows before which something happens; those that the window does not have are left out.
    """
    weighed = () if reweight is None else np.flatnonzero(reweight != 1)
    found = {0, rows, min(detached, rows), *(int(row) for row in (*others, *weighed))}
    return sorted(row for row in found if 0 <= row <= rows)


def rows_left(batch: Batch) -> set[int]:
    """The rows before which a window leaves a state behind: hands it on, or records it; T: after its last row."""
    rows = {int(row) for row in _handing_on(batch)}
    if batch.slots is not None:
        rows |= {int(row) for row in batch.slots.at[batch.slots.write >= 0]}
    return rows


def begins_inside(origin: np.ndarray, valid: np.ndarray, detached: int) -> np.ndarray:
    """Lanes `(B,)` that stand at the initial state where the gradient begins: no row of theirs is outside of it.

    Args:
        origin: `(B,)`, or `(K, B)` for as many windows.
        valid: `(T, B)`, or `(K, T, B)`.
        detached: rows at the head that are outside the gradient.
    """
    return (origin == FRESH) & ~valid[..., :detached, :].any(-2)


def start_of(batch: Batch, cold: Any, carried: Any, store: Any, axis: int = 0) -> Any:
    """What each lane of a window starts from, by its `origin`.

    Args:
        batch: the window.
        cold: the state of lanes that start afresh.
        carried: what the window before has handed on.
        store: the recorded states, slots along the lane axis; None without any.
        axis: that of the lanes.
    """
    state, from_slot = select(batch.origin >= 0, carried, cold, axis), batch.origin == RECORDED
    if batch.slots is None or store is None or not from_slot.any():
        return state
    slot = np.where(from_slot, batch.slots.read, batch.slots.read[from_slot][0])  # what the others say may not be there
    return select(from_slot, take(store, slot, axis), state, axis)


def hand_on(batch: Batch, states: Mapping[int, Any], otherwise: Any, axis: int = 0) -> Any:
    """What each lane of a window hands to the next one.

    Args:
        batch: the window.
        states: the state before each row that `rows_left` names.
        otherwise: what stands there for lanes that hand nothing on.
        axis: that of the lanes.
    """
    rows = np.minimum(batch.hand_on, len(batch.x))
    for row in np.unique(rows[rows >= 0]):
        otherwise = select(rows == row, states[int(row)], otherwise, axis)
    return otherwise


def record(slots: Slots, states: Mapping[int, Any], store: Any, axis: int = 0) -> Any:
    """The recorded states with those that a window records in their slots.

    Args:
        slots: of the window.
        states: the state before each row that `rows_left` names.
        store: the recorded states; it may be used up.
        axis: that of the lanes.
    """
    lane, nth = np.nonzero(slots.write >= 0)
    if not len(lane):
        return store
    row, slot = slots.at[lane, nth], slots.write[lane, nth]
    chosen = [row == each for each in np.unique(row)]
    parts = [take(states[int(row[here][0])], lane[here], axis) for here in chosen]
    return write(store, np.concatenate([slot[here] for here in chosen]), joined(parts, axis), axis)


def select(lanes: np.ndarray, chosen: Any, otherwise: Any, axis: int = 0) -> Any:
    """For each lane what stands in `chosen` where true, else in `otherwise`: two trees alike; `lanes (B,)`."""
    if lanes.all() or not lanes.any():
        return chosen if lanes.all() else otherwise

    def where(a: Any, b: Any) -> Any:
        return _library(a).where(lanes.reshape(-1, *[1] * (a.ndim - axis - 1)), a, b)

    return map_leaves(where, chosen, otherwise)


def copied(tree: Any) -> Any:
    """Copy every array; the gradient passes."""
    return map_leaves(lambda a: _library(a).copied(a), tree)


def value(tree: Any) -> Any:
    """Copy the numbers of every array; no gradient passes."""
    return map_leaves(lambda a: _library(a).value(a), tree)


def take(tree: Any, lanes: np.ndarray, axis: int = 0) -> Any:
    """Some lanes of every array."""
    return map_leaves(lambda a: _library(a).take(a, lanes, axis), tree)


def write(tree: Any, lanes: np.ndarray, values: Any, axis: int = 0) -> Any:
    """A tree with `values` in some of its lanes; the tree may be used up."""
    return map_leaves(lambda a, b: _library(a).write(a, lanes, b, axis), tree, values)


def joined(trees: list[Any], axis: int = 0) -> Any:
    """Trees alike as one, their lanes one after the other."""
    return trees[0] if len(trees) == 1 else map_leaves(lambda *a: _library(a[0]).joined(a, axis), *trees)


def zeros(tree: Any, lanes: int, axis: int = 0) -> Any:
    """A tree alike, of so many lanes, filled with zeros."""
    return map_leaves(lambda a: _library(a).zeros((*a.shape[:axis], lanes, *a.shape[axis + 1 :]), a), tree)


def _handing_on(batch: Batch) -> np.ndarray:
    """The row at which each lane hands its state on `(B,)`; T where it hands on nothing."""
    rows = len(batch.x)
    return np.where(batch.hand_on < 0, rows, np.minimum(batch.hand_on, rows))


def _library(array: Any) -> Library:
    library = library_of(array)
    assert library is not None  # every tree has been checked on its way in
    return library
