"""Text files of rows and columns: numbers, times and ids, block by block, with the line of whatever cannot be read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from rnnkit.data.columns import Choice, Column, Opened, Wanted, check_columns, choose, file_source, instead
from rnnkit.data.dialect import Dialect, find_dialect, passed_over
from rnnkit.data.missing import MARKERS, MISSING
from rnnkit.data.numberstyles import STYLES, Style, number_sql, stripped, text, truth_sql
from rnnkit.data.order import SEEN, tell_falling
from rnnkit.data.sentinels import Extremes
from rnnkit.data.series import Coder, Ids, Others
from rnnkit.data.source import as_rows
from rnnkit.data.textfile import PlainText, plain_text, text_suffix, unchanged
from rnnkit.data.textlines import PlacedRows, count_empty, place_rows
from rnnkit.data.textoptions import TextOptions
from rnnkit.data.texttable import ASKED, Reading, TextTable, is_null, text_table
from rnnkit.data.texttimes import is_iso, iso_sql, read_text_times
from rnnkit.data.times import Clock, looks_like_time
from rnnkit.errors import DataError, warn

CELLS = 262_144
"""The most cells of a file that stand in memory as text, where it is read block by block."""

ROWS = "rows.part-"
"""How the folders begin in which the text of a file lies while it is converted."""

T = TypeVar("T")


class ReadRows(NamedTuple):
    """Some rows of a text file.

    Attributes:
        lines: `(n,)`, the line of each in the file.
        values: `(n, C)` float64: the features, then targets that are no features.
        times: `(n,)` numbers or datetime64[us], or None.
        ids: the id of each row's series, or None.
    """

    lines: np.ndarray
    values: np.ndarray
    times: np.ndarray | None
    ids: list[str] | None


Use = Callable[[Choice, Iterator[ReadRows], Callable[[], Clock]], T]


def read_csv(path: Path, wanted: Wanted) -> Opened:
    """Text with a line of names and cells parted by commas, or whatever else; its numbers are read as float64.

    How it is written is found out where `wanted.text` does not say it, and told where it is not the ordinary way.
    """
    who = repr(str(path))

    def hold(choice: Choice, blocks: Iterator[ReadRows], clock: Callable[[], Clock]) -> Opened:
        coder, extremes = Coder(who, wanted.series_id), Extremes(len(choice.features + choice.targets))
        read = list(blocks)
        codes = [coder.codes(block.ids, block.lines.tolist()) for block in read if block.ids is not None]
        values = _joined([block.values for block in read])
        extremes.add(values)
        tell_repeated(who, choice, extremes, wanted.text)
        x, y = values, None
        if choice.targets:
            x, y = values[:, : len(choice.features)].copy(), values[:, len(choice.features) :].copy()
        labels = y is not None and wanted.horizon == 0 and bool((~np.isnan(y)).any()) and may_be_labels(y)
        y_rows = None if y is None else as_rows(y, who, "its target")
        lines = _joined([block.lines for block in read])
        source = file_source(who, choice, as_rows(x, who, "its columns"), y_rows, labels, lines)
        ids = Ids(coder.names, np.concatenate(codes)) if codes else None
        times = [block.times for block in read if block.times is not None]
        others = Others(choice.every, partial(csv_ids, path, options=wanted.text))
        return Opened(source, _joined(times) if times else None, ids, clock(), others)

    return scan_csv(path, wanted, hold)


def csv_ids(path: Path, column: Column, options: TextOptions = TextOptions()) -> Ids:  # noqa: B008 - frozen
    """The series that each row of a text file belongs to."""
    coder = Coder(repr(str(path)), column)

    def number(choice: Choice, blocks: Iterator[ReadRows], clock: Callable[[], Clock]) -> Ids:
        codes = [coder.codes(block.ids or [], block.lines.tolist()) for block in blocks]
        return Ids(coder.names, np.concatenate(codes))

    wanted = Wanted(None, None, None, 0, column, text=options)
    return scan_csv(path, wanted, number, choice=Choice([], [], None, []))


def scan_csv(path: Path, wanted: Wanted, use: Use[T], choice: Choice | None = None, folder: Path | None = None) -> T:
    """Read a text file.

    Args:
        path: the file.
        wanted: what to read of it.
        use: takes what was chosen, the blocks, and what tells the clock of their times once they were read; returns
            what this returns. The file is read when it asks for the first block.
        choice: the columns of numbers; left out, as `wanted` says.
        folder: where its text may lie in between, so that it is read in blocks and in little memory; left out, all of
            it is one block.

    Raises:
        SourceError: text in another encoding, or a packed file that is damaged.
        DataError: a header, a line or a cell that cannot be used.
    """
    who = repr(str(path))
    suffix = text_suffix(path) or ".csv"
    with unchanged(path), plain_text(path, wanted.text.encoding, wanted.text.separator == " ") as plain:
        dialect = find_dialect(who, plain.head, wanted.text, suffix)
        if dialect.blanks and wanted.text.separator != " ":
            text_options = TextOptions(**{**wanted.text.given, "separator": " "})
            with plain_text(path, wanted.text.encoding, blanks=True) as parted:
                found = find_dialect(who, parted.head, text_options, suffix)
                found.taken["separator"] = " "
                return TextReader(path, wanted, parted, found, choice, folder).give(use)
        return TextReader(path, wanted, plain, dialect, choice, folder).give(use)


class TextReader:
    """Reads a file whose dialect is known.

    Args:
        path: as the user named it.
        wanted: what to read.
        plain: the file in UTF-8.
        dialect: how it is written.
        choice: the columns of numbers, or None for those of `wanted`.
        folder: as for `scan_csv`.
    """

    def __init__(
        self,
        path: Path,
        wanted: Wanted,
        plain: PlainText,
        dialect: Dialect,
        choice: Choice | None,
        folder: Path | None,
    ) -> None:
        self._who, self._path, self._wanted, self._options = repr(str(path)), plain.path, wanted, wanted.text
        self._dialect, self._folder, self._content = dialect, folder, plain.content
        above = "\n".join(plain.head.split("\n")[: dialect.first_line])
        self._underscores = plain.content.underscore >= len(above.encode())
        self._taken = {name: value for name, value in dialect.taken.items() if name not in self._options.given}
        if plain.written.guessed:
            self._taken["encoding"] = plain.written.encoding
        self._notes = list(dialect.notes)
        self._clock, self._dates = Clock(), None
        known = self._known()
        quiet = choice is not None  # whoever reads ids alone is told when the rows are read
        if choice is None:
            cells = dict(zip(dialect.header, dialect.first_row, strict=False))
            dates = tuple(str(name) for name in known if looks_like_time(cells.get(name, "0")))
            choice = choose(self._who, known, wanted, dates)
        else:
            check_columns(self._who, known, "series_id", [wanted.series_id])
        self._choice, self._quiet = choice, quiet

    def give(self, use: Use[T]) -> T:
        """Hand the blocks to whoever uses them."""
        return use(self._choice, self._blocks(), lambda: self._clock)

    def _known(self) -> list[Any]:
        """The columns by name, without an index and nameless ones."""
        header: list[Any] = list(self._dialect.header)
        self._nameless = [place for place, name in enumerate(header) if name == ""]
        wanted = self._wanted
        named = [*map(_listed, (wanted.time, wanted.features, wanted.target, wanted.series_id))]
        if self._dialect.index and not any(header[0] in columns for columns in named):
            self._nameless = [place for place in self._nameless if place]
            called = f" ({header[0]!r})" if header[0] else ""
            self._notes.append(f"its first column{called} counts the rows and is no feature")
            return [name for name in header[1:] if name != ""]
        return [name for name in header if name != ""]

    def _column(self, name: Any) -> str:
        return f"c{list(self._dialect.header).index(name)}"

    def _blocks(self) -> Iterator[ReadRows]:
        dialect, wanted = self._dialect, self._wanted
        if not self._path.stat().st_size or not dialect.first_row:
            raise DataError(f"{self._who} has a header line and no rows")
        empty, comment = count_empty(self._path, dialect), self._options.comment or dialect.taken.get("comment")
        with ExitStack() as stack:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
            table = stack.enter_context(text_table(self._path, dialect, self._who, self._folder is not None))
            if wanted.time is None and wanted.sort is not False and not self._quiet:
                self._look_at_times(table)
            place = partial(
                place_rows,
                self._path,
                self._who,
                dialect,
                self._content,
                options=self._options,
                timed=wanted.time is not None,
            )
            rows: PlacedRows | None = None
            if empty or self._options.left_out or comment:
                rows = place(count=table.rows, rejects=table.rejects())
                out = np.flatnonzero(np.isin(rows.lines, list(self._options.left_out)))
                count = len(rows.lines) - empty
                if comment:
                    (begins,) = table.columns([f"coalesce(starts_with(ltrim(c0), {text(str(comment))}), false)"])
                    out = np.union1d(out, np.flatnonzero(begins))
                table = table.without(out.tolist(), count)
                lines = rows.lines[:count]
                rows = rows._replace(lines=np.delete(lines, out[out < count]) if len(out) else lines)
            if self._folder is not None:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=ROWS, dir=self._folder))
                names = [
                    *self._choice.features,
                    *self._choice.targets,
                    *_listed(wanted.time),
                    *_listed(wanted.series_id),
                ]
                kept = {self._column(name) for name in names} | {f"c{place}" for place in self._nameless}
                table = table.kept(Path(folder), sorted(kept))
            numbers, first = self._settle(table)
            if rows is None:
                rows = place(count=table.rows if first is None else len(first), rejects=table.rejects())
            if not len(rows.lines):
                raise DataError(f"{self._who} has a header line and no rows")
            if not self._quiet:
                self._tell(rows)
            yield from self._read(table, numbers, first, rows.lines)

    def _look_at_times(self, table: TextTable) -> None:
        """Tell a column of times that falls, where none is read."""
        for place, (name, cell) in enumerate(zip(self._dialect.header, self._dialect.first_row, strict=False)):
            if looks_like_time(cell) or (len(cell) >= 8 and cell.isdigit()):
                rows = table.cells([f"coalesce(c{place}, '')"], 0, SEEN)
                tell_falling(self._who, name, np.array([text for (text,) in rows]))

    def _settle(self, table: TextTable) -> tuple[list[Reading], np.ndarray | None]:
        """How the numbers of each column are read; and the numbers of a table that is read at once."""
        columns = [self._column(name) for name in (*self._choice.features, *self._choice.targets)]
        if not columns:
            return [], None
        iso = self._iso_times()
        words = () if self._options.na is None else self._words
        number = self._number(STYLES[0], words)
        plain = [Reading(column, number) for column in columns]
        if self._options.decimal != ",":
            if table.on_disk:
                if not table.counts(columns, [f"{number('cell')} IS NULL"]).any():
                    return plain, None
            else:
                typed = None if self._underscores or self._options.na is not None else table.typed(columns, iso)
                if typed is not None:
                    read, self._dates = typed[: len(columns)], typed[-1] if iso else None
                elif iso and len(columns) < ASKED:  # at once
                    *read, self._dates = table.columns([*map(number, columns), *iso])
                else:
                    read = table.read(plain)
                values = _stacked(read)
                if values is not None:
                    return plain, values
        found = self._styles(table, columns)
        return found, None if table.on_disk else _stacked(table.read(found))

    def _number(self, style: Style, words: tuple[str, ...]) -> Callable[[str], str]:
        """What makes SQL of the name of a cell: its number."""
        return partial(number_sql, style=style, missing=words, absent=self._absent, strict=self._underscores)

    def _iso_times(self) -> list[str]:
        """SQL of the times, where they seem to be written in the ordinary way."""
        names = _listed(self._wanted.time)
        if len(names) != 1 or self._wanted.time_format is not None:
            return []
        first = self._dialect.first_row[list(self._dialect.header).index(names[0])]
        return [iso_sql(self._column(names[0]), len(first))] if is_iso(first) else []

    @property
    def _words(self) -> tuple[str, ...]:
        """Words that stand for a missing value: those of every file, and those that were named or may be taken so."""
        named = self._options.na
        return (*MISSING, *(MARKERS if named is None else (word for word in named if isinstance(word, str))))

    @property
    def _absent(self) -> tuple[float, ...]:
        return tuple(float(number) for number in self._options.na or () if not isinstance(number, str))

    def _styles(self, table: TextTable, columns: list[str]) -> list[Reading]:
        """The one way in which the numbers of all columns are written.

        Raises:
            DataError: a column that holds something else, or numbers that can be read in two ways.
        """
        words, decimal = self._words, self._options.decimal
        styles = [style for style in STYLES if decimal in (None, style.decimal)]
        readings = [self._number(style, words) for style in styles]
        truth = partial(truth_sql, missing=words)
        *counts, untrue = table.counts(columns, [f"{sql('cell')} IS NULL" for sql in (*readings, truth)]).T
        wrong = np.stack(counts, axis=1)
        true = [n for n in range(len(columns)) if not untrue[n] and wrong[n].all()]
        numeric = [n for n in range(len(columns)) if n not in true]
        fits = [not wrong[numeric, place].any() for place in range(len(styles))]
        if not any(fits):
            raise self._no_number(table, columns, readings, wrong, true)
        if not fits[0] and decimal is None and fits[1] and fits[2]:
            raise self._two_ways(table, [columns[n] for n in numeric])
        chosen = fits.index(True)
        if chosen and decimal is None:
            self._taken["decimal"] = styles[chosen].decimal
            if styles[chosen].thousands:
                self._notes.append(f"its numbers have {styles[chosen].name}")
        if self._options.na is None:
            self._take_markers(table, columns)
        return [Reading(column, truth if n in true else readings[chosen]) for n, column in enumerate(columns)]

    def _take_markers(self, table: TextTable, columns: list[str]) -> None:
        counts = table.counts(columns, [f"{stripped('cell')} = {text(mark)}" for mark in MARKERS]).sum(0)
        if counts.any():
            self._taken["na"] = [mark for mark, count in zip(MARKERS, counts, strict=True) if count]

    def _two_ways(self, table: TextTable, columns: list[str]) -> DataError:
        cell = next(
            cell
            for column in columns
            for (cell,) in table.cells([f"(SELECT {column})"], 0, 10_000)
            if cell is not None and "," in cell
        )
        return DataError(
            f"{self._who} has numbers such as {cell.strip()!r}, whose comma may be a decimal one or part thousands; "
            f"say decimal=',' or decimal='.'"
        )

    def _no_number(
        self,
        table: TextTable,
        columns: list[str],
        readings: list[Callable[[str], str]],
        wrong: np.ndarray,
        true: list[int],
    ) -> DataError:
        """The error about the first column that holds something else than numbers of one style."""
        broken = [n for n in range(len(columns)) if n not in true and wrong[n].all()]
        style = int(wrong.sum(0).argmin())
        one = broken[0] if broken else int(np.flatnonzero(wrong[:, style])[0])
        best = int(wrong[one].argmin()) if broken else style
        (values,) = table.columns([readings[best](columns[one])])
        mask = is_null(values)
        row = 0 if mask is None else int(mask.argmax())
        ((cell,),) = table.cells([columns[one]], row)
        cell = (cell or "").strip()
        names = [*self._choice.features, *self._choice.targets]
        fine = [names[n] for n in range(len(self._choice.features)) if n in true or not wrong[n].all()]
        rejects = table.rejects()
        lines = place_rows(
            self._path, self._who, self._dialect, self._content, table.rows, rejects, self._options, timed=True
        ).lines
        line = int(lines[row])
        return DataError(
            f"{self._who}, line {line}, column {names[one]!r} expects a number, got {cell!r}; "
            f"{self._advice(names[one], cell, [name for name in fine if name != names[one]], line, len(lines) - row)}"
        )

    def _advice(self, name: Any, cell: str, others: list[Any], line: int, below: int) -> str:
        advice = "correct it"
        if below <= 5 and line > self._dialect.first_line + 5:
            advice += f", or leave the line out: skip=[{line}]"
        targets = self._choice.targets or [self._choice.features[n] for n in self._choice.target_columns or ()]
        if name in targets or not others:
            return advice + ", or choose a column of numbers"
        return f"{advice}, or {instead(name, others, self._wanted, looks_like_time(cell))}"

    def _tell(self, rows: PlacedRows) -> None:
        """Say what was assumed."""
        notes = [*self._notes]
        if rows.footer:
            (line, words), out = rows.footer[0], passed_over(self._options, self._taken)
            out += [line for line, _ in rows.footer]
            notes.append(f"line {line} ({words[:60]!r}) is no row and is left out: skip={out} says so")
        if self._taken:
            said = ", ".join(f"{name}={value!r}" for name, value in self._taken.items())
            notes.insert(0, f"it is read with {said}; give these options to say so")
        if notes:
            warn(f"{self._who}: {'; '.join(notes)}")

    def _read(
        self, table: TextTable, numbers: list[Reading], first: np.ndarray | None, lines: np.ndarray | range
    ) -> Iterator[ReadRows]:
        wanted, names = self._wanted, _listed(self._wanted.time)
        for place in self._nameless:
            if table.one([f"count_if(coalesce({stripped(f'c{place}')}, '') <> '')"])[0]:
                raise DataError(
                    f"{self._who} has a column without a name, number {place + 1}, that holds values; name it in the "
                    f"header, or give the names: skip={self._dialect.first_line}, header=[...]"
                )
        size = len(lines) if not table.on_disk else max(1, CELLS // max(1, len(self._dialect.header)))
        spans = [(start, min(start + size, len(lines))) for start in range(0, len(lines), size)]
        places = [(None, None)] if not table.on_disk else spans
        times = None
        if names:
            cells = [self._dialect.first_row[list(self._dialect.header).index(name)] for name in names]
            columns = [self._column(name) for name in names]
            times, self._clock = read_text_times(
                table, columns, " ".join(cells), self._who, wanted, places, spans, lines, self._dates
            )
        for number, ((start, stop), (first_row, last_row)) in enumerate(zip(places, spans, strict=True)):
            values = first if first is not None else np.empty((last_row - first_row, 0))
            if numbers and first is None:
                read = _stacked(table.read(numbers, start, stop))
                assert read is not None  # every cell was looked at
                values = read
            ids = None
            if wanted.series_id is not None:
                (found,) = table.columns([f"coalesce({stripped(self._column(wanted.series_id))}, '')"], start, stop)
                ids = found.tolist()
            at = lines[first_row:last_row]
            at = np.arange(at.start, at.stop) if isinstance(at, range) else at
            yield ReadRows(at, values, None if times is None else times(number), ids)


def tell_repeated(who: str, choice: Choice, extremes: Extremes, options: TextOptions) -> None:
    """Warn of numbers that may stand for missing values, unless the user has said which do."""
    if options.na is not None:
        return
    names = [*choice.features, *choice.targets]
    for column, (value, count) in extremes.repeated().items():
        shown = f"{value:.0f}" if value == round(value) else f"{value!r}"
        warn(
            f"{who}, column {names[column]!r} has the value {shown} {count:,} times, far outside all others: if it "
            f"stands for a missing value, say na=[{shown}], else na=[]"
        )


def may_be_labels(y: np.ndarray) -> bool:
    """Whether all values that are not missing are whole numbers from 0."""
    known = y[~np.isnan(y)]
    return bool(np.isfinite(known).all() and (known >= 0).all() and (known == np.floor(known)).all())


def _joined(blocks: list[np.ndarray]) -> np.ndarray:
    """Blocks one after the other; a single one is not copied."""
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _stacked(columns: list[Any]) -> np.ndarray | None:
    """Columns as `(n, C)` float64; None where a cell is no number."""
    if any(is_null(column) is not None for column in columns):
        return None
    return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)


def _listed(columns: Any) -> list[Any]:
    if columns is None:
        return []
    return list(columns) if isinstance(columns, list | tuple) else [columns]
