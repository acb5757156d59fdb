"""Files as sources of rows: one reader a format, chosen by the file's suffix."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rnnkit.data.arrays import NpyTable, hdf5_table, zarr_table
from rnnkit.data.arrow import ArrowTable, ParquetTable
from rnnkit.data.columns import Column, Opened, Wanted
from rnnkit.data.converted import read_converted
from rnnkit.data.kept import table_by_series
from rnnkit.data.series import BySeries
from rnnkit.data.tables import TableFile, table_ids, table_source
from rnnkit.data.text import csv_ids, read_csv
from rnnkit.data.textfile import TEXT, text_suffix
from rnnkit.data.textoptions import TextOptions
from rnnkit.errors import DataError, SourceError, did_you_mean

T = TypeVar("T")

TABLES: dict[str, Callable[[Path, str | None], TableFile]] = {
    ".npy": lambda path, array: NpyTable(path),
    ".parquet": lambda path, array: ParquetTable(path),
    ".arrow": lambda path, array: ArrowTable(path),
    ".feather": lambda path, array: ArrowTable(path),
    ".h5": hdf5_table,
    ".hdf5": hdf5_table,
    ".zarr": zarr_table,
}
"""The formats from which rows are read as they are asked for."""

SUFFIXES = (*TEXT, *TABLES)
FOLDERS = (".zarr",)
NAMED = (".h5", ".hdf5", ".zarr")
"""The formats that hold arrays by name."""


def open_source(
    path: Path,
    wanted: Wanted,
    array: str | None = None,
    only: Any = None,
    memmap: str | os.PathLike[str] | None = None,
) -> Opened:
    """What a file holds of what was asked for, as `Sequence.open` says.

    Raises:
        SourceError: no such file, a folder, an unknown suffix, or a file that cannot be read.
        DataError: a column, a value or an option that cannot be used.
    """
    if only is not None and wanted.series_id is None:
        raise DataError(
            f"{str(path)!r} chooses series with only={only!r}, got no series_id; "
            "name the column of ids: series_id='...'"
        )
    if memmap is not None and "\0" in str(memmap):
        raise DataError(f"{str(path)!r} expects a folder as memmap, got {str(memmap)!r}, which none can be called")

    def read(path: Path) -> Opened:
        if text_suffix(path) is None:
            _no_text_options(path, wanted.text)
            return table_source(_table(path, array, memmap), wanted)
        _no_array(path, array)
        return read_csv(path, wanted) if memmap is None else read_converted(path, wanted, Path(memmap))

    if wanted.series_id is None:
        return _reading("Sequence.open", path, read)

    def read_series() -> BySeries:
        opened = _reading("Sequence.open", path, read)
        assert opened.ids is not None  # they were asked for
        return BySeries(opened.source, opened.times, opened.ids, opened.clock)

    gathered = table_by_series(read_series).of(only)
    return Opened(gathered.source, gathered.times, clock=gathered.clock)


def series_ids(path: str | os.PathLike[str], column: Column, *, array: str | None = None, **text: Any) -> list[str]:
    """The ids of the series in a file, in order of first appearance; no other column is read but of CSV.

    Args:
        path: a file that `Sequence.open` reads.
        column: the column that names the series that each row belongs to.
        array: as for `Sequence.open`.
        text: how a text file is written: `separator`, `encoding` and so on, as for `Sequence.open`.

    Raises:
        SourceError: a file that is not there or cannot be read.
        DataError: a column that is not there, or a value that is no id.

    Example:
        A sequence for each series:

            for name in rk.data.series_ids("servers.parquet", "server"):
                series = rk.Sequence.open("servers.parquet", series_id="server", only=name, target="load")
    """

    def read(path: Path) -> list[str]:
        options = TextOptions.checked(repr(str(path)), text)
        if text_suffix(path) is None:
            _no_text_options(path, options)
            return list(table_ids(_table(path, array), column).names)
        _no_array(path, array)
        return list(csv_ids(path, column, options).names)

    return _reading("series_ids", Path(path), read)


def _reading(who: str, path: Path, read: Callable[[Path], T]) -> T:
    suffix = path.suffix.lower()
    if os.path.isdir(path) and suffix not in FOLDERS:
        raise SourceError(f"{who} expects a file, got the folder {str(path)!r}; name one file in it")
    if suffix not in TABLES and text_suffix(path) is None:
        raise SourceError(
            f"{who} expects a file that ends in {', '.join(SUFFIXES)} (text also packed: .gz, .bz2, .xz), got "
            f"{str(path)!r}{did_you_mean(path.suffix, SUFFIXES)}"
        )
    try:
        if not os.path.exists(path):  # no file is called by a name that is too long, or has a NUL
            raise FileNotFoundError
        if not os.path.isfile(path) and not os.path.isdir(path):
            raise SourceError(
                f"{who} expects a file, got {str(path)!r}, a pipe, socket or device: what comes from it is read "
                f"once and may never end; write it into a file"
            )
        return read(path)
    except SourceError:
        raise
    except OSError as error:
        if not os.path.exists(path):
            raise SourceError(f"{who} found no file {str(path)!r}; check the path") from None
        raise SourceError(f"{who} cannot read {str(path)!r}: {error.strerror or error}") from error


def _table(path: Path, array: str | None, memmap: Any = None) -> TableFile:
    suffix = path.suffix.lower()
    if memmap is not None:
        raise DataError(
            f"{str(path)!r} is read as its rows are asked for, got memmap={str(memmap)!r}, which is for text files; "
            "leave it out"
        )
    if suffix not in NAMED:
        _no_array(path, array)
    return TABLES[suffix](path, array)


def _no_text_options(path: Path, options: TextOptions) -> None:
    if options.given:
        name, value = next(iter(options.given.items()))
        raise DataError(
            f"{str(path)!r} is no text file, got {name}={value!r}, which is for {', '.join(TEXT)}; leave it out"
        )


def _no_array(path: Path, array: str | None) -> None:
    if array is not None:
        raise DataError(
            f"{str(path)!r} holds no arrays by name, got array={array!r}, which is for {', '.join(NAMED)}; leave it out"
        )
