"""Resets and padding without a loop over time: a window cut into pieces that a recurrent layer runs straight through.

Each lane is cut where it resets. A *piece* is the valid rows between two cuts: padding holds the state, so
leaving it out is exact. The first piece of a lane starts from the state it is given, every later one from the
initial state. All pieces run side by side, the longest first, as in PyTorch's packed sequences: position 0 of
every piece, then position 1 of those that have one, and so on. The layers of a chain see valid rows only, and
what stands at padding cannot reach them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class PackedRows(NamedTuple):
    """Where rows and states of a window go: T rows, B lanes; P pieces, the longest of L rows, N rows in all.

    Attributes:
        shape: `(T, B)` of the window.
        running: `(L, P)`.
        rows: `(N,)`, which row `t * B + b` of the window runs when; None: all of them, as they stand.
        sizes: `(L,)` int64 on the CPU, how many pieces have a row at each position; None: all have L rows.
        start: `(P,)`, the lane whose state a piece starts from, or B + n: the n-th of `cold`; None: lane p.
        cold: `(C,)`, the lanes of the pieces that start from the initial state.
        last: `(B,)`, the piece whose last state is the lane's, or P + b: its own state, untouched, or P + B + n: the
            n-th of `left`; None: piece b.
        left: `(D,)`, the lanes that end in the initial state.
    """

    shape: tuple[int, int]
    running: tuple[int, int]
    rows: Tensor | None = None
    sizes: Tensor | None = None
    start: Tensor | None = None
    cold: Tensor | None = None
    last: Tensor | None = None
    left: Tensor | None = None

    def gather(self, x: Tensor) -> Tensor:
        """The rows of `x (T, B, F)` in the order they run: `(L, P, F)`, or `(N, F)` where lengths differ."""
        if self.rows is None:
            return x
        running = x.reshape(-1, x.shape[-1])[self.rows]
        return running.view(*self.running, x.shape[-1]) if self.sizes is None else running

    def scatter(self, y: Tensor) -> Tensor:
        """Back to `(T, B, O)`, with zeros at padding."""
        if self.rows is None:
            return y
        steps, lanes = self.shape
        outputs = y.shape[-1]
        window = y.new_zeros((steps * lanes, outputs))
        return window.index_copy(0, self.rows, y.reshape(-1, outputs)).view(steps, lanes, outputs)

    def begin(self, s: Tensor, initial: Tensor) -> Tensor:
        """From the state of the lanes `(B, H)`, and what a reset makes of it, to that of the pieces `(P, H)`."""
        return s if self.start is None else torch.cat([s, of_lanes(initial, self.cold)])[self.start]

    def end(self, s: Tensor, before: Tensor, initial: Tensor) -> Tensor:
        """From the last state of the pieces `(P, H)`, and the lanes' state before, to that of the lanes."""
        return s if self.last is None else torch.cat([s, before, of_lanes(initial, self.left)])[self.last]


def of_lanes(initial: Tensor, lanes: Tensor | None) -> Tensor:
    """The initial state of some lanes, from `(B, H)`, or `(1, H)` where it is the same for all.

    A learned one is the same for all: its gradient is a plain sum, in a fixed order on every device.
    """
    if lanes is None:
        return initial[:0]
    return initial.expand(len(lanes), -1) if len(initial) == 1 else initial[lanes]


def cut(reset: np.ndarray, valid: np.ndarray, device: torch.device) -> PackedRows:
    """Cut a window at its resets and leave out its padding: `reset` and `valid` bool `(T, B)`."""
    steps, lanes = reset.shape
    if valid.all() and not reset.any():
        return PackedRows((steps, lanes), (steps, lanes))

    # a piece's key is its lane and, within the lane, the number of resets up to it
    resets = reset.cumsum(0)
    key = np.arange(lanes) * (steps + 1) + resets
    t, b = np.nonzero(valid)
    keys, piece, length = np.unique(key[t, b], return_inverse=True, return_counts=True)
    count, longest = len(keys), int(length.max(initial=0))

    by_piece = np.argsort(piece, kind="stable")
    position = np.empty_like(piece)
    position[by_piece] = np.arange(len(piece)) - np.repeat(np.cumsum(length) - length, length)
    by_length = np.argsort(-length, kind="stable")
    rank = np.argsort(by_length)
    rows = (t * lanes + b)[np.lexsort((rank[piece], position))]
    sizes = (length > np.arange(longest)[:, None]).sum(1)

    lane, resets_before = np.divmod(keys[by_length], steps + 1)
    cold = resets_before > 0
    start = np.where(cold, lanes + np.cumsum(cold) - 1, lane)
    found = np.searchsorted(keys, key[-1])
    ran = np.isin(key[-1], keys)
    left = ~ran & (resets[-1] > 0)
    untouched = count + np.where(left, lanes + np.cumsum(left) - 1, np.arange(lanes))
    last = np.where(ran, rank[np.where(ran, found, 0)] if count else 0, untouched)

    def index(values: np.ndarray, plain: int, alike: bool = True) -> Tensor | None:
        """Indices into `plain` things, or None where they are `alike` and all picked as they stand."""
        same = alike and len(values) == plain and bool((values == np.arange(plain)).all())
        return None if same else torch.from_numpy(values).to(device)

    return PackedRows(
        shape=(steps, lanes),
        running=(longest, count),
        rows=index(rows, steps * lanes, alike=(longest, count) == (steps, lanes)),
        sizes=None if (length == longest).all() else torch.from_numpy(sizes),
        start=index(start, lanes),
        cold=torch.from_numpy(lane[cold]).to(device),
        last=index(last, count),
        left=torch.from_numpy(np.flatnonzero(left)).to(device),
    )
