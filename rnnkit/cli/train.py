"""`rnnkit train`: from a config to a run folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from rnnkit.backend import Backend
from rnnkit.cli.build import Experiment, build_with_backend
from rnnkit.cli.folder import FORECAST, LOSS, add_metrics, begin, check_free, write_metrics
from rnnkit.cli.read import Draft
from rnnkit.cli.report import describe, epoch_line, error_table, live, say
from rnnkit.data import Sequence
from rnnkit.errors import Interrupted, NonFiniteError
from rnnkit.model import CrossEntropy
from rnnkit.train import Evaluation, History, Run, evaluate, fit, predict
from rnnkit.view.plots import plot_forecast, plot_history


@dataclass
class Record:
    """Writes a run as it goes.

    The folder is made when the first epoch has been trained, or when the run is kept before: what a backend refuses
    shows by then, and leaves nothing behind.
    """

    experiment: Experiment
    folder: Path
    begun: bool = False

    def begin(self) -> None:
        """Make the folder, once."""
        if not self.begun:
            begin(self.folder, self.experiment)
            self.begun = True

    def add_epoch(self, history: History) -> None:
        """Write the last epoch's measures."""
        self.begin()
        add_metrics(self.folder, history)

    def save(self, run: Run) -> None:
        """Write a run that has ended, or has been cut short."""
        self.begin()
        run.save(self.folder)
        write_metrics(self.folder, run.history)


def train(draft: Draft, overwrite: bool, console: Console) -> int:
    """Train what a draft describes into its run folder.

    Returns:
        The exit status: 0, or 130 after Ctrl-C, which keeps the run so far.

    Raises:
        RnnkitError: anything that is wrong; nothing has been written then.
        NonFiniteError: saying where the run so far is.
    """
    experiment, engine = build_with_backend(draft)
    folder = Path(draft.config.out)
    check_free(folder, overwrite)
    say(console, describe(experiment))
    say(console, f"backend {engine.name}, {draft.config.dtype}\n")
    began, record = time.perf_counter(), Record(experiment, folder)
    try:
        run = _fit(experiment, engine, record, console)
    except Interrupted as stopped:
        record.save(stopped.run)
        done = len(stopped.run.history.epochs["loss"])
        say(console, f"\ninterrupted after {done} epochs; the run so far is in {folder}")
        return 130
    except NonFiniteError as error:
        record.save(error.run)
        raise NonFiniteError(f"{error}\nThe run up to there is in {folder}") from error
    seconds = time.perf_counter() - began
    record.save(run)
    draw(run, experiment, folder)
    console.print(error_table(evaluations(run, experiment), experiment.series.labels))
    rows, spent = (np.array(run.history.epochs[name]) for name in ("rows", "seconds"))
    say(console, f"{np.median(rows / spent):,.0f} rows a second (median epoch), {seconds:.1f} s in all")
    say(console, f"the run is in {folder}")
    return 0


def evaluations(run: Run, experiment: Experiment) -> dict[str, Evaluation]:
    """Errors on the validation and test part; without either, on the training part."""
    data = experiment.config.data
    parts = {name: part for name, part in experiment.parts.items() if name != "train"} or experiment.parts
    return {name: evaluate(run, part, period=data.period, warm=data.warm) for name, part in parts.items()}


def predicted_values(run: Run, part: Sequence, warm: int) -> np.ndarray:
    """`(N, O)` as `predict` gives them; for cross-entropy the most likely class, `(N, 1)`."""
    predicted = predict(run, part, warm=warm)
    if isinstance(run.loss, CrossEntropy):
        known = ~np.isnan(predicted).any(1, keepdims=True)
        return np.where(known, predicted.argmax(1)[:, None].astype(float), np.nan)
    return predicted


def draw(run: Run, experiment: Experiment, folder: Path) -> None:
    """The loss, and the last rows of the last part beside what is predicted for them."""
    plot_history(run.history).savefig(folder / LOSS)
    part = list(experiment.parts.values())[-1]
    plot_forecast(part, predicted_values(run, part, experiment.config.data.warm)).savefig(folder / FORECAST)


def _fit(experiment: Experiment, engine: Backend, record: Record, console: Console) -> Run:
    config, settings = experiment.config, experiment.config.train
    with live(console, settings.epochs) as show:

        def on_epoch(history: History) -> None:
            record.add_epoch(history)
            say(console, epoch_line(history, settings.epochs))

        return fit(
            experiment.model,
            experiment.schedule,
            backend=engine,
            rule=settings.rule.build(),
            loss=experiment.loss,
            epochs=settings.epochs,
            seed=config.seed,
            dtype=config.dtype,
            clip=None if settings.clip is None else settings.clip.build(),
            learning_rate=settings.learning_rate.build(),
            validation=experiment.validation,
            warm=config.data.warm,
            early_stopping=None if settings.early_stopping is None else settings.early_stopping.build(),
            on_block=show,
            on_epoch=on_epoch,
        )
