"""`rnnkit predict`, `forecast` and `evaluate`: what a run folder is for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console

from rnnkit.cli.build import Experiment, build, load_backend
from rnnkit.cli.files import check_new, write_csv
from rnnkit.cli.folder import CONFIG
from rnnkit.cli.read import read
from rnnkit.cli.report import error_table, say
from rnnkit.cli.train import evaluations, predicted_values
from rnnkit.data import Sequence
from rnnkit.errors import DataError, SourceError
from rnnkit.train import Run, forecast, load
from rnnkit.view.plots import plot_continuation

Part = Literal["test", "validation", "train", "all"]


def open_run(folder: Path, backend: str | None) -> tuple[Run, Experiment]:
    """A run and what it was trained on.

    Args:
        folder: a run folder.
        backend: another backend than the one that trained it.

    Raises:
        SourceError: no run folder, or one whose run has not ended.
        ConfigError: the data are not where they were, or no longer what they were.
    """
    if not (folder / CONFIG).is_file():
        raise SourceError(f"found no run in {str(folder)!r}: it has no {CONFIG}; give the folder that `train` named")
    draft = read(folder / CONFIG, [] if backend is None else ["--backend", backend, "--device", "none"])
    experiment = build(draft)
    return load(folder, load_backend(draft.config)), experiment


def write_predictions(folder: Path, out: Path | None, part: Part, backend: str | None, console: Console) -> int:
    """Write `row`, predicted and observed of every row of a part that has a target.

    `row` is the row that is predicted, `horizon` rows after the last one that the model has read.
    """
    run, experiment = open_run(folder, backend)
    file = folder / f"predicted_{part}.csv" if out is None else out
    check_new(file, "--out")
    series = experiment.series if part == "all" else experiment.parts.get(part)
    if series is None:
        has = ", ".join(experiment.parts)
        raise DataError(f"the run in {str(folder)!r} has no {part} part, only {has}; choose with --part")
    predicted = predicted_values(run, series, experiment.config.data.warm)
    rows = np.concatenate([np.arange(s.start, s.stop) for s in series.segments])
    observed = series.with_scaler(None).take(rows, np.dtype("float64"))[1].reshape(len(rows), -1)
    names = _named(experiment.config.data.target, predicted.shape[1], "")
    header = ["row", *(f"predicted{n}" for n in names), *(f"observed{n}" for n in names[: observed.shape[1]])]
    write_csv(file, header, np.column_stack([rows + series.horizon, predicted[rows], observed]))
    say(console, f"{len(rows):,} predictions of the part {part!r} are in {file}")
    return 0


def write_forecast(
    folder: Path, steps: int, out: Path | None, picture: Path | None, backend: str | None, console: Console
) -> int:
    """Write the rows after the last one, predictions fed back in."""
    run, experiment = open_run(folder, backend)
    file = folder / f"forecast_{steps}.csv" if out is None else out
    check_new(file, "--out")
    if picture is not None:
        check_new(picture, "--picture")
    series: Sequence = experiment.series
    ahead = forecast(run, series, steps, warm=experiment.config.data.warm)
    last = int(series.runs[-1, 2])
    header = ["row", *(f"predicted{n}" for n in _named(experiment.config.data.features, ahead.shape[1], ""))]
    write_csv(file, header, np.column_stack([np.arange(last, last + steps), ahead]))
    say(console, f"{steps:,} rows after row {last - 1:,} are in {file}")
    if picture is not None:
        plot_continuation(series, ahead).savefig(picture)
        say(console, f"they are drawn in {picture}")
    return 0


def print_evaluation(folder: Path, backend: str | None, console: Console) -> int:
    """Print the errors of a run beside the naive ones."""
    run, experiment = open_run(folder, backend)
    console.print(error_table(evaluations(run, experiment), experiment.series.labels))
    return 0


def _named(columns: str | int | list[str] | list[int] | None, count: int, single: str) -> list[str]:
    """Endings of column names: none for a single column, else the columns' own names or numbers."""
    if count == 1:
        return [single]
    named = columns if isinstance(columns, list) and len(columns) == count else range(count)
    return [f"_{name}" for name in named]
