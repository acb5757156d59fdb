"""Which lines of a text file its rows stand in, and what becomes of lines that are no rows."""

from __future__ import annotations

import csv
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnkit.data.dialect import Dialect, cells_of, is_value
from rnnkit.data.textfile import LONGEST, Bytes, lines_at
from rnnkit.data.textoptions import TextOptions
from rnnkit.data.texttable import Reject
from rnnkit.errors import DataError, counted

FOOTER = 20
"""Lines that a footer has at most."""

TAIL = 1 << 16
"""Bytes at the end of a file among which rows of nothing are looked for at first."""


class PlacedRows(NamedTuple):
    """The rows of a file.

    Attributes:
        lines: the line of each, `(N,)` int64, or a range where they follow each other.
        footer: lines below them, with their text, that were left out and are to be told.
    """

    lines: np.ndarray | range
    footer: tuple[tuple[int, str], ...]


def count_empty(path: Path, dialect: Dialect) -> int:
    """How many rows of nothing but separators stand at the end of a file."""
    nothing = set(f'{dialect.separator} \t"\r')
    single = len(dialect.header) == 1
    size, length = path.stat().st_size, TAIL
    while True:
        with path.open("rb") as file:
            file.seek(max(size - length, 0))
            text = file.read().decode("utf-8", "replace").removesuffix("\n")
        lines = text.split("\n")
        if length < size:
            lines = lines[1:]
        found = 0
        for line in reversed(lines):
            if not set(line) <= nothing:
                return found
            found += single or dialect.separator in line
        if length >= size:
            return max(found, 0)
        length *= 8


def place_rows(
    path: Path,
    who: str,
    dialect: Dialect,
    content: Bytes,
    count: int,
    rejects: list[Reject],
    options: TextOptions,
    timed: bool,
) -> PlacedRows:
    """Find the line of every row, and refuse lines that are neither rows nor may be left out.

    Args:
        path: the file.
        who: how messages begin.
        dialect: how it is written.
        content: what a look at its bytes has told.
        count: the rows that were read.
        rejects: the lines that were passed over.
        options: what the user has said.
        timed: whether rows have times, which tell a row that is not there.

    Raises:
        DataError: a line with too many or too few cells, or an empty one among rows without times.
    """
    at = lines_at(path, [reject.position for reject in rejects])
    comment = options.comment or dialect.taken.get("comment")
    footer = []
    for line, reject in zip(at, rejects, strict=True):
        if reject.kind == "LINE SIZE OVER MAXIMUM":
            raise DataError(f"{who}, line {line} is longer than {LONGEST:,} bytes; leave it out: skip=[{line}]")
        if reject.kind in ("UNQUOTED VALUE", "UNTERMINATED QUOTES") or reject.text.count('"') % 2:
            raise DataError(f"{who}, line {line}: {reject.message.rstrip('.')}; correct the quoting")
        if line in options.left_out or (comment and reject.text.lstrip().startswith(str(comment))):
            continue
        if content.lines - line >= FOOTER or not _is_footer(path, reject, rejects, dialect):
            raise DataError(_cells_message(who, line, reject, dialect))
        footer.append((line, reject.text.strip()))
    rows = content.lines - dialect.first_line
    if len(dialect.header) == 1 or rows == count + len(rejects):  # else lines are empty, or rows have several
        plain = range(dialect.first_line + 1, dialect.first_line + 1 + count + len(rejects))
        return PlacedRows(np.setdiff1d(plain, at) if at else plain, tuple(footer))
    lines, blank = _read_lines(path, dialect)
    lines = np.setdiff1d(lines, at)
    spaced = len(lines) > 3 and len(blank) >= len(lines) - 1  # every row has an empty line below it
    if len(blank) and not timed and not spaced:
        names = len(dialect.header)
        raise DataError(
            f"{who}, line {blank[0]} has 0 cells, but the header names {counted(names, 'column')}; correct the line, "
            f"or say skip=[{blank[0]}] if no row is missing there"
        )
    return PlacedRows(lines[:count], tuple(footer))


def _is_footer(path: Path, reject: Reject, rejects: list[Reject], dialect: Dialect) -> bool:
    """Whether a line stands below the last row and is none that was cut short."""
    with path.open("rb") as file:
        file.seek(reject.position)
        below = sum(bool(line.strip()) for line in file)
    first = reject.text.split(dialect.separator)[0].strip().strip('"')
    return below == sum(other.position >= reject.position for other in rejects) and not is_value(first)


def _cells_message(who: str, line: int, reject: Reject, dialect: Dialect) -> str:
    cells = len(cells_of(reject.text.rstrip("\r\n"), dialect.separator))
    names = len(dialect.header)
    return (
        f"{who}, line {line} has {counted(cells, 'cell')}, but the header names "
        f"{counted(names, 'column')}; correct the line, or leave it out: skip=[{line}]"
    )


def _read_lines(path: Path, dialect: Dialect) -> tuple[np.ndarray, list[int]]:
    """The line in which each row ends, and the empty lines between rows."""
    lines, blank, waiting = [], [], []
    limit = csv.field_size_limit(LONGEST)
    with path.open(newline="", encoding="utf-8") as file, ExitStack() as stack:
        stack.callback(csv.field_size_limit, limit)
        for _ in range(dialect.first_line):
            file.readline()
        reader = csv.reader(file, delimiter=dialect.separator)
        for row in reader:
            line = reader.line_num + dialect.first_line
            if not row:
                waiting.append(line)
                continue
            if lines:
                blank += waiting
            waiting = []
            lines.append(line)
    return np.array(lines, np.int64), blank
