"""Files that hold arrays: NumPy's, HDF5 and Zarr.

One array `(N, F)`, or `(N,)` that is asked for by its own path, has columns that are whole numbers from 0. A group of
arrays `(N,)` of one length, or of one alone, is a table, whose columns are the arrays' names, in alphabetical order.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.data.columns import names, pick
from rnnkit.data.source import Rows, as_rows
from rnnkit.data.tables import READ, ChunkedRows, missing_library, reading
from rnnkit.errors import DataError, SourceError, did_you_mean


class NpyTable:
    """An array in NumPy's format, as a memmap."""

    def __init__(self, path: Path) -> None:
        self.who = repr(str(path))
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise SourceError(
                f"{self.who} is no array that can be mapped: {error}; write it with numpy.save"
            ) from error
        _check_axes(self.who, array.shape)
        as_rows(array, self.who, "the array")
        self._array = array.reshape(-1, 1) if array.ndim == 1 else array
        self.names = list(range(self._array.shape[1]))
        self.edges = np.array([0, len(array)])

    def kind(self, column: int) -> tuple[str, str]:
        """The array's."""
        return self._array.dtype.kind, str(self._array.dtype)

    def numbers(self, columns: list[int]) -> Rows:
        """Some columns; a view where they stand side by side."""
        return as_rows(pick(self._array, columns), self.who, "its columns")

    def read(self, chunk: int, columns: list[int]) -> np.ndarray:
        """Some columns of all rows: a new array."""
        return self._array[:, columns]

    def column(self, chunk: int, column: int) -> np.ndarray:
        """One column of all rows: a view."""
        return self._array[:, column]


