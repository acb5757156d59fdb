"""A text file as a table of DuckDB's: its columns as text, asked for by SQL, and the lines that are no rows."""

from __future__ import annotations

import importlib
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnkit.checks import is_masked_array
from rnnkit.data.dialect import Dialect
from rnnkit.data.numberstyles import text
from rnnkit.data.textfile import LONGEST
from rnnkit.errors import DataError, SourceError

MEMORY = "256MB"
"""What DuckDB may hold of a table that lies on disk."""

ASKED = 60
"""Expressions of one query at most: DuckDB plans it in time that grows with the square of their number."""

BUFFER = 2 * LONGEST
"""Bytes that DuckDB parses at a time; no line is longer."""

QUIET = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}
"""Options by which DuckDB fetches and loads nothing beside itself."""

ALONE = {**QUIET, "threads": "1", "async_threads": "0"}
"""The database that small files share: without threads of its own, so that the process may fork."""

SMALL = 1 << 23
"""Bytes up to which a file is small: making a database takes longer than reading it."""


class Reject(NamedTuple):
    """A line with too many or too few cells, or with broken quotation marks.

    Attributes:
        position: of its first byte.
        kind: DuckDB's word for it.
        text: the line.
        message: what DuckDB says of it.
    """

    position: int
    kind: str
    text: str
    message: str


class Reading(NamedTuple):
    """A column, and how its cells are read.

    Attributes:
        column: its name.
        sql: makes an expression of the name of a cell.
    """

    column: str
    sql: Callable[[str], str]


class TextTable:
    """The rows of a file, as text.

    Args:
        connection: DuckDB's.
        relation: SQL that stands after FROM.
        on_disk: whether the rows lie in a table, of which some can be read by their numbers.
        typed: makes such SQL for rows of which some columns are numbers, where they are those of a file.
    """

    def __init__(
        self,
        connection: Any,
        relation: str,
        who: str,
        on_disk: bool = False,
        typed: Callable[[Collection[str]], str] | None = None,
    ) -> None:
        self._connection, self._relation, self._who, self.on_disk = connection, relation, who, on_disk
        self._typed, self._whole = typed, False

    def typed(self, numbers: Sequence[str], sql: Sequence[str]) -> list[Any] | None:
        """Columns of numbers as float64, NaN where a cell is empty, and expressions of other columns.

        DuckDB makes the numbers while it parts the cells, which is faster than from text, and gives the same.

        Returns:
            An array each; None where a cell is no number, a line is no row, or the rows are not those of a file.
        """
        if self._typed is None:
            return None
        named = ", ".join([*numbers, *(f"{expression} AS e{n}" for n, expression in enumerate(sql))])
        try:
            found = self._connection.execute(f"SELECT {named} FROM {self._typed(numbers)}").fetchnumpy()
        except duckdb().Error:
            return None
        self._whole = True
        read = [found[name] for name in numbers]
        read = [column if is_null(column) is None else column.filled(np.nan) for column in read]
        return [*read, *(found[f"e{n}"] for n in range(len(sql)))]

    def columns(self, sql: Sequence[str], start: int | None = None, stop: int | None = None) -> list[Any]:
        """Expressions of all rows, or of rows start to stop of a table on disk: an array each.

        Where one is NULL, it is a masked array.
        """
        where = self._between(start, stop)
        read = []
        for asked in batched(sql):
            named = ", ".join(f"{expression} AS e{n}" for n, expression in enumerate(asked))
            found = self._ask(f"SELECT {named} FROM {self._relation}{where}").fetchnumpy()
            read += [found[f"e{n}"] for n in range(len(asked))]
        return read

    def read(self, readings: Sequence[Reading], start: int | None = None, stop: int | None = None) -> list[Any]:
        """Columns as they are to be read, as `columns` gives them.

        Many that are read alike are one expression of one long column, row by row: an expression for each of a
        thousand columns would take longer to plan than to carry out, and each lot of them reads the file again.
        """
        if len(readings) <= ASKED:
            return self.columns([reading.sql(reading.column) for reading in readings], start, stop)
        read: dict[int, Any] = {}
        for sql in dict.fromkeys(reading.sql for reading in readings):
            places = [place for place, reading in enumerate(readings) if reading.sql is sql]
            cells = f"SELECT unnest([{', '.join(readings[place].column for place in places)}]) AS cell"
            asked = f"SELECT {sql('cell')} AS e FROM ({cells} FROM {self._relation}{self._between(start, stop)})"
            found = self._ask(asked).fetchnumpy()["e"].reshape(-1, len(places))
            read |= {place: found[:, n] for n, place in enumerate(places)}
        return [read[place] for place in range(len(readings))]

    @staticmethod
    def _between(start: int | None, stop: int | None) -> str:
        return "" if start is None else f" WHERE rowid >= {start} AND rowid < {stop} ORDER BY rowid"

    def one(self, sql: Sequence[str]) -> list[Any]:
        """Aggregates over all rows."""
        asked = (self._ask(f"SELECT {', '.join(part)} FROM {self._relation}") for part in batched(sql))
        return [value for answer in asked for value in answer.fetchall()[0]]

    def counts(self, columns: Sequence[str], conditions: Sequence[str]) -> np.ndarray:
        """How many cells of each column meet each of some conditions on `cell`, `(columns, conditions)`."""
        named = ", ".join(f"count_if({condition})" for condition in conditions)
        cells = f"SELECT unnest([{', '.join(columns)}]) AS cell, unnest(range({len(columns)})) AS place"
        asked = f"SELECT {named} FROM ({cells} FROM {self._relation}) GROUP BY place ORDER BY place"
        return np.array(self._ask(asked).fetchall(), np.int64).reshape(-1, len(conditions))

    def cells(self, columns: Sequence[str], row: int, count: int = 1) -> list[tuple[str | None, ...]]:
        """The text of some rows from one on."""
        return self._ask(f"SELECT {', '.join(columns)} FROM {self._relation} LIMIT {count} OFFSET {row}").fetchall()

    def without(self, rows: Sequence[int], stop: int) -> TextTable:
        """The table without the rows of some numbers, and without those from `stop` on."""
        numbered = f"SELECT *, row_number() OVER () - 1 AS number FROM {self._relation}"
        conditions = [f"number < {stop}"]
        if rows:
            conditions.append(f"number NOT IN ({', '.join(map(str, rows))})")
        return TextTable(self._connection, f"(SELECT * FROM ({numbered}) WHERE {' AND '.join(conditions)})", self._who)

    def kept(self, folder: Path, columns: Sequence[str]) -> TextTable:
        """Some of its columns as a table on disk, so that rows can be read from anywhere in little memory."""
        self._connection.execute(f"SET memory_limit = '{MEMORY}'")
        self._connection.execute(f"SET temp_directory = {text(str(folder))}")
        self._connection.execute(f"ATTACH {text(str(folder / 'rows.duckdb'))} AS disk")
        chosen = ", ".join(columns) or "1 AS nothing"
        self._ask(f"CREATE TABLE disk.kept AS SELECT {chosen} FROM {self._relation}")
        return TextTable(self._connection, "disk.kept", self._who, on_disk=True)

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self.one(["count(*)"])[0])

    def _ask(self, sql: str) -> Any:
        try:
            asked = self._connection.execute(sql)
        except duckdb().OutOfMemoryException as error:
            raise SourceError(
                f"{self._who} does not fit into memory: {_first(error)}; say memmap='a folder'"
            ) from error
        except duckdb().IOException as error:
            raise SourceError(f"{self._who} cannot be read: {_first(error)}") from error
        except duckdb().Error as error:
            raise DataError(f"{self._who} cannot be read: {_first(error)}; correct it") from error
        return asked

    def rejects(self) -> list[Reject]:
        """The lines that were passed over since the file was asked of for the first time, in their order."""
        if self._whole:  # every line was a row
            return []
        try:
            found = self._connection.execute(
                "SELECT DISTINCT line_byte_position, error_type, csv_line, error_message FROM reject_errors ORDER BY 1"
            ).fetchall()
        except duckdb().CatalogException:  # the table is made with the first of them
            return []
        by_line = {
            row[0]: Reject(max(int(row[0] or 0) - 1, 0), *(cell or "" for cell in row[1:])) for row in reversed(found)
        }
        return [by_line[position] for position in sorted(by_line, key=lambda at: at or 0)]


