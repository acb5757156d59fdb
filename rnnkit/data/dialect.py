"""How a text file is written, found out from its first lines: separator, header, and what is no row."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rnnkit.data.missing import MARKERS, MISSING
from rnnkit.data.textoptions import TextOptions
from rnnkit.errors import DataError, counted, listed

SEPARATORS = (",", ";", "\t", "|")
COMMENTS = ("#", "%", "//")
LOOKED_AT = 200
"""Rows from which the separator is found out."""

PREAMBLE = 40
"""Lines that may stand before a header."""

NUMBER = re.compile(r"[+-]?(\d[\d.,'\u00a0\u202f ]*|[.,]\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)", re.IGNORECASE)
"""What may be a number, whatever the decimal mark."""

TIME = re.compile(
    r"\d{1,4}[-/. ](\d{1,2}|[A-Za-z]{3,9})[-/. ]\d{1,4}([T ,].*)?|\d{1,2}:\d\d(:\d\d.*)?( ?[AaPp]\.?[Mm]\.?)?"
)
"""What may be a time; whether it is one is settled where times are read."""

LINE_END = re.compile(r"\r\n|\n|\r")

CELLS = 4096
"""Cells that are looked at to choose a separator."""


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes:
        separator: between cells; a tab where blanks were.
        header: the names of the columns, or numbers from 0.
        names_line: the line of the header, from 1; 0 where there is none.
        first_line: the line after which rows begin: so many lines are passed over.
        first_row: the cells of the first row; empty where there is none.
        blanks: whether blanks part the cells.
        index: whether the first column, which has no name, counts the rows.
        taken: what was assumed, by the option that says so.
        notes: what else is told of the file, each a sentence's end.
        breaks: line breaks inside the names.
    """

    separator: str
    header: list[str] | list[int]
    names_line: int
    first_line: int
    first_row: list[str]
    blanks: bool = False
    index: bool = False
    taken: dict[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    breaks: int = 0


class TextLine(NamedTuple):
    """A line of the file: its number, from 1, and its text."""

    number: int
    text: str


def find_dialect(who: str, head: str, options: TextOptions, suffix: str) -> Dialect:
    """Find out how a file is written.

    Args:
        who: how messages begin.
        head: its first lines.
        options: what the user has said.
        suffix: of the file: cells of a `.tsv` are parted by tabs without a word about it.

    Raises:
        DataError: an empty file, or one without a line of names.
    """
    texts = LINE_END.split(head)  # `splitlines` would end lines at form feeds, too, which no reader of rows does
    lines = [TextLine(n, text) for n, text in enumerate(texts, 1)]
    passed = options.skip if isinstance(options.skip, int) else 0
    lines = [line for line in lines[passed:] if line.number not in options.left_out]
    taken: dict[str, object] = {}
    comments: list[TextLine] = []
    marks = COMMENTS if options.comment is None else (options.comment,)
    while lines and (not lines[0].text.strip() or lines[0].text.lstrip().startswith(marks)):
        line = lines.pop(0)
        comments += [line] if line.text.strip() else []
    if options.comment is not None:
        lines = [line for line in lines if not line.text.lstrip().startswith(options.comment)]
    full = [line for line in lines if line.text.strip()]
    if "\0" in head.partition("\n")[0]:
        raise DataError(
            f"{who} is no text, or text in an encoding that it does not say: it holds NUL characters; if it is text, "
            f"say encoding='utf-16-le', or what it is written in"
        )
    if not full and (not comments or options.comment is not None):
        raise DataError(f"{who} is empty; a CSV file begins with a line of column names")
    if comments and options.comment is None and passed == 0:
        mark = next(mark for mark in marks if comments[0].text.lstrip().startswith(mark))
        if not full or (options.header is None and _has_no_names(full[0].text, options)):
            last = comments.pop()  # '#t,a' is a line of names where only rows follow
            full.insert(0, TextLine(last.number, last.text.lstrip()[len(mark) :].strip()))
        else:
            taken["comment"] = mark
    separator, before, blanks = _separator(full, options, suffix)
    if before:
        taken["skip"] = full[before].number - 1
        full = full[before:]
    if options.separator is None and separator != ("\t" if suffix in (".tsv", ".tab") else ","):
        taken["separator"] = " " if blanks else separator
    split = _splitter(separator, blanks)
    first = split(full[0].text) if full else []
    nameless = options.header is False or isinstance(options.header, tuple)
    numbered = first == [str(index) for index in range(len(first))]
    if options.header is None and first and all(map(is_value, first)) and any(map(str.strip, first)) and not numbered:
        raise DataError(
            f"{who} begins with numbers ({listed(first, 12, 'in all')}); put a line of column names first, or say "
            f"header=False, or their names: header=['t', 'value', ...]"
        )
    header: list[str] | list[int]
    breaks = 0
    if nameless:
        header = list(options.header) if isinstance(options.header, tuple) else list(range(len(first)))
        if len(header) != len(first):
            raise DataError(
                f"{who} has {counted(len(first), 'column')}, got header with {counted(len(header), 'name')}; name "
                "each of them"
            )
        names_line, first_line, body = 0, full[0].number - 1, full
    else:
        header, names_line, first_line, body = first, full[0].number, full[0].number, full[1:]
        if '"' in full[0].text:  # names may go over several lines
            behind = [full[0], *(line for line in lines if line.number > full[0].number)]
            reader = csv.reader((line.text + "\n" for line in behind), delimiter=separator)
            header = [cell.strip() for cell in next(reader)]
            breaks = reader.line_num - 1
            first_line = behind[breaks].number
            body = [line for line in full if line.number > first_line]
    rows = _rows(body[:LOOKED_AT], separator, blanks)
    notes: list[str] = []
    if body and not nameless and _is_of_units(rows, len(header)):
        at = body[0].number
        out = [*passed_over(options, taken), at]
        notes.append(f"line {at} ({body[0].text.strip()!r}) has no number and is taken for units: skip={out} says so")
        first_line, rows = at, rows[1:]
    if rows and all(len(row) != len(header) for row in rows):
        raise DataError(
            f"{who}, line {first_line + 1} has {counted(len(rows[0]), 'cell')}, but the header names "
            f"{counted(len(header), 'column')}, as "
            f"do all below it; name each column, or say skip={first_line}, header=[...] with "
            f"{counted(len(rows[0]), 'name')}"
        )
    rows = [row for row in rows if len(row) == len(header)]
    index = len(header) > 1 and _is_index(header[0], [row[0] for row in rows])
    return Dialect(
        separator, header, names_line, first_line, rows[0] if rows else [], blanks, index, taken, tuple(notes), breaks
    )


def passed_over(options: TextOptions, taken: Mapping[str, Any]) -> list[int]:
    """The lines that are no rows already: what `skip` as a list has to name, too."""
    above = options.skip if isinstance(options.skip, int) else taken.get("skip", 0)
    return [*range(1, above + 1), *sorted(options.left_out)]


def _has_no_names(text: str, options: TextOptions) -> bool:
    """Whether a line holds values alone, however its cells are parted."""
    marks = [options.separator] if options.separator else [*SEPARATORS, " "]
    return any(all(map(is_value, cells)) for mark in marks if len(cells := cells_of(text, mark)) > 1 or len(marks) == 1)


def _separator(full: list[TextLine], options: TextOptions, suffix: str) -> tuple[str, int, bool]:
    """What parts cells, how many lines stand before the header, and whether it is blanks."""
    if options.separator is not None:
        blanks = options.separator == " "
        return ("\t" if blanks else options.separator), 0, blanks
    looked = full[:LOOKED_AT]
    found: list[tuple[bool, float, float, bool, str, int]] = []
    for mark in SEPARATORS:
        rows = [cells_of(line.text, mark) for line in looked]
        counts = Counter(map(len, rows))
        width = counts.most_common(1)[0][0] if rows else 0
        if width < 2 or any(_is_torn(cell) for row in rows if len(row) == width for cell in row):
            continue
        before = next(n for n, row in enumerate(rows) if len(row) == width)
        alike = counts[width] / (len(rows) - before)
        body = [cell for row in rows[before + 1 :] if len(row) == width for cell in row]
        body = body[:CELLS]
        values = sum(map(is_value, body)) / len(body) if body else 0.0
        told = options.skip is not None or options.header is not None
        if alike <= 0.5 or before > (0 if told else PREAMBLE) or (before and all(map(is_value, rows[before]))):
            continue
        found.append((before == 0, round(values, 3), alike, mark == ",", mark, before))
    *_, mark, before = max(found, default=(False, "", 0))
    rows = [line.text.split() for line in looked]
    parted = rows and len(rows[0]) > 1 and '"' not in looked[0].text and len({len(row) for row in rows}) == 1
    if parted and (not found or before):
        return "\t", 0, True
    if found:
        return str(mark), int(before), False
    inside = any("," in line.text for line in looked[1:]) and "," not in (looked[0].text if looked else "")
    return (";" if inside else "\t" if suffix in (".tsv", ".tab") else ","), 0, False


def _rows(body: list[TextLine], separator: str, blanks: bool) -> list[list[str]]:
    """The cells of the rows in some lines; a quoted cell may go over several."""
    if blanks:
        return [line.text.split() for line in body]
    rows = []
    with suppress(csv.Error):  # a cell that is very long
        for row in csv.reader((line.text + "\n" for line in body), delimiter=separator):
            rows.append([cell.strip() for cell in row])
    return rows or [[cell.strip() for cell in line.text.split(separator)] for line in body]


def _splitter(separator: str, blanks: bool) -> Callable[[str], list[str]]:
    if blanks:
        return str.split
    return lambda text: [cell.strip() for cell in cells_of(text, separator)]


def cells_of(text: str, separator: str) -> list[str]:
    """The cells of a line."""
    try:
        return next(csv.reader([text], delimiter=separator), [])
    except csv.Error:
        return [text]


def _is_torn(cell: str) -> bool:
    """Whether a quotation was cut in two."""
    return cell.count('"') % 2 == 1


def is_value(cell: str) -> bool:
    """Whether a cell holds a number, a time, or nothing."""
    cell = cell.strip()
    return cell in MISSING or cell in MARKERS or bool(NUMBER.fullmatch(cell) or TIME.fullmatch(cell))


def _is_of_units(rows: list[list[str]], width: int) -> bool:
    """Whether the first row is one of units: text where all rows below have values, and no value anywhere."""
    if not rows or len(rows[0]) != width:
        return False
    below = [row for row in rows[1:] if len(row) == width]
    said = [column for column, cell in enumerate(rows[0]) if cell.strip()]
    if not said or not below or any(is_value(rows[0][column]) for column in said):
        return False
    return all(is_value(row[column]) for row in below for column in said)


def _is_index(name: str | int, cells: list[str]) -> bool:
    """Whether a column without a name counts the rows, from 0 or 1."""
    if not isinstance(name, str) or (name and not re.fullmatch(r"Unnamed: \d+", name)) or len(cells) < 2:
        return False
    return any(cells == [str(n) for n in range(first, first + len(cells))] for first in (0, 1))
