"""The shipped series, five seeds each: do the ways of cutting and starting differ by more than seeds do?

Windows have 40 rows, which divide no day: chunks of a day, begun from nothing, would teach the hour by the place in the
window. Every net is judged with its state carried, whatever the policy in training.

    python bench/studies/real_data.py
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from common import carry_out, options, scaled

import rnnkit as rk

DATA = Path(__file__).parent.parent.parent / "examples" / "data"

SERIES: dict[str, dict[str, Any]] = {
    "nyc_taxi": {"file": "nyc_taxi.csv", "period": 48},
    "machine_temperature": {"file": "machine_temperature_system_failure.csv", "gap": "1h"},
    "ambient_temperature": {"file": "ambient_temperature_system_failure.csv", "gap": "1h", "period": 24},
}

SPLITTERS = (
    rk.Continuation(length=40, lanes=4),
    rk.Continuation(length=40, lanes=4, lookback=40),
    rk.Continuation(length=rk.Geometric(40), lanes=4),
    rk.Chunked(length=40, lanes=4, shuffle=True),
    rk.Sliding(length=40, stride=8, lanes=4, shuffle=True),
)
POLICIES = (rk.Carry(), rk.Reset(), rk.BurnIn(rows=40), rk.Stored())

given = options("real_data", __doc__ or "")


def compare(folder: Path, file: str, gap: str | None = None, period: int | None = None) -> rk.Comparison:
    """One series, every splitter with every policy, on the same number of scored rows."""
    series = rk.Sequence.open(DATA / file, time="timestamp", target="value", gap=gap)
    return rk.compare(
        rk.Chain(rk.LSTM(1, 16), rk.Dense(16, 1)),
        scaled(series),
        splitters=SPLITTERS,
        policies=POLICIES,
        seeds=given.seeds(5),
        equal=given.rows(500_000),
        rule=rk.Adam(5e-3),
        clip=rk.ClipNorm(1.0),
        learning_rate=rk.Cosine(),
        period=period,
        out=folder,
        jobs=given.jobs,
    )


if __name__ == "__main__":
    carry_out(given, {name: partial(compare, **settings) for name, settings in SERIES.items()})
