"""Words that stand where a value is missing: in every file, among numbers, among times."""

from __future__ import annotations

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""Cells without a value in every file."""

MARKERS = (
    "?",
    "-",
    "--",
    "---",
    ".",
    "*",
    "#N/A",
    "#NA",
    "#NV",
    "#DIV/0!",
    "#VALUE!",
    "n/a",
    "na",
    "NAN",
    "<NA>",
    "Null",
    "missing",
    "nil",
)
"""Cells that hold no value wherever they stand among numbers; what is taken for one is told."""

NO_TIME = (*MISSING, "NaT", "#N/A")
"""Cells without a time."""
