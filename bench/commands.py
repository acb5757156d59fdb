"""The command line, for `digests.py`: what each command prints, and the files that it writes."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from uses import words

CONFIG = """
backend = "{backend}"
[data]
path = "{data}"
time = "time"
target = "value"
period = 12
warm = 50
[[model.layers]]
type = "LSTM"
hidden = 6
[[model.layers]]
type = "Dense"
[splitter]
type = "Continuation"
length = 16
lanes = 3
[train]
epochs = 2
rule = {{type = "Adam", learning_rate = 1e-2}}
"""

MANY = """
backend = "numpy"
[common]
time = "time"
target = "value"
warm = 50
[[data]]
path = "{data}"
name = "first"
learning_rate = 0.5
[[data]]
path = "{other}"
name = "second"
[curriculum]
order = "shuffled"
transfer = "epoch"
interleave = {{type = "RoundRobin"}}
[[model.layers]]
type = "LSTM"
hidden = 6
[[model.layers]]
type = "Dense"
[train]
epochs = 2
"""

STUDY = """
equal = {{epochs = 2}}
splitters = [{{type = "Continuation", length = 16, lanes = 2}}, {{type = "Chunked", length = 16, lanes = 2}}]
policies = ["Carry", "Reset"]
seeds = 1
backends = ["numpy"]
[data]
path = "{data}"
time = "time"
target = "value"
[[model.layers]]
type = "LSTM"
hidden = 5
[[model.layers]]
type = "Dense"
"""

RUN = ("train one.toml --out run",)

LINES: dict[str, tuple[str, ...]] = {
    "train": RUN,
    "train, numba": (RUN[0] + " --backend numba --threads 2",),
    "train, torch": (RUN[0] + " --backend torch --dtype float64",),
    "plan": ("plan one.toml --picture plan.png", "plan many.toml", "plan one.toml --policy Stored --splitter.lanes 5"),
    "check": ("check one.toml",),
    "after": (
        *RUN,
        "evaluate run --out errors.json",
        "predict run --out predicted.csv",
        "predict run --part all --data.path second.csv --out second_predicted.csv",
        "forecast run --steps 12 --out ahead.csv --picture ahead.png",
    ),
    "inspect": (*RUN, "inspect run --rows 100:140 --out page.html"),
    "bias": (*RUN, "bias one.toml --rows 200 --run run --lengths 8,16 --out bias"),
    "compare": ("compare study.toml --jobs 1 --out study",),
    "many": (
        "train many.toml --out run",
        "evaluate run",
        "evaluate run --data-set second",
        "predict run --data-set first --out first_predicted.csv",
    ),
    "refused": (
        "train absent.toml",
        "train one.toml --splitter.lenght 5",
        "train one.toml --splitter.length 0",
        "train one.toml --policy Carried",
        "train one.toml --splitter Chunked --splitter.length 16 --splitter.lanes 4",
        "train one.toml --backend nump",
        "train one.toml --data.target wert",
        "predict nowhere",
    ),
    "help": ("--help", "train --help", "predict --help", "inspect --help"),
}
"""Commands that are given one after the other in one folder."""

KEPT = (".md", ".csv", ".json", ".jsonl", ".toml", ".html", ".png", ".safetensors")
"""Endings of files that are for people, or are read again."""


def commands(tree: Path) -> dict[str, Callable[[Path], dict[str, Any]]]:
    """What is done, by name."""
    return {name: lambda work, lines=lines: said(tree, lines, work) for name, lines in LINES.items()}


def said(tree: Path, lines: tuple[str, ...], work: Path) -> dict[str, Any]:
    """Give commands in a folder with two series, and return what they print and write."""
    main = entry_point(tree)
    write(work / "first.csv", 260, 12)
    write(work / "second.csv", 180, 9)
    (work / "one.toml").write_text(CONFIG.format(backend="numpy", data="first.csv"))
    (work / "many.toml").write_text(MANY.format(data="first.csv", other="second.csv"))
    (work / "study.toml").write_text(STUDY.format(data="first.csv"))
    ours, found = set(work.iterdir()), {}
    with contextlib.chdir(work):
        for line in lines:
            told = printed(main, line.split())
            found[f"rnnkit {line}"] = words(told) if line.startswith("compare") else told
    written = [file for file in sorted(work.rglob("*")) if file.is_file() and file not in ours and worth(file)]
    return found | {f"file {file.relative_to(work)}": file for file in written}


def worth(file: Path) -> bool:
    """Whether a file is compared: of a comparison, only a picture without times."""
    return file.suffix in KEPT and ("study" not in file.parts or file.name == "error_by_policy.png")


def printed(main: Callable[[], int | None], words: list[str]) -> str:
    """Exit status, standard output and standard error of a command."""
    out, error, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["rnnkit", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            status = main()
    except SystemExit as end:
        status = end.code
    finally:
        sys.argv = before
    return f"{out.getvalue()}\n-- standard error --\n{error.getvalue()}\n-- exit status {status} --"


def entry_point(tree: Path) -> Callable[[], int | None]:
    """What the tree installs as `rnnkit`."""
    os.environ["COLUMNS"] = "120"
    with (tree / "pyproject.toml").open("rb") as file:
        module, _, name = tomllib.load(file)["project"]["scripts"]["rnnkit"].partition(":")
    return getattr(importlib.import_module(module), name)


def write(path: Path, rows: int, period: int) -> None:
    """A CSV of half-hourly values."""
    values = 50 + 10 * np.sin(np.arange(rows) * 2 * np.pi / period) + np.random.default_rng(rows).standard_normal(rows)
    times = np.datetime64("2026-01-01T00:00:00") + np.arange(rows) * np.timedelta64(30, "m")
    lines = [f"{time},{value:.4f}" for time, value in zip(times, values, strict=True)]
    path.write_text("\n".join(["time,value", *lines]) + "\n")
