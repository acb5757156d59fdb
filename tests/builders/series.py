"""Small series: waves with noise, and random inputs whose targets remember."""

from __future__ import annotations

from typing import Any

import numpy as np

import rnnkit as rk


def wave(
    rows: int = 60, seed: int = 0, *, period: float = 5.0, noise: float = 0.1, level: float = 0.0, scale: float = 1.0
) -> np.ndarray:
    """A sine of `2π·period` rows with noise, `(rows,)`, around `level` and all of it times `scale`."""
    rng = np.random.default_rng(seed)
    return scale * (level + np.sin(np.arange(rows) / period) + noise * rng.standard_normal(rows))


def walk(rows: int = 60, inputs: int = 2, seed: int = 0, **settings: Any) -> rk.Sequence:
    """Random inputs, and as target a third of the sum of the first of them so far."""
    x = np.random.default_rng(seed).standard_normal((rows, inputs))
    return rk.Sequence(x, np.cumsum(x[:, :1], 0) / 3, **{"name": "walk"} | settings)
