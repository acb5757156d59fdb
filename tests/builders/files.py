"""Tables in files, written and read back cell by cell."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_csv(file: Path | str, **columns: Iterable[Any]) -> Path:
    """Write columns of equal length under their names; a number has all its digits."""
    rows = zip(*columns.values(), strict=True)
    Path(file).write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return Path(file)


def read_csv(file: Path | str) -> list[dict[str, str]]:
    """Rows of a table, each as its cells by the name of the column."""
    with Path(file).open(newline="") as lines:
        return list(csv.DictReader(lines))
