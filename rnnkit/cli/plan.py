"""`rnnkit plan`: what a config would read, and what it would train; no backend is loaded."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from rnnkit.cli.build import build
from rnnkit.cli.files import check_new
from rnnkit.cli.read import Draft
from rnnkit.cli.report import say
from rnnkit.model import summary


def plan(draft: Draft, picture: Path | None, console: Console) -> int:
    """Print parts, schedule, coverage and model; draw the schedule's first steps where a picture is wanted.

    Raises:
        RnnkitError: anything that is wrong with the config, or a picture that is there already.
    """
    experiment = build(draft)
    if picture is not None:
        check_new(picture, "--picture")
    for name, part in experiment.parts.items():
        say(console, f"{name:<12}{part!r}")
    say(console, f"\n{experiment.schedule.describe()}\n")
    say(console, f"{summary(experiment.model, draft.config.dtype)}")
    if picture is not None:
        experiment.schedule.plot().savefig(picture)
        say(console, f"\nthe schedule is drawn in {picture}")
    return 0
