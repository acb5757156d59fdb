"""What is done to arrays of NumPy, PyTorch or JAX, whichever is at hand; the latter two are not imported here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
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
        joined: `joined(arrays, axis)`: one after the other.
    """

    name: str
    copied: Callable[[Any], Any]
    value: Callable[[Any], Any]
    where: Callable[[np.ndarray, Any, Any], Any]
    zeros: Callable[[tuple[int, ...], Any], Any]
    take: Callable[[Any, np.ndarray, int], Any]
    write: Callable[[Any, np.ndarray, Any, int], Any]
    joined: Callable[[Sequence[Any], int], Any]


def library_of(array: Any) -> Library | None:
    """The library of an array, None for what is no array of the three."""
    if isinstance(array, np.ndarray):
        return _numpy()
    for name, kind, library in (("torch", "Tensor", _torch), ("jax", "Array", _jax)):
        module = sys.modules.get(name)  # whoever holds an array of it has imported it
        if module is not None and isinstance(array, getattr(module, kind, ())):
            return library(module)
    return None


def _numpy() -> Library:
    def write(a: Any, index: np.ndarray, values: Any, axis: int) -> Any:
        a[(slice(None),) * axis + (index,)] = values
        return a

    def zeros(shape: tuple[int, ...], like: Any) -> Any:
        return np.zeros(shape, like.dtype)

    return Library("NumPy", np.array, np.array, np.where, zeros, np.take, write, np.concatenate)


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
        torch.cat,
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
        jax.numpy.concatenate,
    )
