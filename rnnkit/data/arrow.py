"""Arrow's files as tables: Parquet, row group by row group, and Arrow IPC (Feather), record batch by record batch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.data.mapped import cut_short
from rnnkit.data.source import SLICE, Rows
from rnnkit.data.tables import ChunkedRows, missing_library, reading
from rnnkit.errors import SourceError


class ParquetTable:
    """A Parquet file; needs the extra `parquet`."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise missing_library(path, "pyarrow", "parquet") from error
        self.who = repr(str(path))
        self._path = path
        try:
            self._file: Any = pq.ParquetFile(path)
        except pa.ArrowInvalid as error:
            raise SourceError(f"{self.who} is no Parquet file: {error}") from error
        metadata = self._file.metadata
        self.names: list[Any] = self._file.schema_arrow.names
        self.edges = np.cumsum([0, *(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))])

    def __reduce__(self) -> Any:
        return type(self), (self._path,)

    def kind(self, column: str) -> tuple[str, str]:
        """Kind of a column, in numpy's letters, and its type's name."""
        return _kind(self._file.schema_arrow.field(column).type)

    def numbers(self, columns: list[str]) -> Rows:
        """Some columns as float64."""
        return ChunkedRows(self, columns, np.dtype(float))

    def read(self, chunk: int, columns: list[str]) -> np.ndarray:
        """Some columns of a row group, `(n, F)`; a null becomes NaN."""
        return _stacked(self._file.read_row_group(chunk, columns=columns), columns)

    def column(self, chunk: int, column: str) -> np.ndarray:
        """One column of a row group; a null becomes NaN, NaT or None."""
        return self._file.read_row_group(chunk, columns=[column]).column(0).to_numpy()


class ArrowTable:
    """A file in Arrow's IPC format, or Feather, mapped into memory; needs the extra `parquet`.

    A record batch comes in pieces of `SLICE` rows at most. Nothing is copied until then, unless it is compressed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa
        except ImportError as error:
            raise missing_library(path, "pyarrow", "parquet") from error
        self.who = repr(str(path))
        self._path = path
        self._at_first = path.stat()
        self._files: dict[tuple[str, ...], Any] = {}
        self._batch: tuple[Any, Any] = None, None
        try:
            self._schema: Any = self._open(()).schema
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"{self.who} is no Arrow IPC file: {error}; write it with pyarrow.feather.write_feather"
            ) from error
        self.names: list[Any] = self._schema.names
        with reading(self.who):
            sizes = [len(self._open(self.names[:1]).get_batch(b)) for b in range(self._open(()).num_record_batches)]
        places = [
            (b, start, min(start + SLICE, size)) for b, size in enumerate(sizes) for start in range(0, size, SLICE)
        ]
        self._places = places
        self.edges = np.cumsum([0, *(stop - start for _, start, stop in places)])

    def __reduce__(self) -> Any:
        return type(self), (self._path,)

    def kind(self, column: str) -> tuple[str, str]:
        """Kind of a column, in numpy's letters, and its type's name."""
        return _kind(self._schema.field(column).type)

    def numbers(self, columns: list[str]) -> Rows:
        """Some columns as float64."""
        return ChunkedRows(self, columns, np.dtype(float))

    def read(self, chunk: int, columns: list[str]) -> np.ndarray:
        """Some columns of a piece of a batch, `(n, F)`; a null becomes NaN."""
        return _stacked(self._piece(chunk, columns), columns)

    def column(self, chunk: int, column: str) -> np.ndarray:
        """One column of a piece of a batch; a null becomes NaN, NaT or None."""
        return self._piece(chunk, [column]).column(0).to_numpy(zero_copy_only=False)

    def _piece(self, chunk: int, columns: list[str]) -> Any:
        self._check_size()
        place, start, stop = self._places[chunk]
        key = place, *columns
        if self._batch[0] != key:  # to decompress a batch once for all of its pieces
            self._batch = key, self._open(columns).get_batch(place)
        return self._batch[1].slice(start, stop - start)

    def _check_size(self) -> None:
        """Check that the file is as long as it was: reading what has gone would end the process by a signal."""
        now, before = self._path.stat(), self._at_first
        if os.path.samestat(now, before) and now.st_size < before.st_size:  # another file's bytes are not ours
            raise cut_short(str(self._path), now.st_size, before.st_size)

    def _open(self, columns: list[str] | tuple[str, ...]) -> Any:
        """The file, of which some columns alone are read; all, where none is named."""
        import pyarrow as pa

        key = tuple(columns)
        if key not in self._files:
            wanted = [self.names.index(column) for column in key]
            options = pa.ipc.IpcReadOptions(included_fields=wanted or None)
            self._files[key] = pa.ipc.open_file(pa.memory_map(str(self._path)), options=options)
        return self._files[key]


def _kind(kind: Any) -> tuple[str, str]:
    import pyarrow as pa

    tests = (("i", pa.types.is_integer), ("f", pa.types.is_floating), ("b", pa.types.is_boolean))
    return next((letter for letter, test in tests if test(kind)), "O"), str(kind)


def _stacked(table: Any, columns: list[str]) -> np.ndarray:
    arrays = [table.column(column) for column in columns]
    chunked = [array.combine_chunks() if hasattr(array, "combine_chunks") else array for array in arrays]
    return np.stack([array.to_numpy(zero_copy_only=False).astype(np.float64) for array in chunked], axis=1)
