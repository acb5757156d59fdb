"""`rnnkit train`: from a config to a run folder."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import rmtree

import numpy as np
from rich.console import Console

from rnnkit.backend import Backend
from rnnkit.cli.build import build_with_backend
from rnnkit.cli.claim import claimed
from rnnkit.cli.experiment import Experiment
from rnnkit.cli.files import save_picture
from rnnkit.cli.folder import (
    EVALUATION,
    FORECAST,
    LOSS,
    MATRIX,
    METRICS,
    OURS,
    TRANSFER,
    add_metrics,
    write_config,
    write_evaluation,
    write_metrics,
    write_transfer,
    writing,
)
from rnnkit.cli.read import Draft
from rnnkit.cli.report import describe, epoch_line, error_table, left_out, live, opening, say, worse_than_naive
from rnnkit.cli.report_many import data_sets_table, errors_by_set, heading, how, skipped_lines, turn_line
from rnnkit.cli.signals import undisturbed
from rnnkit.cli.spelling import in_config_words
from rnnkit.cli.status import INTERRUPTED
from rnnkit.data import Sequence
from rnnkit.data.survey import Opening
from rnnkit.errors import Interrupted, RnnkitError, RnnkitWarning, SourceError, counted
from rnnkit.model import BinaryCrossEntropy, CrossEntropy
from rnnkit.train import Evaluation, History, Prediction, Run, TurnEnd, evaluate, fit, predict
from rnnkit.train.baselines import Baseline
from rnnkit.train.exchange import begin, finish
from rnnkit.train.outcome import BLOWN_UP, blown_up
from rnnkit.train.saving import write_run
from rnnkit.train.targets import is_classification
from rnnkit.view.forecasts import plot_forecast, plot_forecasts
from rnnkit.view.plots import plot_history

PANELS = 8
"""Data sets whose predictions are drawn at most."""


@dataclass
class Record:
    """Writes a run as it goes, into `.unfinished` of its folder, which is held; what stands there waits until it ends.

    The folder is made before training starts, so that one that cannot be written costs no training.

    Attributes:
        experiment: what is trained.
        folder: where the run is going to stand.
        unfinished: where it is written meanwhile.
        unwritten: whether an epoch could not be written.
        saved: whether the run has taken its place.
    """

    experiment: Experiment
    folder: Path
    unfinished: Path = field(init=False)
    unwritten: bool = False
    saved: bool = False

    def __post_init__(self) -> None:
        with writing(self.folder):
            self.unfinished = begin(self.folder, OURS)
        try:
            write_config(self.unfinished, self.folder, self.experiment)
        except SourceError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Take away what is not finished."""
        rmtree(self.unfinished, ignore_errors=True)

    def add_epoch(self, history: History) -> str:
        """Write the last epoch's measures; where they cannot be, they are written with the run, and it says so once."""
        try:
            add_metrics(self.unfinished, history)
        except OSError as error:
            if not self.unwritten:
                self.unwritten = True
                return f"{METRICS} cannot be written now ({error.strerror or error}); it will be with the run"
        return ""

    def save(self, run: Run, then: Callable[[Path], None] = lambda unfinished: None) -> None:
        """Let a run that has ended, or has been cut short, take its place; then what is made of it joins it, at once.

        Args:
            run: what was trained; its loss is drawn once it has an epoch.
            then: called with the folder for what is made of the run.
        """
        if not self.saved:
            with undisturbed(), writing(self.folder):
                write_run(run, self.unfinished)
                write_metrics(self.unfinished, run.history)
                finish(self.folder, OURS)
                self.saved = True
        with writing(self.folder):
            begin(self.folder, OURS)
            if run.history.epochs["loss"]:
                save_picture(plot_history(run.history), self.unfinished / LOSS)
            if run.transfer is not None and run.transfer.stages:
                write_transfer(self.unfinished / TRANSFER, run.transfer)
                save_picture(run.transfer.plot(), self.unfinished / MATRIX)
        try:
            then(self.unfinished)
        finally:
            with writing(self.folder):
                finish(self.folder)


def train(draft: Draft, overwrite: bool, console: Console) -> int:
    """Train what a draft describes into its run folder.

    A folder that nobody named is numbered where it is taken: `runs/nyc_taxi-2`.

    Returns:
        The exit status: 0, or 130 after Ctrl-C, which keeps the run so far if it has made a step.

    Raises:
        RnnkitError: anything that is wrong; nothing has been written then. After the first step it says where the run
            so far is.
    """
    with opening(console) as told:
        experiment, engine = build_with_backend(draft, told)
    out = Path(draft.config.out)
    with claimed(out, not (draft.is_given("out") or overwrite), overwrite) as (folder, why):
        introduce(experiment, console)
        say(console, f"backend {engine.name}, {draft.config.dtype}")
        if why:
            say(console, f"{out} {why}: this run goes to {folder}; --overwrite would replace the one in {out}")
        record = Record(experiment, folder)
        say(console, f"until it ends, its epochs are in {record.unfinished / METRICS}\n")
        try:
            return _train(experiment, engine, record, console)
        finally:
            record.abandon()


