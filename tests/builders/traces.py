"""A trace of a deep model on a series of two segments."""

from __future__ import annotations

from typing import Any

import rnnkit as rk
from builders.series import walk

DEEP = rk.Chain(rk.LSTM(2, 5), rk.LSTM(5, 4), rk.Dense(4, 1))


def broken_walk(rows: int = 60, **settings: Any) -> rk.Sequence:
    """A walk with a hole of three rows."""
    return walk(rows, **{"segments": [(0, 20), (23, rows)]} | settings)


def traced(rows: Any = (5, 45), model: rk.Chain = DEEP, data: rk.Sequence | None = None, **settings: Any) -> rk.Trace:
    """A trace at parameters larger than drawn, so that gradients reach far."""
    params = {key: 2 * p + 0.1 for key, p in rk.setup(model, seed=2, dtype="float64")[0].items()}
    data = broken_walk() if data is None else data
    return rk.trace(model, data, rows, params=params, **{"warm": 0} | settings)
