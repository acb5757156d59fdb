"""`rnnkit check`: do the installed backends give the same gradients on this config?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

from rnnkit.backend import TEXTBOOK, Backend, backend, installed_backends, map_arrays
from rnnkit.cli.build import build
from rnnkit.cli.builder import backend_name, load_backend
from rnnkit.cli.experiment import Experiment
from rnnkit.cli.read import Draft
from rnnkit.cli.report import describe, say
from rnnkit.errors import BackendError, ModelError, counted
from rnnkit.model import setup, window_loss
from rnnkit.schedule import Batch
from rnnkit.testing import TOLERANCE, Case, relative_difference, run_case
from rnnkit.train.targets import as_trained

WINDOWS, LANES = 3, 3
"""How many of the first steps and lanes are compared: the textbook backend is slow."""

Differences = dict[str, float]
"""Largest relative difference of each output and gradient."""


def check(draft: Draft, console: Console) -> int:
    """Compare every installed backend with the textbook one on the first windows of a config, in float64.

    Returns:
        The exit status: 1 when a difference is larger than 1e-10, else 0.

    Raises:
        RnnkitError: anything that is wrong with the config.
    """
    experiment = build(draft)
    cases = list(cases_of(experiment))
    textbook = backend(TEXTBOOK)
    compared: dict[str, Differences] = {}
    skipped: dict[str, str] = {}
    for name in installed_backends():
        if name != TEXTBOOK:
            try:
                tested = load_backend(experiment.config) if name == backend_name(experiment.config) else backend(name)
                compared[name] = differences(tested, textbook, cases)
            except (BackendError, ModelError) as error:
                skipped[name] = str(error)
    steps, lanes = len(cases), cases[0].x.shape[1]
    say(console, describe(experiment))
    say(
        console,
        f"the first {counted(steps, 'window')} of {counted(len(cases[0].x), 'row')}, {counted(lanes, 'lane')}, "
        "float64, from a random state\n",
    )
    console.print(_table(compared))
    for name, reason in skipped.items():
        say(console, f"{name}: skipped: {reason}")
    worst = max((value for found in compared.values() for value in found.values()), default=0.0)
    if not worst <= TOLERANCE:
        say(console, f"the backends disagree: {worst:.1e} is more than {TOLERANCE:g}")
        return 1
    say(
        console,
        f"the backends agree: no difference is more than {TOLERANCE:g}" if compared else "nothing to compare",
    )
    return 0


def cases_of(experiment: Experiment) -> Iterator[Case]:
    """The first windows of a schedule, with the loss's gradient and a random one through the final state."""
    config, model = experiment.config, experiment.model
    rng = np.random.default_rng(config.seed)
    schedule = replace(experiment.alone, series=as_trained(model, experiment.alone.series, experiment.loss))
    for batch in itertools.islice(schedule.batches(dtype="float64"), WINDOWS):
        batch = _first_lanes(batch)
        params, zeros = setup(model, config.seed, batch.x.shape[1], "float64")
        state, d_state = (map_arrays(lambda a: rng.standard_normal(a.shape), zeros) for _ in range(2))
        d_y = np.zeros((*batch.x.shape[:2], model.outputs))
        case = Case(model, params, batch.x, state, batch.reset, batch.valid, d_y, d_state)
        y, _, _ = run_case(backend(TEXTBOOK), case)
        yield replace(case, d_y=window_loss(experiment.loss, y, batch.y, batch.weight)[1])


def differences(tested: Backend, textbook: Backend, cases: list[Case]) -> Differences:
    """The largest relative difference over some windows of outputs and of the gradients of all that goes in."""
    found: Differences = {}
    for case in cases:
        got, expected = (dict(_parts(*run_case(engine, case))) for engine in (tested, textbook))
        for name, reference in expected.items():
            found[name] = max(found.get(name, 0.0), relative_difference((got[name],), (reference,)))
    return found


def _parts(y, final, grads) -> Iterator[tuple[str, np.ndarray]]:
    """Every array that a forward and backward pass gives, by name."""
    yield "outputs", y
    for index, entry in enumerate(final):
        for field in getattr(entry, "_fields", ()):
            yield f"final state {index}.{field}", getattr(entry, field)
    for name, gradient in grads.params.items():
        yield f"gradient {name}", gradient
    yield "gradient x", grads.x
    for index, entry in enumerate(grads.state):
        for field in getattr(entry, "_fields", ()):
            yield f"gradient {index}.{field}0", getattr(entry, field)


def _first_lanes(batch: Batch) -> Batch:
    per_window, per_row = ("origin", "segment", "row", "hand_on"), ("x", "y", "reset", "valid", "weight", "rows")
    return batch._replace(
        **{name: getattr(batch, name)[:LANES] for name in per_window},
        **{name: np.ascontiguousarray(getattr(batch, name)[:, :LANES]) for name in per_row},
    )


def _table(compared: dict[str, Differences]) -> Table:
    table = Table(title=f"largest relative difference from {TEXTBOOK!r}", title_justify="left")
    table.add_column("")
    for name in compared:
        table.add_column(name, justify="right")
    for part in next(iter(compared.values()), {}):
        cells = [found[part] for found in compared.values()]
        table.add_row(part, *(f"{v:.1e}" if v <= TOLERANCE else f"[bold red]{v:.1e} ![/]" for v in cells))
    return table
