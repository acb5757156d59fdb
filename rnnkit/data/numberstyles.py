"""How numbers are written: a decimal mark, thousands parted or not, as SQL that makes float64 of a column of text."""

from __future__ import annotations

from dataclasses import dataclass

PLAIN = "."
"""The decimal mark of most files."""

EXPONENT = "([eE][+-]?[0-9]+)?"


@dataclass(frozen=True)
class Style:
    """One way to write numbers.

    Args:
        decimal: the decimal mark.
        thousands: what parts thousands, as a class of regular expressions; empty where nothing does.
        name: what messages call it.
    """

    decimal: str
    thousands: str
    name: str

    @property
    def pattern(self) -> str:
        """A regular expression that fits a whole number of this style, in DuckDB's dialect."""
        mark = f"[{self.decimal}]"
        parted = f"[0-9]{{1,3}}([{self.thousands}][0-9]{{3}})+|" if self.thousands else ""
        finite = f"({parted}[0-9]+)({mark}[0-9]*)?{EXPONENT}|{mark}[0-9]+{EXPONENT}"
        return f"[+-]?({finite}|(?i:inf|infinity))"

    def plain(self, cell: str) -> str:
        """SQL that makes a cell `cell` (SQL itself) of this style one that every reader of numbers understands."""
        bare = f"regexp_replace({cell}, {text(f'[{self.thousands}]')}, '', 'g')" if self.thousands else cell
        return bare if self.decimal == PLAIN else f"replace({bare}, '{self.decimal}', '{PLAIN}')"


STYLES = (
    Style(".", "", "decimal points"),
    Style(",", "", "decimal commas"),
    Style(".", ",", "commas between thousands"),
    Style(",", ".", "points between thousands and decimal commas"),
    Style(".", "'’\u00a0\u202f ", "blanks or apostrophes between thousands"),
    Style(",", "'’\u00a0\u202f ", "blanks or apostrophes between thousands and decimal commas"),
)
"""Every way, the ordinary one first; each is tried on the whole of every column."""


def number_sql(column: str, style: Style, missing: tuple[str, ...], absent: tuple[float, ...], strict: bool) -> str:
    """SQL of a column of text as float64: NaN where it is missing, NULL where it is no number.

    Args:
        column: its name.
        style: how its numbers are written.
        missing: words that stand for a missing value, beside an empty cell.
        absent: numbers that stand for one.
        strict: whether an underscore may stand somewhere, which DuckDB's cast takes for a part of a number.
    """
    bare = f"replace({column}, '_', 'x')" if strict else column
    if style == STYLES[0] and not missing and not absent:
        return f"try_cast(coalesce({bare}, 'nan') AS DOUBLE)"
    value = f"try_cast({style.plain(stripped(bare))} AS DOUBLE)"
    if style != STYLES[0]:
        value = f"CASE WHEN regexp_full_match({stripped(column)}, {text(style.pattern)}) THEN {value} END"
    if absent:
        numbers = ", ".join(f"'{float(number)!r}'::DOUBLE" for number in absent)
        value = f"CASE WHEN ({value}) IN ({numbers}) THEN 'nan'::DOUBLE ELSE {value} END"
    return f"CASE WHEN {is_missing(column, missing)} THEN 'nan'::DOUBLE ELSE {value} END"


def stripped(column: str) -> str:
    """SQL of a cell without the blanks around it."""
    return f"trim({column}, {BLANKS})"


def is_missing(column: str, missing: tuple[str, ...]) -> str:
    """SQL that is true where a cell is empty or one of some words."""
    words = ", ".join(map(text, ("", *missing)))
    return f"({column} IS NULL OR {stripped(column)} IN ({words}))"


BLANKS = "' \t\u00a0'"
"""What is stripped from the ends of cells, as SQL."""


def truth_sql(column: str, missing: tuple[str, ...]) -> str:
    """SQL of a column of true and false as 1 and 0, NaN where it is missing, NULL where it is neither."""
    return (
        f"CASE WHEN {is_missing(column, missing)} THEN 'nan'::DOUBLE ELSE "
        f"CASE lower({stripped(column)}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END END"
    )


def text(value: str) -> str:
    """Text as SQL."""
    return "'" + value.replace("'", "''") + "'"