@contextmanager
def text_table(path: Path, dialect: Dialect, who: str, on_disk: bool = False) -> Iterator[TextTable]:
    """A file as a table; its columns are `c0`, `c1` ...

    Args:
        path: a file in UTF-8.
        dialect: how it is written.
        who: how messages begin.
        on_disk: whether its rows will be `kept` on disk.
    """
    with tempfile.TemporaryDirectory(prefix="rnnkit-") as folder:
        if path.stat().st_size > SMALL or on_disk:
            connection = duckdb().connect(":memory:", config={**QUIET, "temp_directory": folder})
        else:
            connection = _database().cursor()
        try:
            yield TextTable(connection, _relation(path, dialect), who, typed=partial(_relation, path, dialect))
        except RuntimeError as error:
            if "interrupt" not in str(error).lower():
                raise
            raise KeyboardInterrupt from error  # Ctrl-C, which came while DuckDB was at work
        finally:
            connection.close()


@cache
def duckdb() -> Any:
    """DuckDB's compiled module; the layer of Python above it, of which nothing is used, takes 0.15 s to import."""
    try:
        return importlib.import_module("_duckdb")
    except ImportError:
        return importlib.import_module("duckdb")


@cache
def _database() -> Any:
    return duckdb().connect(":memory:", config={**ALONE})


def _relation(path: Path, dialect: Dialect, numbers: Collection[str] | None = None) -> str:
    """A file's rows as SQL that stands after FROM.

    Args:
        path: the file.
        dialect: how it is written.
        numbers: the columns that are float64, where anything else, and a line that is no row, is an error; None where
            all are text and such lines are passed over.
    """
    names = [f"c{n}" for n in range(len(dialect.header))]
    types = ", ".join(f"'{name}': '{'DOUBLE' if name in (numbers or ()) else 'VARCHAR'}'" for name in names)
    skipped = dialect.first_line - dialect.breaks  # DuckDB passes over names with a line break in them as one line
    return (
        f"read_csv({literal(path)}, auto_detect=false, header=false, strict_mode=true, "
        f"store_rejects={'true' if numbers is None else 'false'}, "
        f"hive_partitioning=false, max_line_size={LONGEST}, buffer_size={BUFFER}, "
        f"""delim={text(dialect.separator)}, quote='"', escape='"', skip={skipped}, """
        f"columns={{{types}}})"
    )


def batched(sql: Sequence[str]) -> Iterator[Sequence[str]]:
    """Expressions in lots that are asked for together."""
    return (sql[start : start + ASKED] for start in range(0, len(sql), ASKED))


def literal(path: Path) -> str:
    """A path as SQL in which nothing is a pattern."""
    return text(re.sub(r"[*?\[]", r"[\g<0>]", str(path.resolve())))


def is_null(values: Any) -> np.ndarray | None:
    """Which are NULL `(n,)`; None where none is."""
    return np.asarray(values.mask) if is_masked_array(values) and values.mask.any() else None


def _first(error: Exception) -> str:
    return " ".join(str(error).strip().splitlines()[:1])
