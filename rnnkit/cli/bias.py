"""`rnnkit bias`: what the windows of a config make of the gradient, and how far it reaches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rnnkit.backend import Backend
from rnnkit.cli.build import build_with_backend
from rnnkit.cli.experiment import Experiment
from rnnkit.cli.files import check_new, save_picture, write_csv, writing
from rnnkit.cli.read import Draft
from rnnkit.cli.report import say
from rnnkit.errors import ConfigError, SourceError, counted
from rnnkit.model import setup
from rnnkit.schedule import Schedule
from rnnkit.study.bias import first_rows, gradient_bias
from rnnkit.train import load

TABLE, REACH, PICTURE = "bias.csv", "reach.csv", "bias.png"
"""What is written into the folder."""


def bias(
    draft: Draft,
    lengths: str | None,
    rows: int | None,
    run: Path | None,
    out: Path | None,
    overwrite: bool,
    console: Console,
) -> int:
    """Measure the bias of a config's gradient on its training part; print it, and write it where a folder is named.

    Args:
        draft: a config.
        lengths: window lengths with commas between them; None for those of `gradient_bias`.
        rows: the first so many rows of the training part; None for all.
        run: the folder of a run whose parameters are used; None for newly drawn ones.
        out: the folder for the table and the picture.
        overwrite: whether they may replace others.
        console: where to print.

    Raises:
        RnnkitError: anything that is wrong with the config or the options; nothing has been written then.
    """
    chosen = None if lengths is None else _numbers(lengths)
    if rows is not None and rows < 1:
        raise ConfigError(f"bias expects --rows of at least 1, got {rows}")
    if out is not None:
        _check_folder(out, overwrite)
    experiment, engine = build_with_backend(draft)
    params, schedule = _parameters(experiment, engine, run, draft.data_set)
    training = schedule.series
    if rows is not None:
        schedule = replace(schedule, series=first_rows(training, rows))
    used = len(schedule.series)
    part = "all rows" if used == len(training) else f"the first {used:,} of {counted(len(training), 'row')}"
    whose = f"drawn from seed {draft.config.seed}" if run is None else f"of the run in {run}"
    say(console, f"{draft.config.name}: {part} of the training part with a target; parameters {whose}")
    say(console, f"backend {engine.name}, {next(iter(params.values())).dtype}\n")
    found = gradient_bias(
        experiment.model,
        params,
        schedule,
        lengths=chosen,
        backend=engine,
        loss=experiment.loss,
        seed=draft.config.seed,
    )
    say(console, str(found))
    if out is not None:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        write_csv(out / TABLE, _columns(found.rows))
        write_csv(out / REACH, _columns(found.reach.table))
        save_picture(found.plot(), out / PICTURE)
        say(console, f"\nthe table is in {out / TABLE}, the reach in {out / REACH}, both are drawn in {out / PICTURE}")
    return 0


def _numbers(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise ConfigError(
            f"bias expects --lengths to be whole numbers from 1 with commas between them, got {text!r}; "
            f"write --lengths 8,16,32"
        )
    return [int(word) for word in words]


def _check_folder(out: Path, overwrite: bool) -> None:
    """Check that the files can be written there."""
    if out.exists() and not out.is_dir():
        raise SourceError(f"--out expects a folder, got the file {str(out)!r}; name another")
    for name in (TABLE, REACH, PICTURE) if out.is_dir() else ():
        check_new(out / name, "--out", overwrite)


def _parameters(
    experiment: Experiment, engine: Backend, run: Path | None, data_set: str | None
) -> tuple[dict[str, np.ndarray], Schedule]:
    """Parameters, and the schedule over the training part as these see it."""
    schedule, config = experiment.alone, experiment.config
    if run is None:
        return setup(experiment.model, config.seed, dtype=config.dtype)[0], schedule
    loaded = load(run, engine)
    if loaded.sets and data_set is not None:
        loaded = loaded.on(data_set)
    if loaded.model != experiment.model:
        raise ConfigError(
            f"--run expects a run of the config's model {experiment.model!r}, but the one in {str(run)!r} is "
            f"{loaded.model!r}; give the config of that run"
        )
    return loaded.params, replace(schedule, series=schedule.series.with_scaler(loaded.scaler))


def _columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
