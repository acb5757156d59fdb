"""Which tasks need memory, and of what kind: a state that reaches back, or a gradient that does.

All windows have 16 rows, with look-back or burn-in 48. Of each task there is one version whose dependencies fit into a
window, or nearly, and one that needs more:

- adding: a sum that is held. Holding is learned from short windows, if the state that comes in is not thrown away: a
  reset makes the sum of a longer segment unknowable, a carried state is enough, and the gradient need not reach far.
- delayed_copy: a number is wanted `lag` rows after it was shown. What must be kept is learned only where the gradient
  reaches from the target back to the number: carrying the state alone does not help beyond a window, look-back does.
- mackey_glass: the delayed value is 17 or 40 rows away, and can be reconstructed in part from the rows since.
- fast: adding and mackey_glass with five times the learning rate, held to the end, and no clipping. A carried state was
  computed with older parameters, and one bad step is carried on: do states that start anew now and then help?

    python bench/studies/what_needs_memory.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from common import carry_out, options, scaled

import rnnkit as rk

LENGTH, LANES, BACK = 16, 8, 32

SPLITTERS = (
    rk.Continuation(length=LENGTH, lanes=LANES),
    rk.Continuation(length=LENGTH, lanes=LANES, lookback=BACK),
    rk.Sliding(length=LENGTH, stride=4, lanes=LANES, shuffle=True),
)
POLICIES = (rk.Carry(), rk.Reset(), rk.BurnIn(rows=BACK), rk.Stored())

TASKS: dict[str, Callable[[], rk.Sequence]] = {
    "adding_12": lambda: rk.tasks.adding(length=12, count=1600),
    "adding_200": lambda: rk.tasks.adding(length=200, count=100),
    "delayed_copy_8": lambda: rk.tasks.delayed_copy(lag=8, rows=20_000, density=0.05),
    "delayed_copy_24": lambda: rk.tasks.delayed_copy(lag=24, rows=20_000, density=0.05),
    "mackey_glass_17": lambda: rk.tasks.mackey_glass(10_000, tau=17, horizon=6),
    "mackey_glass_40": lambda: rk.tasks.mackey_glass(10_000, tau=40, horizon=6),
}

given = options("what_needs_memory", __doc__ or "")


def compare(name: str, folder: Path) -> rk.Comparison:
    """One task, every splitter with every policy, on the same number of scored rows; slow tasks get more."""
    return train(name, SPLITTERS, POLICIES, 3, folder, rate=1e-2, clip=rk.ClipNorm(1.0), learning_rate=rk.Cosine())


def fast(name: str, folder: Path) -> rk.Comparison:
    """One task, strips alone, with steps that are too large."""
    forgetful = (rk.Carry(reset_every=20), rk.Carry(reset_probability=0.05), rk.BurnIn(rows=BACK))
    return train(name, SPLITTERS[:1], (rk.Carry(), *forgetful, rk.Reset()), 8, folder, rate=5e-2)


def train(
    name: str, splitters: tuple, policies: tuple, seeds: int, folder: Path, *, rate: float, **settings: Any
) -> rk.Comparison:
    """Every cell alike."""
    rows = TASKS[name]()
    return rk.compare(
        rk.Chain(rk.LSTM(rows.features, 16), rk.Dense(16, 1)),
        scaled(rows),
        splitters=splitters,
        policies=policies,
        seeds=given.seeds(seeds),
        equal=given.rows(3_000_000 if "copy" in name else 1_000_000),
        rule=rk.Adam(rate),
        bias=True,
        out=folder,
        jobs=given.jobs,
        **settings,
    )


cases = {name: partial(compare, name) for name in TASKS}
cases |= {f"fast_{name}": partial(fast, name) for name in ("adding_200", "mackey_glass_17")}

if __name__ == "__main__":
    carry_out(given, cases)
