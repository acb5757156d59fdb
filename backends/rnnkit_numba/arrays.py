"""The boundary: every array that enters a compiled function passes through `plain`.

Numba compiles anew for an array that is read-only, strided, Fortran-ordered or of a subclass; none gets in.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rnnkit.backend import map_arrays
from rnnkit.errors import ModelError
from rnnkit.model import DTYPES
from rnnkit_numba.kernels.vectors import LINE_BYTES

KNOWN = frozenset(np.dtype(name) for name in DTYPES)


def from_numpy(tree: Any) -> Any:
    """A tree of NumPy arrays as contiguous ones; what is contiguous already is not copied."""
    return map_arrays(np.ascontiguousarray, tree)


def to_numpy(tree: Any) -> Any:
    """A tree of arrays as NumPy arrays; nothing is copied."""
    return map_arrays(np.asarray, tree)


def plain(array: Any, dtype: Any) -> np.ndarray:
    """A C-contiguous, aligned, writeable `ndarray` of a dtype; a copy only where the array is none of it."""
    return np.require(array, dtype, ["C", "A", "W", "E"])


def aligned(shape: int | tuple[int, ...], dtype: Any, *, zeros: bool = False) -> np.ndarray:
    """A new array, of zeros or of anything, that begins with a cache line: a vector across two takes twice as long."""
    dtype = np.dtype(dtype)
    size = (math.prod(shape) if isinstance(shape, tuple) else shape) * dtype.itemsize
    room = (np.zeros if zeros else np.empty)(size + LINE_BYTES, np.uint8)
    first = -room.ctypes.data % LINE_BYTES
    return room[first : first + size].view(dtype).reshape(shape)


def common_dtype(params: dict[str, np.ndarray]) -> np.dtype:
    """The dtype of the parameters, which is the dtype of everything.

    Raises:
        ModelError: parameters of several dtypes, or of one other than float32 and float64.
    """
    dtypes = {p.dtype for p in params.values()}
    if len(dtypes) != 1 or dtypes.isdisjoint(KNOWN):
        names = sorted(np.dtype(dtype).name for dtype in dtypes)
        raise ModelError(
            f"backend 'numba' cannot run parameters of dtype {', '.join(names)}; make them all float32 or all float64"
        )
    return next(iter(dtypes))
