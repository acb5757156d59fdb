"""`rnnkit train`: from a config to a run folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch
from pathlib import Path

import numpy as np
from rich.console import Console

from rnnkit.backend import Backend
from rnnkit.cli.build import Experiment
from rnnkit.cli.build_many import ManyExperiment, build_any_with_backend
from rnnkit.cli.folder import (
    EVALUATION,
    FORECAST,
    LOSS,
    MATRIX,
    TRANSFER,
    abandon,
    add_metrics,
    begin,
    check_free,
    prepare,
    write_evaluation,
    write_metrics,
    write_transfer,
    writing,
)
from rnnkit.cli.read import Draft
from rnnkit.cli.report import count, describe, epoch_line, error_table, left_out, live, opening, say
from rnnkit.cli.report_many import data_sets_table, errors_by_set, heading, how, skipped_lines, turn_line
from rnnkit.cli.status import INTERRUPTED
from rnnkit.data import Sequence
from rnnkit.data.survey import Opening
from rnnkit.errors import Interrupted, RnnkitError, SourceError
from rnnkit.model import BinaryCrossEntropy, CrossEntropy
from rnnkit.train import Evaluation, History, Prediction, Run, TurnEnd, evaluate, fit, predict
from rnnkit.train.baselines import Baseline
from rnnkit.train.targets import is_classification
from rnnkit.view.plots import plot_forecast, plot_forecasts, plot_history

PANELS = 8
"""Data sets whose predictions are drawn at most."""


@dataclass
class Record:
    """Writes a run as it goes.

    The folder is made before training starts, so that one that cannot be made costs no training. An old run in it
    is replaced when the first epoch has been trained, or when the run is kept before: what a backend refuses shows
    by then, and leaves everything as it was.
    """

    experiment: Experiment | ManyExperiment
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
            if run.transfer is not None and run.transfer.stages:
                write_transfer(self.folder / TRANSFER, run.transfer)
                run.transfer.plot().savefig(self.folder / MATRIX)


def train(draft: Draft, overwrite: bool, console: Console) -> int:
    """Train what a draft describes into its run folder.

    Returns:
        The exit status: 0, or 130 after Ctrl-C, which keeps the run so far if it has made a step.

    Raises:
        RnnkitError: anything that is wrong; nothing has been written then. After the first step it says where the run
            so far is.
    """
    with opening(console) as told:
        experiment, engine = build_any_with_backend(draft, told)
    folder = Path(draft.config.out)
    check_free(folder, overwrite)
    introduce(experiment, console)
    say(console, f"backend {engine.name}, {draft.config.dtype}\n")
    began, record = time.perf_counter(), Record(experiment, folder)
    record.prepare()
    try:
        run = _fit(experiment, engine, record, console)
    except Interrupted as stopped:
        return _interrupted(stopped.run, record, console)
    except RnnkitError as error:
        if error.run is None:
            raise
        epoch = len(error.run.history.epochs["loss"])
        message = str(error).replace(f"epoch {epoch}, step", f"epoch {epoch + 1}, step")  # counted from 1 here
        if not _steps(error.run):
            raise type(error)(message) from error
        record.save(error.run)
        raise type(error)(f"{message}\nThe run up to there is in {folder}") from error
    finally:
        record.abandon()
    seconds = time.perf_counter() - began
    record.save(run)
    conclude(experiment, run, folder, console)
    if draft.config.train.early_stopping is None and (better := lowest_before_the_end(run.history)):
        say(console, better)
    rows, spent = (np.array(run.history.epochs[name]) for name in ("rows", "seconds"))
    say(console, f"{np.median(rows / spent):,.0f} rows a second (median epoch), {seconds:.1f} s in all")
    say(console, f"the run is in {folder}")
    return 0


@singledispatch
def introduce(experiment: Experiment, console: Console) -> None:
    """Say what is going to be trained."""
    say(console, describe(experiment))
    if left := left_out(experiment):
        say(console, left)


@introduce.register
def _(experiment: ManyExperiment, console: Console) -> None:
    say(console, heading(experiment))
    console.print(data_sets_table(experiment))
    if left := skipped_lines(experiment.schedule.skipped):
        say(console, left)
    say(console, how(experiment))


@singledispatch
def conclude(experiment: Experiment, run: Run, folder: Path, console: Console) -> None:
    """Take the errors of a run, write and print them, and draw its predictions."""
    data = experiment.config.data
    found = evaluations(run, experiment.parts, data.period, data.baseline, experiment.warm)
    with writing(folder):
        write_evaluation(folder / EVALUATION, found)
        draw(run, experiment, folder)
    console.print(error_table(found, is_classification(run.loss)))


@conclude.register
def _(experiment: ManyExperiment, run: Run, folder: Path, console: Console) -> None:
    found, drawn = {}, {}
    with opening(console) as told:
        for place, name in enumerate(run.sets):
            told("evaluating", Opening(name, place, len(run.sets)))
            try:
                parts = experiment.parts(name)
            except SourceError as error:  # it was there when it was trained on
                say(console, f"not evaluated: {error}")
                continue
            own = run.on(name)
            found[name] = evaluations(own, parts, experiment.period(name), experiment.baseline(name), experiment.warm)
            if len(drawn) < PANELS:
                part = list(parts.values())[-1]
                drawn[name] = part, predicted_values(own, part, experiment.warm)
    with writing(folder):
        write_evaluation(folder / EVALUATION, found)
        if drawn:
            plot_forecasts(drawn).savefig(folder / FORECAST)
    if found:
        console.print(errors_by_set(found, is_classification(run.loss)))
    if left := skipped_lines(run.skipped):
        say(console, left)
    if run.transfer is not None:
        say(console, f"\n{run.transfer}\n")


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


def evaluations(
    run: Run, parts: Mapping[str, Sequence], period: int | None, baseline: Baseline, warm: int
) -> dict[str, Evaluation]:
    """Errors on the validation and test part; without either, on all that there is."""
    later = {name: part for name, part in parts.items() if name != "train"} or parts
    return {name: evaluate(run, part, period=period, baseline=baseline, warm=warm) for name, part in later.items()}


def predicted_values(run: Run, part: Sequence, warm: int) -> Prediction:
    """What `predict` gives; for cross-entropy the likeliest class, for the binary one the probability."""
    predicted = predict(run, part, warm=warm)
    if isinstance(run.loss, CrossEntropy):
        known = ~np.isnan(predicted).any(1, keepdims=True)
        classes = np.where(known, predicted.argmax(1)[:, None].astype(float), np.nan)
        return replace(predicted, values=classes, axes=("rows", "targets"))
    if isinstance(run.loss, BinaryCrossEntropy):
        return replace(predicted, values=1 / (1 + np.exp(-predicted)))
    return predicted


def draw(run: Run, experiment: Experiment, folder: Path) -> None:
    """The last rows of the last part beside what is predicted for them."""
    part = list(experiment.parts.values())[-1]
    plot_forecast(part, predicted_values(run, part, experiment.warm)).savefig(folder / FORECAST)


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


def _fit(experiment: Experiment | ManyExperiment, engine: Backend, record: Record, console: Console) -> Run:
    config, settings, epochs = experiment.config, experiment.config.train, experiment.epochs
    many = isinstance(experiment, ManyExperiment)
    with live(console, epochs) as show:

        def on_epoch(history: History) -> None:
            record.add_epoch(history)
            say(console, epoch_line(history, epochs))

        def on_turn(end: TurnEnd) -> None:
            if not console.is_terminal:  # where the bar shows it
                say(console, turn_line(end))

        return fit(
            experiment.model,
            experiment.schedule,
            backend=engine,
            rule=settings.rule.build(),
            loss=experiment.loss,
            epochs=epochs,
            seed=config.seed,
            dtype=config.dtype,
            clip=None if settings.clip is None else settings.clip.build(),
            remat=settings.remat,
            frozen=settings.frozen if isinstance(settings.frozen, str) else tuple(settings.frozen),
            learning_rate=settings.learning_rate.build(),
            validation=None if many else experiment.data.validation,
            warm=experiment.warm,
            early_stopping=None if settings.early_stopping is None else settings.early_stopping.build(),
            on_block=show,
            on_turn=on_turn,
            on_epoch=on_epoch,
            transfer=experiment.config.curriculum.transfer if many else None,
        )
