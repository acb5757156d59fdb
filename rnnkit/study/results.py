"""Rows of a study: its columns, the file of each trial, the table of all, and the summary over seeds."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.errors import SourceError
from rnnkit.files import write_whole
from rnnkit.schedule import Coverage

TRIALS, CSV, PARQUET = "trials", "results.csv", "results.parquet"

OLDER = "cells"
"""What the folder of the trials was called before: what is finished there need not be trained again."""

FINISHED = ("done", "diverged")
"""What need not be run again."""

PLACE = ("splitter", "policy", "backend")
"""What seeds are summed up over."""


def _coverage_columns() -> dict[str, type]:
    found: dict[str, type] = {}
    for field in fields(Coverage):
        name = "steps_an_epoch" if field.name == "steps" else field.name
        if "Reach" in str(field.type):
            found |= {f"{name}_minimum": int, f"{name}_median": float, f"{name}_maximum": int}
        else:
            found[name] = float if field.type in (float, "float") else int
    return found


_ERRORS = ("mae", "rmse", "loss", "ratio")

COLUMNS: dict[str, type] = {
    **dict.fromkeys(PLACE, str),
    "seed": int,
    "status": str,
    **{f"{part}_{error}": float for part in ("validation", "test") for error in _ERRORS},
    "baseline": str,
    "training_loss": float,
    "rows_scored": int,
    "rows_read": int,
    "steps": int,
    "epochs": float,
    "seconds": float,
    "cpu_seconds": float,
    "rows_per_second": float,
    "peak_memory": float,
    **_coverage_columns(),
    "bias_cosine": float,
    "bias_norm_ratio": float,
    "chosen": int,
    "digest": str,
    "message": str,
}
"""Columns of the table and their types; an entry that a row has no value for is empty.

Errors are in the data's own units, for classifiers `mae` is the share of wrong classes and `rmse` empty; `ratio` is the
MAE over that of the naive prediction that `baseline` names, the losses are in the model's units. `rows_scored`,
`rows_read`, `steps`, `epochs` and `seconds` are of the whole training; `rows_per_second` counts scored rows;
`cpu_seconds` are those of the thread that trains; `peak_memory` is that of the process in MiB. Then comes the account
of an epoch, as `Coverage` names it. `chosen` is 1 in the rows of the splitter, policy and backend that `chosen` finds,
0 in the others.
"""

MEASURES = (
    *(f"{part}_{error}" for part in ("validation", "test") for error in _ERRORS),
    "seconds",
    "rows_per_second",
    "peak_memory",
    "bias_cosine",
    "bias_norm_ratio",
)
"""Columns that a summary takes the mean and the spread of."""


@contextmanager
def writing(folder: Path):
    """Turn what the system says against a folder into an error that tells what to do."""
    if "\0" in str(folder):
        raise SourceError(f"compare expects a folder, got {str(folder)!r}, which no file can be called; name another")
    try:
        yield
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(
            f"compare expects a folder that can be written, got {str(folder)!r}: {error.strerror or error}; "
            f"name another"
        ) from error


def open_folder(folder: Path) -> None:
    """Make the folder of a study, or go on in one.

    Raises:
        SourceError: it is a file, cannot be written, or holds other things and no study.
    """
    with writing(folder):
        if folder.is_dir() and any(folder.iterdir()) and not any((folder / name).is_dir() for name in (TRIALS, OLDER)):
            raise SourceError(
                f"compare expects a new folder or one of a study, but {str(folder)!r} holds other files; name another"
            )
        (folder / TRIALS).mkdir(parents=True, exist_ok=True)


def write_trial(folder: Path, row: Mapping[str, Any]) -> None:
    """Keep a trial's row and curve, whole or not at all."""
    with writing(folder):
        text = json.dumps({name: _plain(value) for name, value in row.items()}, indent=1)
        write_whole(folder / TRIALS / f"{row['digest']}.json", text.encode())


def read_trial(folder: Path, digest: str) -> dict[str, Any] | None:
    """The row of a trial that is finished; None where there is none, or one that cannot be read."""
    for kept in (TRIALS, OLDER):
        try:
            row = json.loads((folder / kept / f"{digest}.json").read_text())
        except (OSError, ValueError):
            continue
        if isinstance(row, dict) and row.get("status") in FINISHED:
            return row
    return None


def write_table(folder: Path, rows: Iterable[Mapping[str, Any]]) -> bool:
    """Write `results.csv` and, where pyarrow is installed, `results.parquet`.

    Numbers of the CSV file are written so that they read back as they are.

    Returns:
        Whether there is a Parquet file.
    """
    values = [[_plain(row.get(name)) for name in COLUMNS] for row in rows]
    table = io.StringIO()
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows([["" if value is None else value for value in line] for line in values])
    with writing(folder):
        write_whole(folder / CSV, table.getvalue().encode())
        (folder / PARQUET).unlink(missing_ok=True)
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ModuleNotFoundError:
            return False
        types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
        schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
        columns = [list(column) for column in zip(*values, strict=True)] or [[] for _ in COLUMNS]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        whole = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), whole)
        write_whole(folder / PARQUET, whole.getvalue().to_pybytes())
    return True


def ranked(summary: Iterable[Mapping[str, Any]], part: str | None) -> list[dict[str, Any]]:
    """What was trained of a summary, the lowest mean error on a part first; where a seed was lost, after the others.

    Args:
        summary: as `summarise` gives it.
        part: `"validation"`, `"test"`, or None for no part.
    """

    def place(found: Mapping[str, Any]) -> tuple[bool, bool, float]:
        error = found.get(f"{part}_mae_mean")
        return error is None, bool(found["diverged"] or found["failed"]), 0.0 if error is None else error

    trained = (dict(found) for found in summary if found["seeds"] or found["diverged"] or found["failed"])
    return sorted(trained, key=place)


def chosen(summary: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What has the lowest mean error on the validation part, of those whose seeds are all done if there are such.

    None without a validation part, or where nothing is done.
    """
    best = next(iter(ranked(summary, "validation")), None)
    return None if best is None or best["validation_mae_mean"] is None else best


def summarise(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each splitter, policy and backend: how many seeds are done, and of each measure `_mean` and `_spread`.

    The spread is the standard deviation over the seeds (that of a sample); None for a single one.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in PLACE), []).append(row)
    return [_summary(place, group) for place, group in groups.items()]


def _summary(place: tuple[str, ...], group: list[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = dict(zip(PLACE, place, strict=True))
    for status in ("done", "diverged", "failed", "refused"):
        found["seeds" if status == "done" else status] = sum(row["status"] == status for row in group)
    done = [row for row in group if row["status"] == "done"]
    for name in MEASURES:
        values = [row[name] for row in done if row.get(name) is not None]
        found[f"{name}_mean"] = float(np.mean(values)) if values else None
        found[f"{name}_spread"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return found


def _plain(value: Any) -> Any:
    """Numbers of NumPy as Python's; what is not finite as None."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
