"""Warnings: one category, at the caller's line, one line each on the command line."""

import warnings

import pytest

import rnnkit as rk
from rnnkit.cli import commands
from rnnkit.errors import warn


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
