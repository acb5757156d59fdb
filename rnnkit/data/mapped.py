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


class Mapping(NamedTuple):
    """The file behind an array, as it is now.

    Attributes:
        file: mapped into memory.
        stop: the bytes of it that the array needs.
        path: what it is called.
    """

    file: mmap.mmap
    stop: int
    path: str

    def check(self) -> None:
        """Check that the file is as long as it was: reading what has gone would end the process by a signal.

        Raises:
            SourceError: it was cut short.
        """
        size = self.file.size()
        if size < self.stop:
            raise cut_short(self.path, size, self.stop)


def cut_short(path: str, size: int, expected: int) -> SourceError:
    """The error of a file that was cut short while it was open."""
    return SourceError(
        f"{path!r} was cut short while it was read: it has {size:,} bytes and had at least {expected:,}; write it "
        f"whole, and open it anew"
    )


def mapping(array: Any) -> Mapping | None:
    """What an array is mapped from; None for one in memory.

    Args:
        array: an array, or a view of one.
    """
    memmap = _mapped(array)
    if memmap is None or not isinstance(memmap.base, mmap.mmap):
        return None
    path = "a memory map" if memmap.filename is None else os.fspath(memmap.filename)
    return Mapping(memmap.base, int(memmap.offset) + memmap.size * memmap.itemsize, str(path))


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
