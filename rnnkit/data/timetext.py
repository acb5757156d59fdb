"""Text that holds times, read by its shape: cells that differ in their digits alone are read in one go.

The *shape* of a cell is its text with every digit as 9. A pattern is tried on one cell of each shape, and says where
its digits mean what; the numbers of all cells of that shape are then arithmetic on columns of characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from rnnkit.errors import DataError

CLOCK = (
    r"(?:(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d+))?)?(?:\s*(?P<p>[AaPp]\.?[Mm]\.?))?"
    r"|(?P<H2>\d{2})(?:(?P<M2>\d{2})(?P<S2>\d{2})?)?)"
)
ZONE = (
    r"\s*(?:(?:(?P<utc>Z|z|UTC|utc|GMT)\s*)?(?:(?P<sign>[+-])(?P<zh>\d{1,2})(?::?(?P<zm>\d{2})(?::(?P<zs>\d{2}))?)?)?"
    r"|(?P<zone>[A-Z]{2,5}|[A-Za-z_]+(?:/[A-Za-z_+-]+)+))"
)
TAIL = rf"(?:(?:[T_]|,?\s+){CLOCK}{ZONE})?"
WEEKDAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*\.?,?\s+)?"
MONTH = r"(?P<b>[A-Za-z]{3,9})\.?"

READINGS = {
    "year first": (
        r"(?P<Y>\d{4})(?P<s1>[-/.])(?P<m>\d{1,2})(?P=s1)(?P<d>\d{1,2})|(?P<Ym>\d{4})-(?P<mm>\d{2})"
        r"|(?P<Yc>\d{4})(?P<mc>\d{2})(?P<dc>\d{2})"
    ),
    "day first": r"(?P<d>\d{1,2})(?P<s1>[-/.])(?P<m>\d{1,2})(?P=s1)(?:(?P<Y>\d{4})|(?P<y>\d{2}))",
    "month first": r"(?P<m>\d{1,2})(?P<s1>[-/.])(?P<d>\d{1,2})(?P=s1)(?:(?P<Y>\d{4})|(?P<y>\d{2}))",
    "short year first": r"(?P<y>\d{2})-(?P<m>\d{2})-(?P<d>\d{2})",
    "month by name": (
        rf"{WEEKDAY}(?:(?P<d>\d{{1,2}})[-/ .]\s*{MONTH}[-/ .,]\s*(?:(?P<Y>\d{{4}})|(?P<y>\d{{2}}))"
        rf"|{MONTH.replace('<b>', '<b2>')}\s+(?P<d2>\d{{1,2}}),?\s+(?P<Y2>\d{{4}}))"
    ),
}
"""How the date of a text may be written: the patterns that are tried on a column of which nothing was said."""

WRITTEN = {"H": "%H", "M": "%M", "S": "%S", "f": "%f", "p": "%p", "d": "%d", "m": "%m", "Y": "%Y", "y": "%y"}

DIRECTIVES = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "e": r"(?P<d>\d{1,2})",
    "j": r"(?P<j>\d{1,3})",
    "b": MONTH,
    "B": MONTH,
    "a": r"[^\W\d]+\.?",
    "A": r"[^\W\d]+\.?",
    "H": r"(?P<H>\d{1,2})",
    "I": r"(?P<H>\d{1,2})",
    "M": r"(?P<M>\d{1,2})",
    "S": r"(?P<S>\d{1,2})",
    "f": r"(?P<f>\d+)",
    "p": r"(?P<p>[AaPp]\.?[Mm]\.?)",
    "z": ZONE,
    "Z": ZONE,
    "%": "%",
}
"""What `time_format` may say, as `datetime.strptime` has it."""

SHORT = {"T": "%H:%M:%S", "R": "%H:%M", "F": "%Y-%m-%d", "D": "%m/%d/%y"}

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

DAY = 86_400_000_000
"""Microseconds."""


class ReadTimes(NamedTuple):
    """What some cells say.

    Attributes:
        local: `(n,)` int64, microseconds since 1970 of the clock that was read.
        nanoseconds: `(n,)` int64, what a microsecond leaves over, 0 to 999.
        offset: `(n,)` int64, seconds by which that clock is ahead of UTC; 0 where none is said.
        zoned: `(n,)` bool, whether an offset or UTC is said.
        valid: `(n,)` bool, whether it is a time; what is not is 0.
        zones: the cells `(k,)` in which each name of a zone stands.
        examples: one cell of each shape.
    """

    local: np.ndarray
    nanoseconds: np.ndarray
    offset: np.ndarray
    zoned: np.ndarray
    valid: np.ndarray
    zones: dict[str, np.ndarray]
    examples: list[str]


def compiled(time_format: str, who: str) -> re.Pattern[str]:
    """The pattern of a `time_format`; where it ends with the date, or leaves out seconds or zone, they may follow.

    Raises:
        DataError: a directive that is not known, twice the same, or no date.
    """
    spelled = re.sub(r"%([TRFD])", lambda found: SHORT[found[1]], time_format)
    parts, seen = [], set()
    for text, directive in re.findall(r"([^%]+)|%(.?)", spelled):
        if text:
            parts.append(r"\s+".join(map(re.escape, re.split(r"\s+", text))))
            continue
        if directive not in DIRECTIVES:
            raise DataError(
                f"{who} expects time_format with %Y, %m, %d, %H, %M, %S and the like, as datetime.strptime has them, "
                f"got {'%' + directive!r} in {time_format!r}"
            )
        kind = {"e": "d", "B": "b", "A": "a", "I": "H", "Z": "z"}.get(directive, directive)
        if kind in seen:
            raise DataError(f"{who} has {'%' + directive!r} twice in time_format={time_format!r}; say it once")
        seen |= {kind} - {"%", "a"}
        parts.append(DIRECTIVES[directive])
    if not seen & {"Y", "y"} or not (seen & {"m", "b"} or "j" in seen):
        raise DataError(
            f"{who} expects time_format to hold a year and a month, such as '%d/%m/%Y %H:%M', got {time_format!r}"
        )
    pattern = "".join(parts)
    if "H" not in seen:
        pattern += TAIL if "z" not in seen else ""
    else:
        if "M" in seen and "S" not in seen and spelled.endswith("%M"):
            pattern += r"(?::(?P<S>\d{2})(?:[.,](?P<f>\d+))?)?"
        elif "f" not in seen and spelled.endswith("%S"):
            pattern += r"(?:[.,](?P<f>\d+))?"
        pattern += ZONE if "z" not in seen else ""
    return re.compile(rf"\s*{pattern}\s*")


PATTERNS = {name: re.compile(rf"\s*(?:{date}){TAIL}\s*") for name, date in READINGS.items()}


def as_text(cells: Any) -> np.ndarray:
    """Cells as NumPy's text `(n,)`; None becomes empty."""
    if isinstance(cells, np.ndarray) and cells.dtype.kind == "U":
        return cells
    if isinstance(cells, np.ndarray) and cells.dtype.kind == "S":
        return np.char.decode(cells, "utf-8", "replace")
    listed = cells.tolist() if hasattr(cells, "tolist") else list(cells)
    try:
        return np.array(listed, np.str_) if None not in listed else np.array([cell or "" for cell in listed], np.str_)
    except (TypeError, ValueError):
        return np.array(["" if cell is None else str(cell) for cell in listed], np.str_)


