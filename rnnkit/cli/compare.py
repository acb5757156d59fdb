"""`rnnkit compare`: what a study is going to train, its progress, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rnnkit.cli.read import Draft
from rnnkit.cli.report import VERBS, rows_of, say
from rnnkit.cli.status import FAILED, INTERRUPTED
from rnnkit.cli.study import build_plan
from rnnkit.errors import Interrupted, counted
from rnnkit.schedule.brief import brief
from rnnkit.study.compare import Comparison, carry_out
from rnnkit.study.plan import StudyPlan
from rnnkit.study.report import REPORT, aligned, choice, error_name, judged, statuses, table, told
from rnnkit.study.results import CSV, PARQUET


def compare(draft: Draft, jobs: int, fresh: bool, console: Console) -> int:
    """Train the trials of a study that remain, and write results and report into its folder.

    Returns:
        The exit status: 0, 1 where a trial has failed, or 130 after Ctrl-C, which keeps the trials that are finished.

    Raises:
        RnnkitError: anything that is wrong; nothing has been trained then.
    """
    plan = build_plan(draft, fresh)
    _show(plan, draft.config.name, console)
    try:
        with _live(console, plan) as advance:
            comparison = carry_out(plan, jobs, advance)
    except Interrupted as stopped:
        say(console, f"\n{stopped}")
        return INTERRUPTED
    _conclude(comparison, console)
    return FAILED if statuses(comparison.rows).get("failed") else 0


def _show(plan: StudyPlan, name: str, console: Console) -> None:
    """The grid: how many trials of each splitter and policy remain, and what is refused."""
    study = plan.study
    named = zip(VERBS.values(), study.parts, strict=True)
    told = (f"{rows_of(len(part), part.series_count)} to {verb}" for verb, part in named if part is not None)
    rows = ", ".join(told)
    say(console, f"{name}: {rows}; {study.model!r}")
    say(console, f"{counted(len(plan.trials), 'trial')}, each trained for {study.equal}\n")
    policies = list(dict.fromkeys(brief(planned.trial.policy) for planned in plan.trials))
    grid: dict[str, dict[str, list[str]]] = {}
    for planned in plan.trials:
        line = grid.setdefault(brief(planned.trial.splitter), {})
        line.setdefault(brief(planned.trial.policy), []).append(planned.status)
    shown = Table(title="trials to run (and finished before)", title_justify="left")
    shown.add_column("", overflow="fold")
    for policy in policies:
        shown.add_column(policy, justify="right", overflow="fold")
    for splitter, line in grid.items():
        shown.add_row(splitter, *(_told(line[policy]) for policy in policies))
    console.print(shown)
    for (splitter, policy), message in plan.refused.items():
        say(console, f"refused: {splitter} with {policy}: {message}")
    say(console, f"{counted(len(plan.remaining), 'trial')} to run\n")


def _told(found: list[str]) -> str:
    if found[0] == "refused":
        return "refused"
    remaining = found.count("to run")
    return f"{remaining}" + (f" ({len(found) - remaining})" if remaining < len(found) else "")


@contextmanager
def _live(console: Console, plan: StudyPlan) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A progress bar over the trials on a terminal, a line a trial elsewhere; yields what is called with each row."""
    total, width, error = len(plan.remaining), len(str(len(plan.remaining))), error_name(plan.study)
    done = 0

    def line(row: dict[str, Any]) -> str:
        part = judged([row])
        errors = f"   {part} {error} {row[f'{part}_mae']:.5g}" if part else ""
        seconds = f"   {row['seconds']:.2f} s" if row.get("seconds") is not None else ""
        where = f"{row['splitter']}, {row['policy']}, {row['backend']}, seed {row['seed']}"
        said = row["status"] if row["status"] == "done" else f"{row['status']}: {row['message']}"
        return f"{where}: {said}{errors}{seconds}"

    if not console.is_terminal:

        def tell(row: dict[str, Any]) -> None:
            nonlocal done
            done += 1
            say(console, f"{done:>{width}}/{total} {line(row)}")

        yield tell
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("trials", total=total)

        def advance(row: dict[str, Any]) -> None:
            bar.advance(task)
            if row["status"] != "done":
                say(console, line(row))

        yield advance


def _conclude(comparison: Comparison, console: Console) -> None:
    """The summary, what went wrong, and where everything is."""
    say(console, "mean ± standard deviation over seeds, the lowest validation error first")
    say(console, "\n".join(aligned(table(comparison))))
    if best := choice(comparison):
        say(console, best)
    for pair, message in told([row for row in comparison.rows if row["status"] != "refused"]).items():
        say(console, f"{pair}: {message}")
    folder = comparison.folder or Path()
    if not (folder / PARQUET).exists():
        say(console, f"{PARQUET} was left out: pyarrow is not installed; pip install 'rnnkit[parquet]'")
    say(console, f"the report is {folder / REPORT}, a row a trial in {folder / CSV}")
