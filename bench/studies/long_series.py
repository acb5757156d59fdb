"""One long series and a small net, for the same time: what is gained by not reading every row 64 times.

47,249 observations of a noisy wave whose period, 314 rows, is five times as long as a window. Sliding windows in random
order that start from nothing, as tutorials do; chunks; strips with carried state; strips that look back.

    python bench/studies/long_series.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from common import carry_out, options, scaled

import rnnkit as rk

ROWS, LENGTH = 47_249, 64

SPLITTERS = (
    rk.Sliding(length=LENGTH, lanes=32, shuffle=True),
    rk.Chunked(length=LENGTH, lanes=4, shuffle=True),
    rk.Continuation(length=LENGTH, lanes=4),
    rk.Continuation(length=LENGTH, lanes=4, lookback=LENGTH),
)

given = options("long_series", __doc__ or "")


def compare(seconds: float, folder: Path) -> rk.Comparison:
    """Every splitter with every policy for the same time; what a schedule refuses is left out."""
    noise = np.random.default_rng(0).standard_normal(ROWS)
    series = rk.Sequence(np.sin(np.arange(ROWS) / 50) + 0.3 * noise, name="observations", horizon=1)
    return rk.compare(
        rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 5, "tanh"), rk.Dense(5, 1)),
        scaled(series),
        splitters=SPLITTERS,
        policies=(rk.Reset(), rk.Carry()),
        seeds=given.seeds(5),
        equal=given.seconds(seconds),
        rule=rk.Adam(3e-3),
        out=folder,
        jobs=given.jobs,
    )


def half_a_second(folder: Path) -> rk.Comparison:
    """A short training."""
    return compare(0.5, folder)


def five_seconds(folder: Path) -> rk.Comparison:
    """A long one."""
    return compare(5.0, folder)


if __name__ == "__main__":
    carry_out(given, {"half_a_second": half_a_second, "five_seconds": five_seconds})
