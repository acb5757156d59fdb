"""Files that are mapped into memory and cut short while they are read: an error in time, or one word from C."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.cli.commands import main

ROWS = 4_000


def make(path: Path) -> rk.Sequence:
    """A series over a file that is mapped, by the kind that its name says."""
    values = np.sin(np.arange(ROWS * 3) / 9).reshape(ROWS, 3)
    names = ["a", "b", "c"]
    if path.suffix == ".npy":
        np.save(path, values)
        columns = [0, 1] if path.stem == "side" else [0, 2]  # side by side they are a view
        return rk.Sequence.open(path, features=columns, target=0)
    if path.suffix == ".csv":
        lines = [",".join(map(str, row)) for row in values]
        path.write_text("\n".join([",".join(names), *lines]) + "\n")
        return rk.Sequence.open(path, features=["a", "b"], target="a", memmap=str(path.parent / "kept"))
    if path.suffix == ".raw":
        values.tofile(path)
        return rk.Sequence(np.memmap(path, float, "r", shape=(ROWS, 3))[:, :2], target=0)
    pa, feather = import_module("pyarrow"), import_module("pyarrow.feather")
    table = pa.table({name: values[:, k] for k, name in enumerate(names)})
    feather.write_feather(table, path, compression="uncompressed")
    return rk.Sequence.open(path, features=["a", "b"], target="a")


def cut(path: Path) -> None:
    """Cut short the file that is mapped."""
    mapped = next(path.parent.glob("kept/*/values.npy"), path)
    os.truncate(mapped, mapped.stat().st_size // 2)


@pytest.mark.parametrize("name", ["side.npy", "apart.npy", "rows.csv", "rows.raw", "rows.feather"])
def test_a_file_that_is_cut_short_while_it_trains_keeps_the_run(tmp_path, monkeypatch, name):
    monkeypatch.setattr(import_module("rnnkit.data.arrow"), "SLICE", 1000)  # pieces of a batch
    monkeypatch.setattr(import_module("rnnkit.data.tables"), "KEPT", 0)  # of which none is kept
    series = make(tmp_path / name)
    schedule = rk.Schedule(series, rk.Continuation(64, lanes=8), rk.Carry())
    model = rk.Chain(rk.LSTM(2, 2), rk.Dense(2, 1))

    def after(history: rk.History) -> None:
        cut(tmp_path / name)

    with pytest.raises(rk.SourceError, match=r"was cut short while it was read: it has .* bytes and had") as caught:
        rk.fit(model, schedule, backend="numpy", epochs=3, on_epoch=after)
    assert len(caught.value.run.history.epochs["loss"]) == 1
    again = rk.load(caught.value.run.save(tmp_path / "run"))
    assert all(np.isfinite(values).all() for values in again.params.values())


def test_a_file_that_is_written_anew_beside_and_moved_is_read_on(tmp_path):
    series = make(tmp_path / "side.npy")
    before = series.take(np.arange(ROWS))[0]
    np.save(tmp_path / "other.npy", np.zeros((3, 3)))
    (tmp_path / "other.npy").replace(tmp_path / "side.npy")
    assert np.array_equal(series.take(np.arange(ROWS))[0], before)


def test_the_command_line_keeps_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.sin(np.arange(500) / 9))
    Path("a.toml").write_text(
        'backend = "numpy"\n[data]\npath = "a.npy"\n[[model.layers]]\ntype = "LSTM"\nhidden = 2\n'
        '[[model.layers]]\ntype = "Dense"\n'
    )
    module = import_module("rnnkit.cli.train")
    monkeypatch.setattr(module, "save_picture", lambda figure, file: None)
    monkeypatch.setattr(module, "add_metrics", lambda folder, history: os.truncate("a.npy", 1000))
    assert main(["train", "a.toml"]) == 2
    said = capsys.readouterr().err
    assert "a.npy' was cut short while it was read" in said
    assert said.splitlines()[-1] == f"The run up to there is in {Path('runs/a')}"
    assert len(rk.load("runs/a").history.epochs["loss"]) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="mapped files cannot be cut short there")
def test_a_bus_error_says_where_it_was(tmp_path):
    script = """
import os, sys, numpy as np
from rnnkit.cli.output import unbroken
path = sys.argv[1]
np.save(path, np.zeros(100_000))
with unbroken():
    rows = np.load(path, mmap_mode="r")
    os.truncate(path, 1000)
    rows.sum()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a.npy"], capture_output=True, text=True, check=False
    )
    assert done.returncode < 0
    assert done.stderr.startswith("Fatal Python error: Bus error")
