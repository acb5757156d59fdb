"""Files that a command writes where the user says: new ones only, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from rnnkit.errors import SourceError
from rnnkit.train.run import write_whole


def check_new(file: Path, option: str) -> None:
    """Check that a file can be written and is not there yet.

    Raises:
        SourceError: it is there, or its folder is not.
    """
    if file.exists():
        raise SourceError(f"{str(file)!r} is there already and is not overwritten; name another file with {option}")
    if not file.parent.is_dir():
        raise SourceError(f"{str(file)!r} cannot be written: there is no folder {str(file.parent)!r}; make it first")


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[float]]) -> None:
    """Write a table of numbers: the first column whole, the others to ten digits, NaN as an empty cell."""
    lines = [",".join(header)]
    for first, *values in rows:
        lines.append(",".join([str(int(first)), *("" if np.isnan(v) else f"{v:.10g}" for v in values)]))
    write_whole(file, ("\n".join(lines) + "\n").encode())
