"""Arrays that are views of a file mapped into memory: sent to another process as the place where they stand."""

from __future__ import annotations

import mmap
import os
from typing import Any, NamedTuple

import numpy as np

from rnnkit.errors import SourceError


class Place(NamedTuple):
    """Where an array stands.

    Attributes:
        path: the file.
        dtype: of the array.
        start, stop: the bytes of the file that are mapped.
        offset: that of its first number among them.
        shape, strides: as NumPy has them.
    """

    path: str
    dtype: np.dtype
    start: int
    stop: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def packed(array: Any) -> Any:
    """What to send of an array: its `Place` where it is a view of a file, else itself."""
    memmap = _mapped(array)
    path = None if memmap is None else memmap.filename
    if memmap is None or path is None or memmap.mode == "c":  # "c": what was written is in memory alone
        return array
    address, base = (a.__array_interface__["data"][0] for a in (array, memmap))
    start, size = int(memmap.offset), memmap.size * memmap.itemsize
    return Place(os.fspath(path), array.dtype, start, start + size, address - base, array.shape, array.strides)


def unpacked(sent: Any) -> Any:
    """The array that `packed` was given, from its file again where it stands in one.

    Raises:
        SourceError: a file that is not there any more, or is shorter.
    """
    if not isinstance(sent, Place):
        return sent
    who = repr(sent.path)
    try:
        if os.path.getsize(sent.path) < sent.stop:
            raise SourceError(f"{who} is shorter than when rows of it were sent here; open it anew")
        whole = np.memmap(sent.path, np.uint8, "r", sent.start, (sent.stop - sent.start,))
    except OSError as error:
        raise SourceError(f"{who}, rows of which were sent here, cannot be read: {error.strerror or error}") from error
    view: np.ndarray = np.ndarray(sent.shape, sent.dtype, whole, sent.offset, sent.strides)
    return view


def is_mapped(array: Any) -> bool:
    """Whether an array is a view of a memmap."""
    return _mapped(array) is not None


def _mapped(array: Any) -> np.memmap | None:
    """The memmap that an array is a view of, whole; its offset is that of the file."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):
            return array
        array = array.base
    return None