class ArrayTable:
    """Arrays of HDF5 or Zarr: one whose columns are whole numbers, or several of one axis, by name."""

    def __init__(self, who: str, arrays: dict[str, Any] | Any, reopen: Callable[[], ArrayTable]) -> None:
        self.who, self._arrays, self._reopen = who, arrays, reopen
        every = list(arrays.values()) if isinstance(arrays, dict) else [arrays]
        first = every[0]
        width = first.shape[1] if len(first.shape) == 2 else 1
        self.names: list[Any] = list(arrays) if isinstance(arrays, dict) else list(range(width))
        chunk = max(array.chunks[0] if array.chunks else 1 for array in every)
        step = chunk * -(-READ // chunk)
        self.edges = np.append(np.arange(0, first.shape[0], step), first.shape[0])

    def __reduce__(self) -> Any:
        return _call, (self._reopen,)

    def kind(self, column: Any) -> tuple[str, str]:
        """Kind of the array that holds a column, in numpy's letters, and its dtype's name."""
        dtype = self._array(column).dtype
        return dtype.kind, "text" if dtype.kind in "OUST" else str(dtype)

    def numbers(self, columns: list[Any]) -> Rows:
        """Some columns, chunk by chunk: in the type of the only array, or in float64."""
        dtype = np.dtype(float) if isinstance(self._arrays, dict) else self._arrays.dtype
        return ChunkedRows(self, columns, dtype)

    def read(self, chunk: int, columns: list[Any]) -> np.ndarray:
        """Some columns of one chunk, `(n, F)`; of the only array, as few columns as stand around them."""
        rows = self._rows(chunk)
        if isinstance(self._arrays, dict):
            return np.stack([np.asarray(self._arrays[column][rows], np.float64) for column in columns], axis=1)
        if len(self._arrays.shape) == 1:
            return np.asarray(self._arrays[rows]).reshape(-1, 1)
        low, high = min(columns), max(columns) + 1
        return np.asarray(self._arrays[rows, low:high])[:, [column - low for column in columns]]

    def column(self, chunk: int, column: Any) -> np.ndarray:
        """One column of one chunk; text as objects or in NumPy's own type."""
        array, rows = self._array(column), self._rows(chunk)
        if array.dtype.kind in "OS" and hasattr(array, "asstr"):  # HDF5 hands out bytes
            return array.asstr()[rows]
        if len(array.shape) == 2:
            return np.asarray(array[rows, column : column + 1])[:, 0]
        return np.asarray(array[rows])

    def _array(self, column: Any) -> Any:
        return self._arrays[column] if isinstance(self._arrays, dict) else self._arrays

    def _rows(self, chunk: int) -> slice:
        return slice(int(self.edges[chunk]), int(self.edges[chunk + 1]))


def hdf5_table(path: Path, array: str | None) -> ArrayTable:
    """An array or a group of an HDF5 file; needs the extra `hdf5`."""
    try:
        import h5py
    except ImportError as error:
        raise missing_library(path, "h5py", "hdf5") from error
    who = repr(str(path))
    try:
        file: Any = h5py.File(path, "r")
    except PermissionError:
        raise
    except OSError as error:
        raise SourceError(f"{who} is no HDF5 file that can be read: {error}") from error
    found: dict[str, Any] = {}

    def add(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.shape:  # neither a single number nor nothing
            found[name] = node

    with reading(who):
        file.visititems(add)  # follows no link
        outside = _link_out(file, (array or "").strip("/").split("/")) if array else None
    if outside is not None:
        raise SourceError(f"{who}, array {array!r} is a link to another file, {outside!r}; open that file itself")
    chosen = find_arrays(who, found, array)
    for node in chosen.values() if isinstance(chosen, dict) else [chosen]:
        with reading(who):
            other = _stored_in(node)
        if other is not None:
            raise SourceError(
                f"{who}, array {node.name!r} has its numbers in another file, {other!r}, which this does not read: a "
                f"file would say what is read of this machine; read them with h5py and write them into one file"
            )
    return ArrayTable(who, chosen, partial(hdf5_table, path, array))


def _stored_in(node: Any) -> str | None:
    """The other file that an array of HDF5 has its numbers in, or None: all in its own."""
    if node.external:
        return os.fsdecode(node.external[0][0])
    if not node.is_virtual:
        return None
    for part in node.virtual_sources():
        inside = node.file.get(part.dset_name) if part.file_name == "." else None
        if inside is None or inside.is_virtual:  # a virtual array of virtual ones may lead anywhere
            return part.file_name
        if inside.external:
            return os.fsdecode(inside.external[0][0])
    return None


def _link_out(group: Any, parts: list[str]) -> str | None:
    """The file that a path inside a file of HDF5 leads out to, or None."""
    for depth in range(1, len(parts) + 1):
        link = group.get("/".join(parts[:depth]), getlink=True)
        if hasattr(link, "filename"):
            return link.filename
    return None


def zarr_table(path: Path, array: str | None) -> ArrayTable:
    """An array or a group of a Zarr folder; needs the extra `zarr`."""
    try:
        import zarr
    except ImportError as error:
        raise missing_library(path, "zarr", "zarr") from error
    who = repr(str(path))
    _check_inside(path)
    try:
        root: Any = zarr.open(str(path), mode="r")
        nodes = {"": root} if isinstance(root, zarr.Array) else dict(root.members(max_depth=None))
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise SourceError(f"{who} is no Zarr folder that can be read: {error}") from error
    found = {name: node for name, node in sorted(nodes.items()) if isinstance(node, zarr.Array) and node.shape}
    return ArrayTable(who, find_arrays(who, found, array), partial(zarr_table, path, array))


def _check_inside(folder: Path) -> None:
    """Raises SourceError where something in a folder is a link to something outside of it."""
    root = os.path.realpath(folder)
    for where, folders, files in os.walk(folder):
        for entry in (os.path.join(where, name) for name in (*folders, *files)):
            if os.path.islink(entry) and os.path.commonpath((root, os.path.realpath(entry))) != root:
                raise SourceError(
                    f"{str(folder)!r} has a link out of its folder, {entry!r}, which this does not follow: a folder "
                    f"would say what is read of this machine; put the file itself there"
                )


def find_arrays(who: str, found: dict[str, Any], array: str | None) -> Any:
    """The array that is meant, or those of a group by name.

    Args:
        who: how messages begin.
        found: every array of the file by its path, `""` where the file is one array.
        array: the path of one, or of a group; None for the file itself.

    Raises:
        DataError: nothing there, several arrays that are no table, or an array of more than two axes.
    """
    path = "" if array is None else array.strip("/")
    if not found:
        raise DataError(f"{who} holds no array")
    if path in found:
        return _checked(who, path, found[path])
    if list(found) == [""]:
        raise DataError(f"{who} is one array, got array={array!r}; leave it out")
    prefix = f"{path}/" if path else ""
    inside = {name.removeprefix(prefix): node for name, node in found.items() if name.startswith(prefix)}
    if not inside:
        raise DataError(
            f"{who} has no array {array!r}, asked for as array; its arrays are {names(list(found))}"
            f"{did_you_mean(path, found)}"
        )
    if len(inside) == 1:
        ((name, node),) = inside.items()
        only = _checked(who, name, node)
        return {name.rpartition("/")[2]: only} if len(only.shape) == 1 else only
    where = f"group {path!r} of {who}" if path else who
    one = f"name one: array={prefix + next(iter(inside))!r}"
    if any("/" in name or len(node.shape) > 1 for name, node in inside.items()):
        listed = names([f"{name} {node.shape}" for name, node in inside.items()])
        raise DataError(f"{where} holds {len(inside)} arrays ({listed}); {one}")
    if len({node.shape[0] for node in inside.values()}) > 1:
        listed = names([f"{name}: {node.shape[0]}" for name, node in inside.items()])
        raise DataError(f"{where} expects arrays of one length as its columns, got ({listed}); {one}")
    return inside


def _checked(who: str, name: str, node: Any) -> Any:
    who = f"{who}, array {name!r}" if name else who
    _check_axes(who, node.shape)
    if 0 in node.shape:
        raise DataError(f"{who} has no rows" if node.shape[0] == 0 else f"{who} has no columns")
    if node.dtype.kind not in "biuf":
        kind = "text" if node.dtype.kind in "OUST" else f"dtype {node.dtype}"
        raise DataError(f"{who} expects numbers, got {kind}; convert it: .astype(float)")
    return node


def _check_axes(who: str, shape: tuple[int, ...]) -> None:
    if len(shape) > 2:
        raise DataError(
            f"{who} expects an array of shape (N,) or (N, F), got {shape}; give samples (S, T, F) to Sequence.panel"
        )


def _call(reopen: Callable[[], ArrayTable]) -> ArrayTable:
    return reopen()
