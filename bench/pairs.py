"""The pairs of splitter and state policy that are timed, each an epoch of one net over one series."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from cases import CASES, step_net

import rnnkit as rk
from rnnkit.schedule import StatePolicy

T = 64
ROWS = 47_249 // T * T
"""As many rows of the series as fill windows: `unfold` would leave the others out."""

MODEL = step_net(1, 32)


@dataclass(frozen=True)
class Pair:
    """One splitter with one policy.

    Attributes:
        splitter, policy: the schedule's.
        rows: rows of the series; fewer where an epoch of PyTorch would take more than a second.
        limit: the share of time that the policy may add to a row, beside `Reset` on the same splitter.
        dtype: of everything.
    """

    splitter: rk.Sliding | rk.Chunked | rk.Continuation
    policy: StatePolicy
    rows: int = ROWS
    limit: float = 0.15
    dtype: str = "float32"

    @property
    def title(self) -> str:
        """Splitter and policy, without the settings that are as they would be anyway."""
        told = repr(self.splitter).replace(", tail='keep'", "").replace(", shuffle=False", "")
        return f"{told}, {self.policy!r}"

    @cached_property
    def observations(self) -> np.ndarray:
        """One more value than there are rows `(N + 1,)`: row t is to predict row t + 1."""
        return replace(CASES["epoch-32"], rows=self.rows).observations().astype(self.dtype)

    @cached_property
    def schedule(self) -> rk.Schedule:
        """Over the observations, horizon 1."""
        return rk.Schedule(rk.Sequence(self.observations), self.splitter, self.policy)

    @cached_property
    def reset(self) -> Pair:
        """What a row is compared with: the same windows, without look-back or weights, from the initial state."""
        splitter = self.splitter
        if isinstance(splitter, rk.Continuation):
            splitter = replace(splitter, lookback=0, reweight=False)
        return replace(self, splitter=splitter, policy=rk.Reset())

    @cached_property
    def counts(self) -> tuple[int, int]:
        """Rows that an epoch scores, and rows that it computes, each as often as it does."""
        blocks = list(self.schedule.blocks())
        return sum(int((b.weight > 0).sum()) for b in blocks), sum(int(b.valid.sum()) for b in blocks)

    @property
    def starts(self) -> np.ndarray:
        """First scored row of every window of `Sliding` and `Chunked`, in the order drawn for the first epoch."""
        grid = self.reset.schedule.grid()
        return grid.pieces(0, grid.steps).offset

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each step of `Continuation`, as drawn for the first epoch."""
        grid = self.reset.schedule.grid()
        pieces = grid.pieces(0, grid.steps)
        return pieces.rows[pieces.lane == 0]

    @property
    def fresh(self) -> np.ndarray:
        """Which lanes start each step from the initial state `(steps, B)`, as drawn for the first epoch."""
        grid = self.schedule.grid()
        return self.policy.origins(grid, 0, grid.steps) == -1


SHUFFLED = rk.Sliding(T, stride=T // 2, lanes=32, shuffle=True)
CHUNKS = rk.Chunked(T, lanes=32, shuffle=True)
STRIPS = rk.Continuation(T, lanes=32)

PAIRS = {
    pair.title: pair
    for pair in (
        Pair(replace(SHUFFLED, stride=1), rk.Reset(), rows=64 * T),
        Pair(SHUFFLED, rk.Reset()),
        Pair(rk.Sliding(T, stride=T // 2), rk.Carry(), rows=128 * T),
        Pair(SHUFFLED, rk.BurnIn(16)),
        Pair(SHUFFLED, rk.Stored(), limit=0.3),
        Pair(CHUNKS, rk.Reset()),
        Pair(rk.Chunked(T), rk.Carry(), rows=256 * T),
        Pair(CHUNKS, rk.BurnIn(16)),
        Pair(CHUNKS, rk.Stored(), limit=0.3),
        Pair(STRIPS, rk.Reset()),
        Pair(STRIPS, rk.Carry()),
        Pair(STRIPS, rk.Carry(reset_every=8)),
        Pair(STRIPS, rk.Carry(reset_probability=0.1)),
        Pair(STRIPS, rk.BurnIn(16)),
        Pair(STRIPS, rk.Stored(), limit=0.3),
        Pair(replace(STRIPS, lookback=T), rk.Carry()),
        Pair(replace(STRIPS, length=rk.Uniform(T // 2, 3 * T // 2)), rk.Carry()),
        Pair(replace(STRIPS, length=rk.Geometric(T), reweight=True), rk.Carry()),
    )
}
