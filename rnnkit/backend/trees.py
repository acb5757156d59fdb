"""Functions over trees of arrays: dicts, tuples and named tuples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def map_arrays(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to every array of a tree of dicts, tuples and named tuples; numbers, text and None pass."""
    if isinstance(tree, np.ndarray):  # most are, and the other questions take longer
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: map_arrays(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple):
        mapped = [map_arrays(function, value) for value in tree]
        return type(tree)(*mapped) if hasattr(tree, "_fields") else tuple(mapped)
    return tree if tree is None or isinstance(tree, int | float | str | np.integer) else function(tree)


def map_leaves(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply a function to the arrays of one or more trees alike, made of tuples, named tuples, lists and dicts."""
    if isinstance(tree, Mapping):
        return {key: map_leaves(function, branch, *(other[key] for other in others)) for key, branch in tree.items()}
    if isinstance(tree, tuple | list):
        branches = [map_leaves(function, *parts) for parts in zip(tree, *others, strict=True)]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return function(tree, *others)
