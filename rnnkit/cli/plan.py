"""`rnnkit plan`: what a config would read, and what it would train; no backend is loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console

from rnnkit.cli.build import build
from rnnkit.cli.experiment import Experiment
from rnnkit.cli.files import check_picture, save_picture
from rnnkit.cli.read import Draft
from rnnkit.cli.report import left_out, opening, say
from rnnkit.cli.report_many import data_sets_table, own_windows, phases, skipped_lines
from rnnkit.errors import ConfigError
from rnnkit.model import summary
from rnnkit.view.curriculum import TURNS, describe


def plan(draft: Draft, steps: int | None, picture: Path | None, overwrite: bool, console: Console) -> int:
    """Print parts, schedule, coverage and model; draw the schedule's first steps where a picture is wanted.

    Args:
        draft: a config.
        steps: how many steps are shown; left out, 6 in text and 12 in a picture.
        picture: a file.
        overwrite: whether the picture may replace one.
        console: where to print.

    Raises:
        RnnkitError: anything that is wrong with the config, or a picture that is there already.
    """
    if steps is not None and steps < 1:
        raise ConfigError(f"plan expects --steps of at least 1, got {steps}")
    with opening(console) as told:
        experiment = build(draft, told)
    if picture is not None:
        check_picture(picture, overwrite)
    shown = {} if steps is None else {"steps": steps}
    if experiment.entries:
        _show_many(experiment, shown, console)
    else:
        _show(experiment, shown, console)
    say(console, f"{summary(experiment.model, draft.config.dtype)}")
    if picture is not None:
        save_picture(experiment.schedule.plot(**shown), picture)
        say(console, f"\nthe schedule is drawn in {picture}")
    return 0


def _show(experiment: Experiment, shown: dict[str, int], console: Console) -> None:
    """Parts and schedule."""
    for name, part in experiment.parts().items():
        say(console, f"{name:<12}{part!r}")
    if left := left_out(experiment):
        say(console, left)
    say(console, f"\n{experiment.schedule.describe(**shown)}\n")


def _show_many(experiment: Experiment, shown: dict[str, int], console: Console) -> None:
    """Data sets, phases, the first epoch of each phase, and a second one where the order is drawn anew."""
    curriculum = experiment.curriculum
    console.print(data_sets_table(experiment))
    if left := skipped_lines(curriculum.skipped):
        say(console, left)
    for line in (*own_windows(curriculum), *phases(curriculum)):
        say(console, line)
    say(console, f"\n{curriculum.splitter!r} with {curriculum.policy!r}")
    epochs = set(np.cumsum([0, *(phase.epochs for phase in curriculum.phases[:-1])]).tolist())
    shuffled = curriculum.order == "shuffled" and experiment.epochs > 1
    for epoch in sorted(epochs | ({1} if shuffled else set())):
        say(console, describe(curriculum, epoch, turns=TURNS if epoch == 0 else 0, **shown) + "\n")
    if shuffled:
        say(console, "the order is drawn anew in each epoch\n")
