"""CSV files larger than memory: converted once to memmaps in a folder, and read from there.

A conversion is a folder of its own, named after the file and what is read of it: `values.npy` `(N, C)` float64, the
features and then targets that are no features; `lines.npy`; `times.npy` and `ids.npy` where there are any; and
`about.json`. It is written under another name and renamed when it is whole. `asked-....json` beside them say which
columns the file has, by what was asked of it: the file itself need not be looked at again.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np

from rnnkit.data.columns import Choice, Opened, Wanted, choose, file_source
from rnnkit.data.sentinels import Extremes
from rnnkit.data.series import Coder, Ids, Others
from rnnkit.data.source import as_rows
from rnnkit.data.text import ReadRows, csv_ids, may_be_labels, scan_csv, tell_repeated
from rnnkit.data.textfile import text_stem
from rnnkit.data.times import Clock
from rnnkit.errors import SourceError
from rnnkit.files import write_whole

ABOUT = "about.json"
VERSION = 2

ABANDONED = 24 * 3600
"""Seconds after which a conversion that nothing was written to has been killed."""


def say(line: str) -> None:
    """Tell a line on standard error."""
    print(line, file=sys.stderr)


def read_converted(path: Path, wanted: Wanted, folder: Path, said: Callable[[str], None] = say) -> Opened:
    """A CSV file through its conversion in a folder, which is made if it is not there or the file has changed.

    Args:
        path: the CSV file.
        wanted: what is read of it.
        folder: where conversions stand, by any number of files.
        said: gets one line when a conversion is made.

    Raises:
        SourceError: a folder that cannot be written, or text that is not UTF-8.
        DataError: as `read_csv` does.
    """
    try:
        state = path.stat()
        origin = {"version": VERSION, "path": str(path.resolve()), "size": state.st_size, "mtime": state.st_mtime_ns}
        asked = f"asked-{_key(origin['path'], wanted.time, wanted.features, wanted.target, *_read_as(wanted))}.json"

        def place(choice: Choice) -> tuple[Path, dict[str, Any]]:
            """Where the conversion of some columns stands, and what it is of."""
            read = {"features": choice.features, "targets": choice.targets, "time": wanted.time}
            read |= dict(zip(("series_id", "time_format", "zone", "text"), _read_as(wanted), strict=True))
            read = json.loads(json.dumps(read))  # tuples become lists
            return folder / f"{text_stem(path)}-{_key(origin['path'], read)}", origin | read

        def use(choice: Choice, blocks: Iterator[ReadRows], clock: Callable[[], Clock]) -> Opened:
            made, of = place(choice)
            if not _is_of(made, of):
                said(f"converting {str(path)!r} to {str(made)!r}; the next time it is read from there")
                _convert(path, blocks, clock, wanted, choice, made, of)
            with suppress(OSError):  # a folder that is only read: the file is looked at again
                write_whole(made / asked, json.dumps({**origin, "columns": choice.every}).encode())
            return _opened(made, path, choice, wanted)

        for known in folder.glob(f"*/{asked}"):
            columns = _columns(known, origin)
            if columns is None:
                continue
            choice = choose(repr(str(path)), columns, wanted)
            if _is_of(*place(choice)):
                return _opened(place(choice)[0], path, choice, wanted)
        return scan_csv(path, wanted, use, folder=folder)
    except SourceError:
        raise
    except OSError as error:
        if not path.exists():
            raise
        raise SourceError(
            f"Sequence.open cannot convert {str(path)!r} to memmap={str(folder)!r}: {error.strerror or error}"
        ) from error


def _read_as(wanted: Wanted) -> tuple[Any, ...]:
    """How a file is read, whichever its columns of numbers are: series, times, and how its text is written."""
    return wanted.series_id, wanted.time_format, wanted.zone, wanted.text.given


def _key(*parts: Any) -> str:
    """A short name for what is asked of a file."""
    return hashlib.sha256(json.dumps(parts, default=repr).encode()).hexdigest()[:10]


def _columns(asked: Path, origin: dict[str, Any]) -> list[Any] | None:
    """The columns that a file was found to have when the same was asked of it; None where it has changed.

    So a file that is packed, or in another encoding, is not unpacked anew to learn which conversion is meant.
    """
    try:
        found = json.loads(asked.read_text(encoding="utf-8"))
        return found["columns"] if {key: found[key] for key in origin} == origin else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _is_of(made: Path, origin: dict[str, Any]) -> bool:
    """Whether a conversion is there, whole, and is that of such a file."""
    try:
        about = json.loads((made / ABOUT).read_text(encoding="utf-8"))
        wanted = {key: about[key] for key in origin}
        return wanted == origin and all((made / name).stat().st_size == size for name, size in about["bytes"].items())
    except (FileNotFoundError, NotADirectoryError, ValueError, LookupError, TypeError):
        return False


def _convert(
    path: Path,
    blocks: Iterator[ReadRows],
    clock: Callable[[], Clock],
    wanted: Wanted,
    choice: Choice,
    made: Path,
    origin: dict[str, Any],
) -> None:
    """Write a conversion, in the memory of one block."""
    made.parent.mkdir(parents=True, exist_ok=True)
    part = made.with_name(f"{made.name}.part-{uuid4().hex[:8]}")
    part.mkdir()
    try:
        coder, labels, known = Coder(repr(str(path)), wanted.series_id), True, False
        features, extremes = len(choice.features), Extremes(len(choice.features + choice.targets))
        with ExitStack() as files:
            arrays: dict[str, GrowingArray] = {}
            for block in blocks:
                extremes.add(block.values)
                y = block.values[:, features:]
                labels, known = labels and may_be_labels(y), known or bool((~np.isnan(y)).any())
                ids = None if block.ids is None else coder.codes(block.ids, block.lines.tolist())
                columns = {"values": block.values, "lines": block.lines, "times": block.times, "ids": ids}
                for name, rows in columns.items():
                    if rows is None:
                        continue
                    if name not in arrays:
                        file = files.enter_context((part / f"{name}.npy").open("wb"))
                        arrays[name] = GrowingArray(file, rows.dtype, rows.shape[1:])
                    arrays[name].append(rows)
            for array in arrays.values():
                array.finish()
        tell_repeated(repr(str(path)), choice, extremes, wanted.text)
        sizes = {file.name: file.stat().st_size for file in part.iterdir()}
        about = {**origin, "labels": labels and known, "series": coder.names, "clock": clock(), "bytes": sizes}
        (part / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        _rename(part, made, origin)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _clear(made)


def _clear(made: Path) -> None:
    """Remove what conversions of the same kind left behind that were killed, but none that may still be under way."""
    for left in made.parent.glob(f"{glob.escape(made.name)}.part-*"):
        try:
            last = max(path.stat().st_mtime for path in (left, *left.iterdir()))
        except OSError:  # another process removes it, or it is none of ours
            continue
        if time.time() - last > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)


def _rename(part: Path, made: Path, origin: dict[str, Any]) -> None:
    """Put a whole conversion in its place, unless another process has put the same one there meanwhile."""
    if made.exists() and not _is_of(made, origin):
        shutil.rmtree(made)
    try:
        os.rename(part, made)
    except OSError:
        if not _is_of(made, origin):
            raise


def _opened(made: Path, path: Path, choice: Choice, wanted: Wanted) -> Opened:
    who = repr(str(path))
    about = json.loads((made / ABOUT).read_text(encoding="utf-8"))

    def mapped(name: str) -> np.ndarray:
        return np.load(made / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    values, features = mapped("values"), len(choice.features)
    x = as_rows(values[:, :features], who, "its columns")
    y = as_rows(values[:, features:], who, "its target") if choice.targets else None
    source = file_source(who, choice, x, y, about["labels"] and wanted.horizon == 0, mapped("lines"))
    times = None if wanted.time is None else mapped("times")
    ids = None if wanted.series_id is None else Ids(tuple(about["series"]), mapped("ids"))
    return Opened(
        source, times, ids, Clock(*about["clock"]), Others(choice.every, partial(csv_ids, path, options=wanted.text))
    )


class GrowingArray:
    """A `.npy` file to which rows are appended; its number of rows is written at the end."""

    def __init__(self, file: BinaryIO, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self._file, self._dtype, self._shape, self._rows = file, dtype, shape, 0
        self._header()  # NumPy leaves room in it for the first axis to grow

    def append(self, rows: np.ndarray) -> None:
        """Write rows `(n, ...)` after those that stand there."""
        self._file.write(rows.astype(self._dtype, copy=False).tobytes())  # dates have no buffer
        self._rows += len(rows)

    def finish(self) -> None:
        """Write how many there are."""
        self._file.seek(0)
        self._header()

    def _header(self) -> None:
        descr = np.lib.format.dtype_to_descr(self._dtype)
        shape = (self._rows, *self._shape)
        np.lib.format.write_array_header_1_0(self._file, {"descr": descr, "fortran_order": False, "shape": shape})
