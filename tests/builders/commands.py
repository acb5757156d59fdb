"""The command line, called in this process."""

from __future__ import annotations

from importlib import import_module

import pytest

from rnnkit.cli.commands import main


def refused(capsys: pytest.CaptureFixture[str], *tokens: str) -> str:
    """What a command says on standard error when it refuses, always with status 2 and never with a traceback."""
    capsys.readouterr()
    assert main(tokens) == 2
    said = capsys.readouterr()
    assert said.err.startswith("rnnkit: ")
    assert "Traceback" not in said.err
    return said.err


def leave_pictures_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `train` draw none, which take a while each."""
    monkeypatch.setattr(import_module("rnnkit.cli.train"), "save_picture", lambda figure, file: None)