def _train(experiment: Experiment, engine: Backend, record: Record, console: Console) -> int:
    began, folder = time.perf_counter(), record.folder
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
    seconds, told = time.perf_counter() - began, []
    try:
        record.save(run, lambda unfinished: told.append(conclude(experiment, run, unfinished, console)))
    except KeyboardInterrupt:
        return _interrupted(run, record, console)
    except RnnkitError as error:
        if not record.saved:
            raise
        raise type(error)(f"{error}\nThe run is in {folder}") from error
    if experiment.config.train.early_stopping is None and (better := lowest_before_the_end(run.history)):
        say(console, better)
    rows, spent = (np.array(run.history.epochs[name]) for name in ("rows", "seconds"))
    say(console, f"{np.median(rows / spent):,.0f} rows a second (median epoch), {seconds:.1f} s in all")
    say(console, f"the run is in {folder}")
    for line in filter(None, (blown_up(run), *told)):
        say(console, in_config_words(line))
    return 0


def introduce(experiment: Experiment, console: Console) -> None:
    """Say what is going to be trained."""
    if not experiment.entries:
        say(console, describe(experiment))
        if left := left_out(experiment):
            say(console, left)
        return
    say(console, heading(experiment))
    console.print(data_sets_table(experiment))
    if left := skipped_lines(experiment.schedule.skipped):
        say(console, left)
    say(console, how(experiment))


def conclude(experiment: Experiment, run: Run, folder: Path, console: Console) -> str:
    """Take the errors of a run, write and print them, and draw its predictions; a line where it is worse than naive."""
    found, drawn, names = {}, {}, tuple(run.sets) or experiment.sets
    with opening(console) as told:
        for place, name in enumerate(names):
            told("evaluating", Opening(name, place, len(names)))
            try:
                parts = experiment.parts(name)
            except SourceError as error:  # it was there when it was trained on
                say(console, f"not evaluated: {error}")
                continue
            own = run.on(name) if run.sets else run
            found[name] = evaluations(own, parts, experiment.period(name), experiment.baseline(name), experiment.warm)
            if len(drawn) < PANELS:
                part = list(parts.values())[-1]
                drawn[name] = part, predicted_values(own, part, experiment.warm)
    labels = is_classification(run.loss)
    with writing(folder):
        write_evaluation(folder / EVALUATION, found if experiment.entries else found[""])
        if drawn:
            save_picture(plot_forecasts(drawn) if experiment.entries else plot_forecast(*drawn[""]), folder / FORECAST)
    if found:
        console.print(errors_by_set(found, labels) if experiment.entries else error_table(found[""], labels))
    if left := skipped_lines(run.skipped):
        say(console, left)
    if run.transfer is not None:
        say(console, f"\n{run.transfer}\n")
    return worse_than_naive(found)


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


def _interrupted(run: Run, record: Record, console: Console) -> int:
    if not _steps(run):
        say(console, "\ninterrupted before the first step; nothing was kept")
        return INTERRUPTED
    record.save(run)
    done = len(run.history.epochs["loss"])
    say(console, f"\ninterrupted after {counted(done, 'epoch')}; the run so far is in {record.folder}")
    return INTERRUPTED


def _steps(run: Run) -> int:
    return len(run.history.steps["loss"])


def _fit(experiment: Experiment, engine: Backend, record: Record, console: Console) -> Run:
    config, settings, epochs = experiment.config, experiment.config.train, experiment.epochs
    with live(console, epochs) as show, warnings.catch_warnings():
        warnings.filterwarnings("ignore", f"fit: {BLOWN_UP}", RnnkitWarning)  # it is told at the end

        def on_epoch(history: History) -> None:
            if unwritten := record.add_epoch(history):
                say(console, unwritten)
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
            validation=experiment.validation,
            warm=experiment.warm,
            early_stopping=None if settings.early_stopping is None else settings.early_stopping.build(),
            on_block=show,
            on_turn=on_turn,
            on_epoch=on_epoch,
            transfer=experiment.transfer,
            check_range=False,  # the experiment has been built, which checks it in the config's own words
        )
