"""`rnnkit plan`: what a config would read, and what it would train; no backend is loaded."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from rnnkit.cli.build import build
from rnnkit.cli.files import check_picture, save_picture
from rnnkit.cli.read import Draft
from rnnkit.cli.report import left_out, say
from rnnkit.errors import ConfigError
from rnnkit.model import summary


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
    experiment = build(draft)
    if picture is not None:
        check_picture(picture, overwrite)
    shown = {} if steps is None else {"steps": steps}
    for name, part in experiment.parts.items():
        say(console, f"{name:<12}{part!r}")
    if left := left_out(experiment):
        say(console, left)
    say(console, f"\n{experiment.schedule.describe(**shown)}\n")
    say(console, f"{summary(experiment.model, draft.config.dtype)}")
    if picture is not None:
        save_picture(experiment.schedule.plot(**shown), picture)
        say(console, f"\nthe schedule is drawn in {picture}")
    return 0