def shapes(text: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """The cells by their shape: which they are `(k,)`, their characters `(k, width)`, and one of them."""
    characters = np.ascontiguousarray(text).view(np.uint32).reshape(len(text), -1)
    digit = (characters >= 48) & (characters <= 57)
    shape = np.where(digit, 57, characters)
    left = np.arange(len(text))
    while len(left):
        same = (shape[left] == shape[left[0]]).all(axis=1) if len(left) > 1 else np.ones(1, bool)
        if same.all():
            yield left, characters[left] if len(left) < len(text) else characters, str(text[left[0]])
            return
        here = left[same]
        yield here, characters[here], str(text[here[0]])
        left = left[~same]


def read_times(text: np.ndarray, pattern: re.Pattern[str]) -> ReadTimes:
    """Cells as times, as a pattern reads them.

    Args:
        text: `(n,)`.
        pattern: of `PATTERNS`, or of a `time_format`. Where it does not fit a shape, shapes after that are not read.
    """
    n = len(text)
    local, nanoseconds, offset = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    zoned, valid = np.zeros(n, bool), np.zeros(n, bool)
    zones: dict[str, np.ndarray] = {}
    examples: list[str] = []
    for here, characters, cell in shapes(text):
        match = pattern.fullmatch(cell)
        if match is None:
            break
        read = _one_shape(characters, match)
        local[here], nanoseconds[here], offset[here], valid[here] = read
        zoned[here] = bool(_said(match, "utc") or _said(match, "sign"))
        name = _said(match, "zone")
        if name:
            zones[name] = np.append(zones.get(name, np.empty(0, np.int64)), here)
        examples.append(cell)
    local[~valid] = 0
    return ReadTimes(local, nanoseconds, offset, zoned, valid, zones, examples)


def format_of(cell: str, reading: str) -> str:
    """The `time_format` that reads a cell as a reading does."""
    match = PATTERNS[reading].fullmatch(cell)
    assert match is not None
    spans = sorted((match.span(name), code) for name, code in WRITTEN.items() if _said(match, name))
    written, at = "", spans[0][0][0]
    for (start, stop), code in spans:
        written += cell[at:start].replace("%", "%%") + ("%I" if code == "%H" and _said(match, "p") else code)
        at = stop
    return written


def _said(match: re.Match[str], name: str) -> str | None:
    """What a group of a pattern matched; None where it has no such group, or matched nothing."""
    return (match[name] or None) if name in match.re.groupindex else None


def _one_shape(characters: np.ndarray, match: re.Match[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Microseconds, nanoseconds, offset in seconds, and whether they are times, of cells of one shape."""

    def number(*names: str, absent: int = 0) -> np.ndarray:
        name = next((name for name in names if _said(match, name)), None)
        if name is None:
            return np.full(len(characters), absent, np.int64)
        return _digits(characters, *match.span(name))

    year = number("Y", "Ym", "Yc", "Y2", absent=-1)
    if year.size and year[0] < 0:
        short = number("y")
        year = short + np.where(short < 69, 2000, 1900)
    month = number("m", "mm", "mc", absent=1)
    named = _said(match, "b") or _said(match, "b2")
    valid = np.ones(len(characters), bool)
    if named is not None:
        short = named[:3].lower()
        valid &= short in MONTHS
        month[:] = MONTHS.index(short) + 1 if short in MONTHS else 1
    day, hour, minute, second = number("d", "dc", "d2", absent=1), *(number(k, f"{k}2") for k in "HMS")
    half = _said(match, "p")
    if half is not None:
        valid &= (hour >= 1) & (hour <= 12)
        hour = hour % 12 + (12 if half[0] in "Pp" else 0)
    valid &= (year >= 1) & (month >= 1) & (month <= 12) & (minute < 60) & (second < 60)
    valid &= (hour < 24) | ((hour == 24) & (minute == 0) & (second == 0))
    month = np.clip(month, 1, 12)
    months = (year - 1970) * 12 + month - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    after = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    if _said(match, "j"):
        day = number("j")
        after = ((year - 1969) * 12).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    valid &= (day >= 1) & (day <= after - first)
    local = (first + day - 1) * DAY + ((hour * 60 + minute) * 60 + second) * 1_000_000
    nanoseconds = np.zeros(len(characters), np.int64)
    if _said(match, "f"):
        start, stop = match.span("f")
        stop = min(stop, start + 9)
        fraction = _digits(characters, start, stop) * 10 ** (9 - (stop - start))
        local, nanoseconds = local + fraction // 1000, fraction % 1000
    offset = np.zeros(len(characters), np.int64)
    if _said(match, "sign"):
        hours, minutes = number("zh"), number("zm")
        valid &= (hours < 24) & (minutes < 60)
        offset = ((hours * 60 + minutes) * 60 + number("zs")) * (-1 if match["sign"] == "-" else 1)
    return local, nanoseconds, offset, valid


def _digits(characters: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Columns start to stop of characters `(k, width)`, all of them digits, as whole numbers `(k,)`."""
    value = np.zeros(len(characters), np.int64)
    for column in range(start, stop):
        value = value * 10 + (characters[:, column].astype(np.int64) - 48)
    return value
