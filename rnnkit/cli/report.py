"""What the commands print: tables, lines an epoch, a progress bar on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table

from rnnkit.cli.experiment import Experiment
from rnnkit.data.survey import Opening
from rnnkit.errors import counted
from rnnkit.model import summary
from rnnkit.train import Evaluation, History
from rnnkit.train import Progress as Place
from rnnkit.view.text import visible

VERBS = {"train": "train on", "validation": "validate", "test": "test"}

WIDTH = 100
"""Columns that output to a file or pipe is laid out for."""

NOW_AND_THEN = 5.0
"""Seconds between two lines about work that prints nothing of its own."""


class Output(Console):
    """Standard output. Names from data and configs command no terminal: their control characters are shown."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as `Console` does, control characters made visible."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text, lines=True), style, control)


def new_console() -> Console:
    """Standard output; away from a terminal lines are laid out for a fixed width."""
    console = Output(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Output(highlight=False, width=WIDTH)


def say(console: Console, text: str) -> None:
    """Print text as it is: no markup, no wrapping."""
    console.print(text, markup=False, soft_wrap=True)


def describe(experiment: Experiment) -> str:
    """Parts, model, schedule and backend, a line each."""
    config, parts = experiment.config, experiment.parts()
    rows = ", ".join(f"{rows_of(len(part), part.series_count)} to {VERBS[name]}" for name, part in parts.items())
    weights = summary(experiment.model, config.dtype).parameters
    schedule = experiment.schedule
    return "\n".join(
        [
            f"{config.name}: {rows}; {counted(len(experiment.data.series.segments), 'segment')}",
            f"{experiment.model!r}: {counted(weights, 'parameter')}",
            f"{schedule.splitter!r} with {schedule.policy!r}: {counted(len(schedule), 'step')} an epoch",
        ]
    )


def left_out(experiment: Experiment) -> str:
    """How many rows of the data are in no part, and why; nothing where all are."""
    series, data, parts = experiment.data.series, experiment.config.data, experiment.parts().values()
    total = sum(part.left_out for part in parts)
    if not total:
        return ""
    tails = series.horizon * sum(len(part.runs) for part in parts)
    outside = series.rows - int((series.runs[:, 2] - series.runs[:, 1]).sum())
    few = f"of {counted(series.horizon, 'row')} or fewer"
    causes = {"with missing values (missing = 'cut')": data.missing == "cut"}
    causes[f"in segments {few} (short = 'drop')"] = data.short == "drop"
    reasons = {
        f"{tails:,} whose target would lie beyond their segment or part (horizon {series.horizon})": tails,
        f"{outside:,} {' or '.join(cause for cause, possible in causes.items() if possible)}": outside,
        f"{total - tails - outside:,} in pieces {few} at the ends of parts": total - tails - outside,
    }
    told = ", ".join(reason for reason, rows in reasons.items() if rows)
    return f"{total:,} of {counted(series.rows, 'row')} left out: {told}"


def error_table(evaluations: Mapping[str, Evaluation], labels: bool) -> Table:
    """Errors of the model beside the naive predictions, part by part."""
    title = "share of classes that are wrong" if labels else "errors in the data's own units"
    table = Table(title=title, title_justify="left")
    for column in ("part", "prediction"):
        table.add_column(column)
    over = over_baseline(evaluations.values())
    measures = ("share wrong", f"/ {over}") if labels else ("MAE", "RMSE", f"MAE / {over}")
    measures = measures if over else measures[:-1]
    for column in (*measures, "rows"):
        table.add_column(column, justify="right")
    for part, found in evaluations.items():
        base = next(iter(found.naive.values())).mae if found.naive else 0.0
        for name, errors in {"model": found.model, **found.naive}.items():
            share = (f"{errors.mae / base:.3f}" if base else "",) if over else ()
            rmse = () if labels else (f"{errors.rmse:.5g}",)
            first = part if name == "model" else ""
            table.add_row(first, name, f"{errors.mae:.5g}", *rmse, *share, f"{errors.rows:,}")
        table.add_section()
    return table


def over_baseline(evaluations: Iterable[Evaluation]) -> str:
    """What a column of errors over those of naive predictions is called; empty where there are none."""
    kinds = {found.baseline for found in evaluations if found.baseline is not None}
    return kinds.pop() if len(kinds) == 1 else "baseline" if kinds else ""


NAIVE = {
    "persistence": "repeating the last value",
    "seasonal naive": "repeating the value of a season before",
    "training mean": "always predicting the mean of the training part",
    "most frequent class": "always naming the most frequent class",
}
"""What each naive prediction does, by its name in the table."""


def worse_than_naive(found: Mapping[str, Mapping[str, Evaluation]]) -> str:
    """A line about data sets whose error on the last part is above that of the naive prediction; else nothing."""
    told = []
    for name, parts in found.items():
        part, last = list(parts.items())[-1]
        naive = last.naive.get(last.baseline or "")
        if naive is not None and last.model.mae > naive.mae:
            of = f" of {name}" if name else ""
            told.append(
                f"{part} error{of}: {last.model.mae:.5g}, worse than {NAIVE[str(last.baseline)]}: {naive.mae:.5g}"
            )
    if len(told) > 4:
        told = [*told[:3], f"and {len(told) - 3} more data sets"]
    return "\n".join(told)


def epoch_line(history: History, epochs: int) -> str:
    """The last epoch in a line."""
    done = len(history.epochs["loss"])
    measures = [f"epoch {done:>{len(str(epochs))}}/{epochs}", f"loss {history.epochs['loss'][-1]:.6g}"]
    if "validation_loss" in history.epochs:
        measures.append(f"validation {history.epochs['validation_loss'][-1]:.6g}")
    return "   ".join([*measures, f"{history.epochs['seconds'][-1]:.2f} s"])


@contextmanager
def live(console: Console, epochs: int) -> Iterator[Callable[[Place], None]]:
    """A progress bar over all epochs on a terminal, nothing elsewhere; yields what `fit` tells its blocks to."""
    if not console.is_terminal:
        yield lambda place: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("training", total=1.0)

        def advance(place: Place) -> None:
            share = (place.epoch + place.step / place.steps) / epochs
            open_now = f"  {place.names[0]}{' ...' * (len(place.names) > 1)}" if place.names else ""
            said = f"epoch {place.epoch + 1}/{epochs}  loss {place.loss:.4g}{open_now}"
            bar.update(task, completed=share, description=escape(said))

        yield advance


@contextmanager
def opening(console: Console) -> Iterator[Callable[[str, Opening], None]]:
    """Tells how far the opening of many data sets is: a bar on a terminal, elsewhere a line now and then on standard
    error; yields what takes the word for what is done, and the data set."""
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("opening", total=None)

            def advance(doing: str, at: Opening) -> None:
                bar.update(task, total=at.sets, completed=at.place, description=escape(f"{doing} {at.name}"))

            yield advance
        return
    last = time.monotonic()

    def tell(doing: str, at: Opening) -> None:
        nonlocal last
        if time.monotonic() - last >= NOW_AND_THEN:
            last = time.monotonic()
            print(f"{doing} data sets: {at.place:,} of {at.sets:,}", file=sys.stderr)

    yield tell


def rows_of(rows: int, series: int | None) -> str:
    """`"1 row"`, `"2,000 rows of 6 series"`."""
    return counted(rows, "row") + ("" if series is None else f" of {series:,} series")
