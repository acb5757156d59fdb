"""Warnings: one category, at the caller's line, one line each on the command line."""

import ast
import re
import warnings
from itertools import pairwise
from pathlib import Path

import pytest

import rnnkit as rk
from rnnkit.cli import commands
from rnnkit.errors import counted, warn

ROOT = Path(__file__).parents[1]


def test_a_warning_names_the_line_that_called_rnnkit():
    with pytest.warns(rk.RnnkitWarning, match="a column is constant") as caught:
        warn("a column is constant")
    assert caught[0].filename == __file__


def test_the_command_line_prints_each_warning_once_as_one_line(capsys):
    with commands.telling_warnings():
        for _ in range(3):
            warn("a column is constant")
        warn("rows fall back in time")
    assert capsys.readouterr().err == (
        "rnnkit: warning: a column is constant\nrnnkit: warning: rows fall back in time\n"
    )


def test_warnings_of_others_stay_as_they_are(capsys):
    with pytest.warns(UserWarning, match="not ours"), commands.telling_warnings():
        warnings.warn("not ours", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == ""


PLURALS = [
    "rows",
    "targets",
    "lanes",
    "features",
    "columns",
    "windows",
    "steps",
    "epochs",
    "outputs",
    "segments",
    "lines",
    "cells",
    "samples",
    "classes",
    "heads",
    "units",
    "members",
    "turns",
    "labels",
    "levels",
    "parameters",
]


def test_one_of_a_thing_is_not_several():
    assert [
        counted(n, thing) for n, thing in ((1, "row"), (0, "row"), (2000, "row"), (1, "series"), (3, "series"))
    ] == [
        "1 row",
        "0 rows",
        "2,000 rows",
        "1 series",
        "3 series",
    ]
    assert [counted(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]


def test_every_number_before_a_thing_is_counted():
    """No text says `{n} rows`, which would be "1 rows"; "3 of 5 rows" may be, and what no number stands before."""
    after = re.compile(rf" ((?:more|data|random|input|real) )?({'|'.join(PLURALS)})\b(?!')")
    found = []
    for file in (path for folder in ("rnnkit", "backends") for path in (ROOT / folder).rglob("*.py")):
        for text in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            parts = text.values if isinstance(text, ast.JoinedStr) else []
            for place, (value, behind) in enumerate(pairwise(parts)):
                if not isinstance(value, ast.FormattedValue) or not isinstance(behind, ast.Constant):
                    continue
                before = parts[place - 1] if place else None
                among = (
                    isinstance(before, ast.Constant) and re.fullmatch(r" of (the |its )?", before.value) and place > 1
                )
                named = value.conversion == ord("r") or ast.unparse(value.value) in NO_COUNTS
                if after.match(behind.value) and not among and not named:
                    found.append(f"{file.name}: {ast.unparse(value.value)} {behind.value[:20]}")
    assert not found


NO_COUNTS = ("doing", "who", "np.median(rows / spent)")
"""What stands before things and counts none, or never one."""
