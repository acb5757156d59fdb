"""`rnnkit train`: from a config to a run folder."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console

from rnnkit.backend import Backend
from rnnkit.cli.build import Experiment, build_with_backend
from rnnkit.cli.config import Data
from rnnkit.cli.folder import (
    EVALUATION,
    FORECAST,
    LOSS,
    abandon,
    add_metrics,
    begin,
    check_free,
    prepare,
    write_evaluation,
    write_metrics,
    writing,
)
from rnnkit.cli.read import Draft
from rnnkit.cli.report import count, describe, epoch_line, error_table, left_out, live, say
from rnnkit.cli.status import INTERRUPTED
from rnnkit.data import Sequence
from rnnkit.errors import Interrupted, NonFiniteError
from rnnkit.model import BinaryCrossEntropy, CrossEntropy
from rnnkit.train import Evaluation, History, Run, evaluate, fit, predict
from rnnkit.train.targets import is_classification
from rnnkit.view.plots import plot_forecast, plot_history


@dataclass
class Record:
    """Writes a run as it goes.

    The folder is made before training starts, so that one that cannot be made costs no training. An old run in it
    is replaced when the first epoch has been trained, or when the run is kept before: what a backend refuses shows
    by then, and leaves everything as it was.
    """

    experiment: Experiment
    folder: Path
    made: list[Path] = field(default_factory=list)
    begun: bool = False

    def prepare(self) -> None:
        """Make the folder."""
        self.made = prepare(self.folder, self.experiment)

    def abandon(self) -> None:
        """Take away what was made, unless something has been trained."""
        if not self.begun:
            abandon(self.folder, self.made)

    def begin(self) -> None:
        """Make the folder that of this run, once."""
        if not self.begun:
            begin(self.folder)
            self.begun = True

    def add_epoch(self, history: History) -> None:
        """Write the last epoch's measures."""
        self.begin()
        add_metrics(self.folder, history)

    def save(self, run: Run) -> None:
        """Write a run that has ended, or has been cut short; draw its loss once it has an epoch."""
        self.begin()
        with writing(self.folder):
            run.save(self.folder, overwrite=True)
            write_metrics(self.folder, run.history)
            if run.history.epochs["loss"]:
                plot_history(run.history).savefig(self.folder / LOSS)


def train(draft: Draft, overwrite: bool, console: Console) -> int:
    """Train what a draft describes into its run folder.

    Returns:
        The exit status: 0, or 130 after Ctrl-C, which keeps the run so far if it has made a step.

    Raises:
        RnnkitError: anything that is wrong; nothing has been written then.
        NonFiniteError: saying where the run so far is, if it has made a step.
    """
    experiment, engine = build_with_backend(draft)
    folder = Path(draft.config.out)
    check_free(folder, overwrite)
    say(console, describe(experiment))
    if left := left_out(experiment):
        say(console, left)
    say(console, f"backend {engine.name}, {draft.config.dtype}\n")
    began, record = time.perf_counter(), Record(experiment, folder)
    record.prepare()
    try:
        run = _fit(experiment, engine, record, console)
    except Interrupted as stopped:
        return _interrupted(stopped.run, record, console)
    except NonFiniteError as error:
        epoch = len(error.run.history.epochs["loss"])
        message = str(error).replace(f"epoch {epoch}, step", f"epoch {epoch + 1}, step")  # counted from 1 here
        if not _steps(error.run):
            raise NonFiniteError(message) from error
        record.save(error.run)
        raise NonFiniteError(f"{message}\nThe run up to there is in {folder}") from error
    finally:
        record.abandon()
    seconds = time.perf_counter() - began
    record.save(run)
    found = evaluations(run, experiment.parts, draft.config.data)
    with writing(folder):
        write_evaluation(folder / EVALUATION, found)
        draw(run, experiment, folder)
    console.print(error_table(found, is_classification(run.loss)))
    if draft.config.train.early_stopping is None and (better := lowest_before_the_end(run.history)):
        say(console, better)
    rows, spent = (np.array(run.history.epochs[name]) for name in ("rows", "seconds"))
    say(console, f"{np.median(rows / spent):,.0f} rows a second (median epoch), {seconds:.1f} s in all")
    say(console, f"the run is in {folder}")
    return 0


def lowest_before_the_end(history: History) -> str:
    """A line about a validation loss that was lower in an epoch before the last; nothing where it was not."""
    losses = history.epochs.get("validation_loss", [])
    lowest = int(np.argmin(losses)) if losses else 0
    if lowest + 1 >= len(losses):
        return ""
    return (
        f"validation was lowest in epoch {lowest + 1}: {losses[lowest]:.6g}, at the end {losses[-1]:.6g}; "
        f"early_stopping = {{patience = 10}} keeps the parameters of the best epoch"
    )


def evaluations(run: Run, parts: dict[str, Sequence], data: Data) -> dict[str, Evaluation]:
    """Errors on the validation and test part; without either, on all that there is."""
    later = {name: part for name, part in parts.items() if name != "train"} or parts
    return {name: evaluate(run, part, period=data.period, warm=data.warm) for name, part in later.items()}


def predicted_values(run: Run, part: Sequence, warm: int) -> np.ndarray:
    """`(N, O)` as `predict` gives them; for cross-entropy the likeliest class, for the binary one the probability."""
    predicted = predict(run, part, warm=warm)
    if isinstance(run.loss, CrossEntropy):
        known = ~np.isnan(predicted).any(1, keepdims=True)
        return np.where(known, predicted.argmax(1)[:, None].astype(float), np.nan)
    if isinstance(run.loss, BinaryCrossEntropy):
        return 1 / (1 + np.exp(-predicted))
    return predicted


def draw(run: Run, experiment: Experiment, folder: Path) -> None:
    """The last rows of the last part beside what is predicted for them."""
    part = list(experiment.parts.values())[-1]
    plot_forecast(part, predicted_values(run, part, experiment.config.data.warm)).savefig(folder / FORECAST)


def _interrupted(run: Run, record: Record, console: Console) -> int:
    if not _steps(run):
        say(console, "\ninterrupted before the first step; nothing was kept")
        return INTERRUPTED
    record.save(run)
    done = len(run.history.epochs["loss"])
    say(console, f"\ninterrupted after {count(done, 'epoch')}; the run so far is in {record.folder}")
    return INTERRUPTED


def _steps(run: Run) -> int:
    return len(run.history.steps["loss"])


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
            remat=settings.remat,
            learning_rate=settings.learning_rate.build(),
            validation=experiment.data.validation,
            warm=config.data.warm,
            early_stopping=None if settings.early_stopping is None else settings.early_stopping.build(),
            on_block=show,
            on_epoch=on_epoch,
        )
