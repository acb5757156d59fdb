"""Small runs, and whether two of them are one."""

from __future__ import annotations

import numpy as np

import rnnkit as rk


def same_parameters(a: rk.Run, b: rk.Run) -> bool:
    """Whether two runs ended at the same bits."""
    return a.params.keys() == b.params.keys() and all(np.array_equal(a.params[key], p) for key, p in b.params.items())
