"""Files that a command writes where the user says: whole or not at all, and over another one only when told."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rnnkit.errors import SourceError
from rnnkit.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_new(file: Path, option: str, overwrite: bool) -> None:
    """Check that a file can be written and, unless it may be replaced, is not there yet.

    Raises:
        SourceError: it is there, it is a folder, a device or a pipe, or its folder is not there.
    """
    if file.is_dir():
        raise SourceError(f"{option} expects a file, got the folder {str(file)!r}; name a file in it")
    if file.exists() and not file.is_file():  # a device or a pipe, which a file would take the place of
        raise SourceError(f"{option} expects a file, got the device or pipe {str(file)!r}; name a file")
    if file.exists() and not overwrite:
        raise SourceError(
            f"{str(file)!r} is there already; name another file with {option}, or replace it with --overwrite"
        )
    if not file.parent.is_dir():
        raise SourceError(f"{str(file)!r} cannot be written: there is no folder {str(file.parent)!r}; make it first")


def check_picture(file: Path, overwrite: bool) -> None:
    """Check that a picture can be written, whose ending says its format.

    Raises:
        SourceError: as `check_new`, or an ending that stands for no picture.
    """
    from matplotlib.figure import Figure

    known = sorted(Figure().canvas.get_supported_filetypes())
    if file.suffix[1:].lower() not in known:
        raise SourceError(f"--picture expects a file that ends in .png, .pdf or .svg, got {str(file)!r}")
    check_new(file, "--picture", overwrite)


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Turn what the system says against a file into an error of ours."""
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"expected a file that can be written, got {str(file)!r}: {error.strerror or error}; name another"
        ) from error


def save_picture(figure: Figure, file: Path) -> None:
    """Write a picture; its layout is settled by that."""
    content = io.BytesIO()
    engine = figure.get_layout_engine()
    if engine is not None:  # `savefig` would lay out and draw twice
        engine.execute(figure)
        figure.set_layout_engine(None)
    figure.savefig(content, format=file.suffix[1:].lower())
    with writing(file):
        write_whole(file, content.getvalue())


def write_csv(file: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write a table: text as it is, numbers to ten digits, NaN as an empty cell, dates in ISO 8601."""
    table = io.StringIO()
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(columns)
    lines.writerows(zip(*map(_cells, columns.values()), strict=True))
    with writing(file):
        write_whole(file, table.getvalue().encode())


def _cells(values: np.ndarray) -> list[str]:
    if values.dtype.kind == "M":
        whole = values.astype("datetime64[s]")
        return np.datetime_as_string(whole if (whole == values).all() else values).tolist()
    if values.dtype.kind in "iuUO":
        return [str(value) for value in values.tolist()]
    return ["" if value != value else f"{value:.10g}" for value in values.tolist()]
