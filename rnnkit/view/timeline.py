"""The first steps of a schedule in characters: a line a lane, a cell a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from rnnkit.errors import counted
from rnnkit.schedule.batch import FRESH, RECORDED

if TYPE_CHECKING:
    from rnnkit.schedule import Batch
    from rnnkit.schedule.schedule import Schedule

LANES = 8
"""Lanes that are shown at most."""

MARKS = "* from the initial state   > carried   @ recorded   | reset inside the window   . padding"

Where = Callable[[np.ndarray], str]
"""Which rows a lane reads in a window, in words."""


def timeline(schedule: Schedule, steps: int = 6) -> str:
    """Each window's first and last row and where its state comes from.

    `*` from the initial state, `>` carried from the window before, `@` from a recorded state, `|` a reset inside the
    window, `.` padding.
    """
    batches = list(islice(schedule.batches(), steps))
    heads = [f"step {k}" for k in range(len(batches))]
    lines = grid_of(batches, heads, [first_and_last] * len(batches))
    if len(schedule) > len(batches):
        lines.append(f"... and {counted(len(schedule) - len(batches), 'more step')}")
    return "\n".join([*lines, MARKS])


def grid_of(batches: Sequence[Batch], heads: Sequence[str], where: Sequence[Where]) -> list[str]:
    """Steps side by side, a line a lane.

    Args:
        batches: the steps.
        heads: what stands above each.
        where: how the rows of each are told.
    """
    most = max(len(batch.row) for batch in batches)
    lanes = min(most, LANES)
    cells = [["", *(f"lane {lane}" for lane in range(lanes))]]
    for batch, head, told in zip(batches, heads, where, strict=True):
        cells.append([head, *(_cell(batch, lane, told) if lane < len(batch.row) else "" for lane in range(lanes))])
    width = max(len(cell) for column in cells[1:] for cell in column) + 2
    lines = [f"{first:<9}" + "".join(f"{cell:<{width}}" for cell in rest) for first, *rest in zip(*cells, strict=True)]
    if most > lanes:
        lines.append(f"... and {counted(most - lanes, 'more lane')}")
    return [line.rstrip() for line in lines]


def first_and_last(rows: np.ndarray) -> str:
    """The first and the last row."""
    return f"{rows[0]}-{rows[-1]}"


def _cell(batch: Batch, lane: int, where: Where) -> str:
    """What a lane reads in a window, and where its state comes from."""
    read = batch.rows[:, lane][batch.valid[:, lane]]
    if not len(read):
        return "."
    source = {FRESH: "*", RECORDED: "@"}.get(int(batch.origin[lane]), ">")
    inside = "|" * int(batch.reset[:, lane].sum())
    short = "." if len(read) < len(batch.rows) else ""
    return f"{source} {where(read)}{inside}{short}"
