"""CSV files: text to numbers and times, chunk by chunk, with the line of whatever cannot be read."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from rnnkit.data.columns import Choice, Column, Opened, Wanted, check_columns, choose, file_source, names
from rnnkit.data.series import Coder, Ids, Others
from rnnkit.data.source import as_rows
from rnnkit.data.times import NO_ZONE, Clock, TimeReader, looks_like_time
from rnnkit.errors import DataError, SourceError

CELLS = 262_144
"""The most cells of a CSV file that stand in memory as text."""

MISSING = frozenset(("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"))
"""Cells without a value."""

SEPARATORS = ";\t|"
"""What else than a comma separates the cells of some files."""


T = TypeVar("T")


class Block(NamedTuple):
    """Some rows of a CSV file.

    Attributes:
        lines: `(n,)`, the line of each in the file.
        values: `(n, C)` float64: the features, then targets that are no features.
        times: `(n,)` float64 or datetime64[us], or None.
        ids: the id of each row's series, or None.
    """

    lines: np.ndarray
    values: np.ndarray
    times: np.ndarray | None
    ids: list[str] | None


def read_csv(path: Path, wanted: Wanted) -> Opened:
    """Comma-separated text in UTF-8 with a header line; its numbers are read into memory as float64.

    An empty cell is a missing value, as is each word of `MISSING`. Blank lines at the end are passed over.
    """
    who = repr(str(path))

    def hold(choice: Choice, blocks: Iterator[Block], clock: Callable[[], Clock]) -> Opened:
        coder = Coder(who, wanted.series_id)
        lines, numbers, times, codes = [], [], [], []
        for block in blocks:
            lines.append(block.lines)
            numbers.append(block.values)
            if block.times is not None:
                times.append(block.times)
            if block.ids is not None:
                codes.append(coder.codes(block.ids, block.lines.tolist()))
        values = np.concatenate(numbers)
        x, y = values, None
        if choice.targets:
            x, y = values[:, : len(choice.features)].copy(), values[:, len(choice.features) :].copy()
        labels = y is not None and wanted.horizon == 0 and bool((~np.isnan(y)).any()) and may_be_labels(y)
        y_rows = None if y is None else as_rows(y, who, "its target")
        source = file_source(who, choice, as_rows(x, who, "its columns"), y_rows, labels, np.concatenate(lines))
        ids = Ids(coder.names, np.concatenate(codes)) if codes else None
        others = Others(choice.every, partial(csv_ids, path))
        return Opened(source, np.concatenate(times) if times else None, ids, clock(), others)

    return scan_csv(path, wanted, hold)


def csv_ids(path: Path, column: Column) -> Ids:
    """The series that each row of a CSV file belongs to."""
    coder = Coder(repr(str(path)), column)

    def number(choice: Choice, blocks: Iterator[Block], clock: Callable[[], Clock]) -> Ids:
        codes = [coder.codes(block.ids or [], block.lines.tolist()) for block in blocks]
        return Ids(coder.names, np.concatenate(codes))

    return scan_csv(path, Wanted(None, None, None, 0, column), number, Choice([], [], None, []))


def scan_csv(
    path: Path,
    wanted: Wanted,
    use: Callable[[Choice, Iterator[Block], Callable[[], Clock]], T],
    choice: Choice | None = None,
) -> T:
    """Read a CSV file once, block by block, in bounded memory.

    Args:
        path: the file.
        wanted: what to read of it.
        use: takes what was chosen, the blocks, and what tells the clock of their times once they were read; returns
            what this returns.
        choice: the columns of numbers; left out, as `wanted` says.

    Raises:
        SourceError: text that is not UTF-8.
        DataError: a header, a line or a cell that cannot be used.
    """
    who = repr(str(path))
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [cell.strip() for cell in next(reader, [])]
            if not header:
                raise DataError(f"{who} is empty; a CSV file begins with a line of column names")
            if all(map(_is_number, header)) and header != [str(index) for index in range(len(header))]:
                raise DataError(f"{who} begins with numbers ({names(header)}); put a line of column names first")
            found = [mark for mark in SEPARATORS if len(header) == 1 and mark in header[0]]
            if found:
                raise DataError(
                    f"{who} has one column, {header[0]!r}; is {found[0]!r} the separator? this reads commas: convert it"
                )
            first = next(_texts(reader, len(header), 1), None)
            first_row = first.rows[0] if first else []
            dates = [name for name, cell in zip(header, first_row, strict=False) if looks_like_time(cell)]
            if choice is None:
                choice = choose(who, header, wanted, tuple(dates))
            else:
                check_columns(who, header, "series_id", [wanted.series_id])
            texts = _texts(reader, len(header), max(1, CELLS // len(header)), first)
            times = TimeReader(who, wanted.time, wanted.time_format, wanted.zone)
            blocks = _blocks(path, header, choice, wanted, texts, times)
            return use(choice, blocks, lambda: NO_ZONE if wanted.time is None else times.clock)
        except csv.Error as error:
            raise DataError(f"{who}, line {reader.line_num}: {error}; correct the quoting") from error
        except UnicodeDecodeError as error:
            raise SourceError(f"{who} is not UTF-8 text after line {reader.line_num}; convert it") from error


class Texts(NamedTuple):
    """The text of some rows.

    Attributes:
        lines: the line of each in the file.
        rows: the cells of each.
    """

    lines: list[int]
    rows: list[list[str]]


def _texts(reader: Any, width: int, size: int, first: Texts | None = None) -> Iterator[Texts]:
    """The rows, `size` at a time, those of `first` before all; blank lines count unless nothing comes after them."""
    lines, rows = (list(first.lines), list(first.rows)) if first else ([], [])
    blank: list[int] = []
    while True:
        if len(rows) >= size:
            yield Texts(lines, rows)
            lines, rows = [], []
        row = next(reader, None)
        if row is None:
            break
        if not row:
            blank.append(reader.line_num)
            continue
        if blank:
            lines += blank
            rows += [[""] if width == 1 else []] * len(blank)
            blank = []
        lines.append(reader.line_num)
        rows.append(row)
    if rows:
        yield Texts(lines, rows)


def _narrowed(path: Path, header: list[str], wanted: Wanted, times: TimeReader) -> None:
    """Find out how a column of times is written, over the whole file."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        next(reader)
        place = header.index(str(wanted.time))
        for at, rows in _texts(reader, len(header), CELLS // len(header) + 1):
            cells = [row[place] if len(row) > place else "" for row in rows]
            times.narrow(cells, lambda n, at=at: f"line {at[n]}")


def _blocks(
    path: Path, header: list[str], choice: Choice, wanted: Wanted, texts: Iterator[Texts], reader: TimeReader
) -> Iterator[Block]:
    who = repr(str(path))
    if wanted.time is not None:
        _narrowed(path, header, wanted, reader)
    chosen = choice.features + choice.targets
    found = False
    for at, rows in texts:
        if set(map(len, rows)) != {len(header)}:
            line, count = next((n, len(row)) for n, row in zip(at, rows, strict=True) if len(row) != len(header))
            raise DataError(
                f"{who}, line {line} has {count} cell{'' if count == 1 else 's'}, but the header names "
                f"{len(header)} column{'' if len(header) == 1 else 's'}; correct the line"
            )
        cells = dict(zip(header, zip(*rows, strict=True), strict=False))
        blocks = {name: _numbers(cells[name]) for name in chosen}
        read = [block for name in chosen if (block := blocks[name]) is not None]
        if len(read) < len(chosen):
            name = next(name for name in chosen if blocks[name] is None)
            raise _no_number(who, name, at, cells[name], choice, blocks)
        times = ids = None
        if wanted.time is not None:
            times = reader.read(list(cells[str(wanted.time)]), lambda n, at=at: f"line {at[n]}")
        if wanted.series_id is not None:
            ids = [cell.strip() for cell in cells[str(wanted.series_id)]]
        yield Block(np.array(at), np.stack(read, axis=1) if read else np.empty((len(at), 0)), times, ids)
        found = True
        del rows, cells, blocks, read  # or the text of two blocks would stand in memory
    if not found:
        raise DataError(f"{who} has a header line and no rows")


def _numbers(cells: Iterable[str]) -> np.ndarray | None:
    """Cells as float64, a missing one as NaN; None where one is no number."""
    cells = list(cells)
    try:
        return np.array(cells, np.float64)
    except ValueError:
        pass
    try:
        return np.array(_filled(cells), np.float64)
    except ValueError:
        return None


def _filled(cells: Iterable[str]) -> list[str]:
    stripped = [cell.strip() for cell in cells]
    return ["nan" if cell in MISSING else cell for cell in stripped]


def _no_number(
    who: str,
    name: str,
    lines: list[int],
    cells: Iterable[str],
    choice: Choice,
    blocks: dict[str, np.ndarray | None],
) -> DataError:
    """The error about a column that holds something else than numbers; it offers the features that do not."""
    line, cell = next((n, c) for n, c in zip(lines, _filled(cells), strict=True) if not _is_number(c))
    others = [other for other in choice.features if blocks[other] is not None]
    advice = "correct it"
    if looks_like_time(cell):
        advice += f", or say time={name!r} if it holds the times"
    if name in _targets(choice) or not others:
        advice += ", or choose a column of numbers"
    else:
        advice += f", or leave the column out: features={others if len(others) <= 12 else '[...]'}"
    return DataError(f"{who}, line {line}, column {name!r} expects a number, got {cell!r}; {advice}")


def _targets(choice: Choice) -> list[str]:
    return choice.targets or [choice.features[column] for column in choice.target_columns or ()]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def may_be_labels(y: np.ndarray) -> bool:
    """Whether all values that are not missing are whole numbers from 0."""
    known = y[~np.isnan(y)]
    return bool(np.isfinite(known).all() and (known >= 0).all() and (known == np.floor(known)).all())
