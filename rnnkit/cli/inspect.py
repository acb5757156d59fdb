"""`rnnkit inspect`: back-propagation through time over some rows of a run's data, as a page."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console

from rnnkit.backend import TEXTBOOK
from rnnkit.cli.after import of_one
from rnnkit.cli.build import build
from rnnkit.cli.files import check_new, writing
from rnnkit.cli.read import Draft
from rnnkit.cli.report import say
from rnnkit.data import Sequence
from rnnkit.errors import ConfigError
from rnnkit.files import write_whole
from rnnkit.tracing import trace
from rnnkit.train import load
from rnnkit.view.page.write import page_text, plotly_text

ROWS = 128
"""Rows that are traced unless asked otherwise: the last ones of the training part."""


def inspect(draft: Draft, rows: str | None, out: Path | None, overwrite: bool, console: Console) -> int:
    """Trace some rows and write them as a page.

    Args:
        draft: the config of a run.
        rows: `"START:STOP"`, rows of the source; left out, the last 128 of the training part that have a target.
        out: a file; left out, `inspect_START_STOP.html` in the run folder.
        overwrite: whether the page may replace a file.
        console: where to print.

    Raises:
        RnnkitError: anything that is wrong with the config, the data or the rows, plotly that is not installed, or a
            file that is there already.
    """
    chosen = None if rows is None else parse_rows(rows)
    if out is not None:
        check_new(out, "--out", overwrite)
    plotly_text()  # before any work
    experiment = build(of_one(draft))
    run = load(draft.file.parent, TEXTBOOK)
    if run.sets and draft.data_set is not None:
        run = run.on(draft.data_set)
    start, stop = _last(experiment.data.training) if chosen is None else chosen
    seen = trace(run, experiment.data.series, slice(start, stop), warm=draft.config.data.warm)
    first, last = int(seen.rows[0]), int(seen.rows[-1])
    file = draft.file.parent / f"inspect_{first}_{last + 1}.html" if out is None else out
    check_new(file, "--out", overwrite)
    text = page_text(seen, [experiment.alone]).encode()
    with writing(file):
        write_whole(file, text)
    say(console, f"rows {first:,} to {last:,}, forward and back, are in {file} ({len(text) / 1e6:.1f} MB)")
    return 0


def parse_rows(text: str) -> tuple[int | None, int | None]:
    """First row and the one after the last, None where it is left out.

    Raises:
        ConfigError: text that is no range.

    Example:
        >>> parse_rows("2000:2128"), parse_rows(":50")
        ((2000, 2128), (None, 50))
    """
    found = re.fullmatch(r"\s*(\d*)\s*:\s*(\d*)\s*", text, re.ASCII)
    if found is None:
        raise ConfigError(f"inspect expects --rows as START:STOP, got {text!r}; write --rows 2000:2128")
    start, stop = (int(end) if end else None for end in found.groups())
    return start, stop


def _last(part: Sequence) -> tuple[int, int]:
    """The last rows of a part that have a target, as one range."""
    left, start = ROWS, part.segments[-1].start
    for segment in reversed(part.segments):
        start = max(segment.start, segment.stop - left)
        left -= segment.stop - start
        if left <= 0:
            break
    return int(start), int(part.segments[-1].stop)
