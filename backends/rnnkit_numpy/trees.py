"""NumPy in, NumPy out: nothing to convert."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnkit.backend import map_arrays


def from_numpy(tree: Any) -> Any:
    """Hand a tree of NumPy arrays on; nothing is copied."""
    return map_arrays(np.asarray, tree)


def to_numpy(tree: Any) -> Any:
    """Hand a tree of NumPy arrays back; nothing is copied."""
    return map_arrays(np.asarray, tree)
