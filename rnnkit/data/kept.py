"""A table of many series that stays open for the data sets that are series of it: read once, not once for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from rnnkit.data.series import BySeries


class FileStamp(NamedTuple):
    """A file's size and time of change."""

    path: str
    size: int
    mtime: int


class KeptTable:
    """Holds the table that was last read while it was lent; the data sets that share it hold it.

    It is read again where the file has changed. Sent to another process it arrives empty. What reads its file as rows
    are asked for is opened again in a forked process, which would move the place at which its parent reads.
    """

    def __init__(self) -> None:
        self._key: Any = None
        self._table: BySeries | None = None
        self._process = 0

    def __reduce__(self) -> Any:
        return KeptTable, ()

    @contextmanager
    def lent(self, path: Path, options: Any) -> Iterator[None]:
        """Within this context a table is read from here.

        Args:
            path: its file.
            options: how it is read; it is read again where they differ.
        """
        try:
            state = stamps(path)
        except OSError:  # what reads it says so
            state = ()
        token = _LENT.set((self, (state, options)))
        try:
            yield
        finally:
            _LENT.reset(token)

    def table(self, key: Any, read: Callable[[], BySeries]) -> BySeries:
        """The table of a key, as it was read last, or read now."""
        if self._table is None or key != self._key or not (self._table.in_memory or self._process == os.getpid()):
            self._table = None  # or two would stand in memory
            self._table, self._key, self._process = read(), key, os.getpid()
        return self._table


_LENT: ContextVar[tuple[KeptTable, Any] | None] = ContextVar("lent", default=None)


def table_by_series(read: Callable[[], BySeries]) -> BySeries:
    """A table, from where it is kept or read now."""
    lent = _LENT.get()
    return read() if lent is None else lent[0].table(lent[1], read)


def stamps(path: Path) -> tuple[FileStamp, ...]:
    """What tells whether a file, or one of a folder, has changed.

    Raises:
        OSError: it is not there.
    """
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return tuple(FileStamp(str(file), stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()])
