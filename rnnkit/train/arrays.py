"""Arrays and trees of NumPy, PyTorch or JAX, whichever a net outside of rnnkit uses; none of them is imported here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rnnkit.errors import ModelError


class Library(NamedTuple):
    """What is done to the arrays of one library.

    Attributes:
        name: for messages.
        copied: `copied(a)`: the same numbers in memory of their own; the gradient passes.
        value: `value(a)`: the same, and no gradient passes.
        where: `where(mask, a, b)`; the mask is a NumPy array of as many axes.
        zeros: `zeros(shape, like)`.
        take: `take(a, index, axis)`.
        write: `write(a, index, values, axis)`: a with `values` at `index`; a may be used up.
    """

    name: str
    copied: Callable[[Any], Any]
    value: Callable[[Any], Any]
    where: Callable[[np.ndarray, Any, Any], Any]
    zeros: Callable[[tuple[int, ...], Any], Any]
    take: Callable[[Any, np.ndarray, int], Any]
    write: Callable[[Any, np.ndarray, Any, int], Any]


def library_of(array: Any) -> Library | None:
    """The library of an array, None for what is no array of the three."""
    if isinstance(array, np.ndarray):
        return _numpy()
    for name, kind, library in (("torch", "Tensor", _torch), ("jax", "Array", _jax)):
        module = sys.modules.get(name)  # whoever holds an array of it has imported it
        if module is not None and isinstance(array, getattr(module, kind, ())):
            return library(module)
    return None


def select(lanes: np.ndarray, chosen: Any, otherwise: Any, axis: int) -> Any:
    """For each lane what stands in `chosen` where true, else in `otherwise`: two trees alike; `lanes (B,)`."""
    if lanes.all() or not lanes.any():
        return chosen if lanes.all() else otherwise

    def where(a: Any, b: Any) -> Any:
        return _library(a).where(lanes.reshape(-1, *[1] * (a.ndim - axis - 1)), a, b)

    return map_leaves(where, chosen, otherwise)


def copied(tree: Any) -> Any:
    """Copy every array; the gradient passes."""
    return map_leaves(lambda a: _library(a).copied(a), tree)


def value(tree: Any) -> Any:
    """Copy the numbers of every array; no gradient passes."""
    return map_leaves(lambda a: _library(a).value(a), tree)


def take(tree: Any, lanes: np.ndarray, axis: int) -> Any:
    """Some lanes of every array."""
    return map_leaves(lambda a: _library(a).take(a, lanes, axis), tree)


def write(tree: Any, lanes: np.ndarray, values: Any, axis: int) -> Any:
    """A tree with `values` in some of its lanes; the tree may be used up."""
    return map_leaves(lambda a, b: _library(a).write(a, lanes, b, axis), tree, values)


def zeros(tree: Any, lanes: int, axis: int) -> Any:
    """A tree alike, of so many lanes, filled with zeros."""
    return map_leaves(lambda a: _library(a).zeros((*a.shape[:axis], lanes, *a.shape[axis + 1 :]), a), tree)


def map_leaves(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply a function to the arrays of one or more trees alike, made of tuples, named tuples, lists and dicts."""
    if isinstance(tree, Mapping):
        return {key: map_leaves(function, branch, *(other[key] for other in others)) for key, branch in tree.items()}
    if isinstance(tree, tuple | list):
        branches = [map_leaves(function, *parts) for parts in zip(tree, *others, strict=True)]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return function(tree, *others)


def leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every array of a tree with its path, such as `"state[0]"`.

    Raises:
        ModelError: something that is neither an array nor a branch.
    """
    branches = _branches(tree)
    if branches is None and library_of(tree) is None:
        raise ModelError(
            f"LaneState expects a state of arrays of NumPy, PyTorch or JAX, in tuples, lists or dicts, got "
            f"{type(tree).__name__} as {path}; give the framework's own arrays"
        )
    if branches is None:
        yield path, tree
    for key, branch in branches or ():
        yield from leaves(branch, f"{path}[{key!r}]")


def check_alike(expected: Any, got: Any, path: str) -> None:
    """Check that a tree has the structure of another, and each array its library, shape and dtype.

    Raises:
        ModelError: naming the first place that differs.
    """
    if _kind(expected) != _kind(got):
        raise ModelError(
            f"LaneState expects a state with the structure of `initial`, {_kind(expected)} as {path}, got "
            f"{_kind(got)}; put what the net takes as its state"
        )
    inner = zip(_branches(expected) or (), _branches(got) or (), strict=True)
    for (key, branch), (_, other) in inner:
        check_alike(branch, other, f"{path}[{key!r}]")


def _kind(tree: Any) -> str:
    """What stands at a place of a tree, in words; two places are alike where these are."""
    if isinstance(tree, Mapping):
        return f"a dict with the keys {sorted(map(repr, tree))}"
    if isinstance(tree, tuple | list):
        return f"a {type(tree).__name__} of {len(tree)}"
    library = library_of(tree)
    if library is None:
        return type(tree).__name__
    dtype = str(tree.dtype).removeprefix("torch.")
    return f"an array of {library.name}, {dtype} {tuple(tree.shape)},"


def _branches(tree: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(tree, Mapping):
        return sorted(tree.items(), key=lambda item: repr(item[0]))
    return list(enumerate(tree)) if isinstance(tree, tuple | list) else None


def _library(array: Any) -> Library:
    library = library_of(array)
    assert library is not None  # every tree has been checked on its way in
    return library


def _numpy() -> Library:
    def write(a: Any, index: np.ndarray, values: Any, axis: int) -> Any:
        a[(slice(None),) * axis + (index,)] = values
        return a

    def zeros(shape: tuple[int, ...], like: Any) -> Any:
        return np.zeros(shape, like.dtype)

    return Library("NumPy", np.array, np.array, np.where, zeros, np.take, write)


def _torch(torch: Any) -> Library:
    def on(array: np.ndarray, like: Any) -> Any:
        return torch.tensor(array, device=like.device)

    def copied(a: Any) -> Any:
        return a.clone(memory_format=torch.contiguous_format)

    return Library(
        "PyTorch",
        copied,
        lambda a: copied(a.detach()),
        lambda mask, a, b: torch.where(on(mask, a), a, b),
        lambda shape, like: like.detach().new_zeros(shape),
        lambda a, index, axis: a.index_select(axis, on(index, a)),
        lambda a, index, values, axis: a.index_copy_(axis, on(index, a), values),
    )


def _jax(jax: Any) -> Library:
    def value(a: Any) -> Any:
        a = jax.lax.stop_gradient(a)
        if isinstance(a, jax.core.Tracer):
            raise ModelError(
                "LaneState expects to hand on numbers, got a tracer: a function under jax.jit or jax.vmap cannot "
                "walk; jit the net that reads one piece, and walk outside of it (jax.grad around the walk is welcome)"
            )
        return a

    return Library(
        "JAX",
        lambda a: a,  # nobody can write into it
        value,
        jax.numpy.where,
        lambda shape, like: jax.numpy.zeros(shape, like.dtype),
        lambda a, index, axis: jax.numpy.take(a, index, axis),
        lambda a, index, values, axis: a.at[(slice(None),) * axis + (index,)].set(values),
    )
