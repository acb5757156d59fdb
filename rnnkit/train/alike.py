"""Whether states of nets that are not rnnkit's are alike: structure, libraries, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rnnkit.backend.libraries import library_of
from rnnkit.errors import ModelError


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
