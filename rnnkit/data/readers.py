"""Files as sources of rows: one function a format, chosen by the file's suffix.

Each takes `(path, wanted)` and returns the source and the times, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.data.columns import Wanted, choose, file_source, pick
from rnnkit.data.source import Source, as_rows
from rnnkit.data.text import read_csv
from rnnkit.errors import DataError, SourceError, did_you_mean


def open_source(path: Path, wanted: Wanted) -> tuple[Source, Any]:
    """The source in a file, and its times `(N,)` or None.

    Raises:
        SourceError: no such file, a folder, an unknown suffix, or a file that cannot be read.
        DataError: a column or a value that cannot be used.
    """
    if path.is_dir():
        raise SourceError(f"Sequence.open expects a file, got the folder {str(path)!r}; name one file in it")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SourceError(
            f"Sequence.open expects a file that ends in {', '.join(READERS)}, got {str(path)!r}"
            f"{did_you_mean(path.suffix, READERS)}"
        )
    try:
        return reader(path, wanted)
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceError(f"Sequence.open found no file {str(path)!r}; check the path") from None
    except OSError as error:
        raise SourceError(f"Sequence.open cannot read {str(path)!r}: {error.strerror or error}") from error


def read_npy(path: Path, wanted: Wanted) -> tuple[Source, Any]:
    """An array in NumPy's format, `(N, F)` or `(N,)`, as a memmap; columns are whole numbers from 0."""
    who = repr(str(path))
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise SourceError(f"{who} is no array that can be mapped: {error}; write it with numpy.save") from error
    as_rows(array, who, "the array")
    array = array.reshape(-1, 1) if array.ndim == 1 else array
    choice = choose(who, list(range(array.shape[1])), wanted)
    x, y = (pick(array, columns) if columns else None for columns in (choice.features, choice.targets))
    labels = array.dtype.kind in "iu" and wanted.horizon == 0
    return file_source(who, choice, x, y, labels), None if wanted.time is None else array[:, wanted.time]


def read_parquet(path: Path, wanted: Wanted) -> tuple[Source, Any]:
    """A Parquet file, read as its rows are asked for; needs the extra `parquet`."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise SourceError(
            f"reading {str(path)!r} needs pyarrow, which is not installed; pip install 'rnnkit[parquet]'"
        ) from error
    who = repr(str(path))
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise SourceError(f"{who} is no Parquet file: {error}") from error
    schema = file.schema_arrow
    choice = choose(who, schema.names, wanted)
    for column in choice.features + choice.targets:
        kind = schema.field(column).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise DataError(f"{who}, column {column!r} expects numbers, got {kind}; leave it out: features=[...]")
    if not file.metadata.num_rows:
        raise DataError(f"{who} has no rows")
    x, y = (ParquetRows(file, columns) if columns else None for columns in (choice.features, choice.targets))
    whole = all(pa.types.is_integer(schema.field(column).type) for column in choice.targets)
    times = None
    if wanted.time is not None:
        times = np.concatenate([_column(file, group, wanted.time) for group in range(file.num_row_groups)])
    return file_source(who, choice, x, y, whole and wanted.horizon == 0), times


READERS: dict[str, Callable[[Path, Wanted], tuple[Source, Any]]] = {
    ".csv": read_csv,
    ".npy": read_npy,
    ".parquet": read_parquet,
}


class ParquetRows:
    """Columns of a Parquet file that slice by rows; reads the row groups it needs and keeps the last one."""

    def __init__(self, file: Any, columns: list[str]) -> None:
        metadata = file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        self.shape = (int(metadata.num_rows), len(columns))
        self._file, self._columns = file, columns
        self._edges = np.cumsum([0, *sizes])
        self._kept: tuple[int, np.ndarray] | None = None

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        parts = [np.empty((0, self.shape[1]))]
        for group in range(len(self._edges) - 1):
            first, last = int(self._edges[group]), int(self._edges[group + 1])
            if max(start, first) < min(stop, last):
                parts.append(self._group(group)[max(start - first, 0) : stop - first])
        return parts[1] if len(parts) == 2 else np.concatenate(parts)

    def _group(self, group: int) -> np.ndarray:
        if self._kept is None or self._kept[0] != group:
            columns = [_column(self._file, group, column).astype(np.float64) for column in self._columns]
            self._kept = group, np.stack(columns, axis=1)
        return self._kept[1]


def _column(file: Any, group: int, column: Any) -> np.ndarray:
    """One column of one row group; a null becomes NaN or NaT."""
    return file.read_row_group(group, columns=[column]).column(0).to_numpy()
