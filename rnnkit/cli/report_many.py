"""What the commands print of many data sets: what is trained on, a line a turn, errors by data set."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from rnnkit.cli.experiment import Experiment
from rnnkit.cli.report import over_baseline, rows_of
from rnnkit.cli.sets import listed
from rnnkit.data.survey import Facts
from rnnkit.errors import counted
from rnnkit.model import summary
from rnnkit.schedule import Curriculum
from rnnkit.schedule.brief import brief
from rnnkit.train import Evaluation, TurnEnd


def heading(experiment: Experiment) -> str:
    """What is trained on, in a line."""
    facts = experiment.schedule.facts
    rows = sum(found.rows for found in facts.values())
    return f"{experiment.config.name}: {counted(len(facts), 'data set')}, {counted(rows, 'row')} to train on"


def data_sets_table(experiment: Experiment) -> Table:
    """The data sets: rows and segments to train on, and how each is trained on; what is alike for all is left out."""
    curriculum = experiment.curriculum
    table = Table(title_justify="left")
    table.add_column("data set", overflow="fold")
    for column in ("rows to train on", "segments"):
        table.add_column(column, justify="right")
    own = {
        "rate x": [f"{curriculum[name].learning_rate:g}" for name in curriculum.facts],
        "passes": [str(curriculum[name].passes) for name in curriculum.facts],
        "weight": [f"{curriculum[name].weight:g}" for name in curriculum.facts],
        "head": [curriculum[name].head or "" for name in curriculum.facts],
        "scaler": [_scaler(curriculum, name) for name in curriculum.facts],
    }
    plain = {"rate x": "1", "passes": "1", "weight": "1", "head": "", "scaler": "own"}
    shown = {what: cells for what, cells in own.items() if set(cells) != {plain[what]}}
    for column in (*shown, "parts"):
        table.add_column(column, overflow="fold")
    for index, (name, facts) in enumerate(curriculum.facts.items()):
        cells = [column[index] for column in shown.values()]
        held = zip(facts.parts[1:], facts.part_rows[1:], facts.part_series[1:], strict=True)
        parts = ", ".join(["training", *(f"{part} ({rows_of(rows, series)})" for part, rows, series in held)])
        table.add_row(Text(name), _rows_to_train(facts), f"{len(facts.lengths):,}", *map(Text, cells), parts)
    return table


def _rows_to_train(facts: Facts) -> str:
    series = facts.part_series[0]
    return f"{facts.rows:,}" if series is None else f"{facts.rows:,} of {series:,} series"


def _scaler(curriculum: Curriculum, name: str) -> str:
    scaler = curriculum[name].scaler
    return scaler if isinstance(scaler, str) else "none" if scaler is None else "given"


def how(experiment: Experiment) -> str:
    """Model, schedule and phases, a line each."""
    curriculum = experiment.curriculum
    weights = summary(experiment.model, experiment.config.dtype).parameters
    order = curriculum.order if isinstance(curriculum.order, str) else "given"
    lines = [
        f"{experiment.model!r}: {counted(weights, 'parameter')}",
        f"{curriculum.splitter!r} with {curriculum.policy!r}, {brief(curriculum.interleave)}, order {order}: "
        f"{counted(len(curriculum), 'step')} in the first epoch",
    ]
    return "\n".join([*lines, *own_windows(curriculum), *phases(curriculum)])


def own_windows(curriculum: Curriculum) -> list[str]:
    """A line for those data sets that are cut in a way of their own."""
    found: dict[str, list[str]] = {}
    for name in curriculum.facts:
        splitter, policy = curriculum[name].splitter, curriculum[name].policy
        if splitter is not None or policy is not None:
            told = f"{brief(splitter or curriculum.splitter)} with {brief(policy or curriculum.policy)}"
            found.setdefault(told, []).append(name)
    return [f"{listed(names)}: {told}" for told, names in found.items()]


def phases(curriculum: Curriculum) -> list[str]:
    """A line a phase."""
    lines, first = [], 1
    for place, phase in enumerate(curriculum.phases, 1):
        last = first + phase.epochs - 1
        epochs = f"epoch {first}" if first == last else f"epochs {first} to {last}"
        names = [name for name in curriculum.facts if phase.names is None or name in phase.names]
        told = [listed(names) if phase.names is not None else "all data sets"]
        if phase.learning_rate != 1:
            told.append(f"learning rate x {phase.learning_rate:g}")
        if phase.frozen:
            told.append(f"frozen: {', '.join([phase.frozen] if isinstance(phase.frozen, str) else phase.frozen)}")
        lines.append(f"phase {phase.name or place}, {epochs}: {'; '.join(told)}")
        first = last + 1
    return lines


def skipped_lines(skipped: Mapping[str, str]) -> str:
    """How many data sets were left out, and why; nothing where none was."""
    if not skipped:
        return ""
    lines = [f"  {name}: {reason}" for name, reason in skipped.items()]
    return "\n".join([f"{counted(len(skipped), 'data set')} left out (on_error = 'skip'):", *lines])


def turn_line(end: TurnEnd) -> str:
    """A turn that is over, in a line."""
    losses = ", ".join(f"{name} {loss:.6g}" for name, loss in end.losses.items())
    width = len(str(end.turns))
    place = f"epoch {end.epoch + 1:>{len(str(end.epochs))}}/{end.epochs}, turn {end.turn + 1:>{width}}/{end.turns}"
    return f"  {place}   loss of {losses}   {end.seconds:.2f} s"


def errors_by_set(found: Mapping[str, Mapping[str, Evaluation]], labels: bool) -> Table:
    """Errors of the model beside the naive predictions, a line a part of a data set."""
    every = [each for parts in found.values() for each in parts.values()]
    title = "share of classes that are wrong" if labels else "mean absolute error in each data set's own units"
    table = Table(title=title, title_justify="left")
    table.add_column("data set", overflow="fold")
    table.add_column("part")
    naive = dict.fromkeys(name for each in every for name in each.naive)
    over = over_baseline(every)
    columns = ["model", *(name.removesuffix(" naive") for name in naive), *([f"/ {over}"] if over else [])]
    for column in columns:
        table.add_column(column, justify="right")
    for name, parts in found.items():
        for index, (part, each) in enumerate(parts.items()):
            others = [each.naive.get(kind) for kind in naive]
            ratio = [] if not over else ["" if each.ratio is None else f"{each.ratio:.3f}"]
            cells = ["" if other is None else f"{other.mae:.5g}" for other in others]
            first = Text(name if index == 0 else "")
            table.add_row(first, part, f"{each.model.mae:.5g}", *cells, *ratio)
    return table
