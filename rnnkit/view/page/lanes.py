"""The cells of a schedule's picture: which rows stand in which step and lane, and where their state comes from."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnkit.schedule import Schedule
from rnnkit.schedule.grid import Grid, Pieces, joined

STEPS, LANES = 8, 16
"""Steps and lanes that are drawn at most."""

HEAD = 2
"""Steps of the epoch's beginning among them."""

SLICE = 65_536
"""Steps that are searched at a time."""

SOURCES = {-1: "initial", -2: "recorded"}


def lanes_of(schedule: Schedule, rows: np.ndarray) -> dict[str, Any]:
    """The first steps of a schedule's first epoch, and those in which some rows stand.

    Args:
        schedule: any schedule.
        rows: rows of the source, `(T,)` sorted.

    Returns:
        `steps`, the numbers of those that are drawn; `cells`, a dict for each stretch of rows: `step`, `lane`; `at`,
        its place in the window; `rows`, how many; `first`, the first row; `unscored`, how many of them at the head are
        read again; and `source`: initial, carried or recorded. `length`, rows of a window, of which
        the first `lead` are read again; `lanes` that are drawn; `all_lanes` and `all_steps`, drawn or not.
    """
    grid = schedule.grid()
    chosen = sorted({*range(min(HEAD, grid.steps)), *_steps_with(schedule, grid, rows)})
    for step in range(grid.steps):
        if len(chosen) >= STEPS:
            break
        if step not in chosen:
            chosen.append(step)
    chosen = sorted(chosen)[:STEPS]
    cells = [cell for step in chosen for cell in _cells(schedule, grid, step)]
    return {
        "steps": chosen,
        "cells": cells,
        "length": grid.length,
        "lead": grid.lead,
        "lanes": min(grid.lanes, LANES),
        "all_lanes": grid.lanes,
        "all_steps": grid.steps,
    }


def _steps_with(schedule: Schedule, grid: Grid, rows: np.ndarray) -> list[int]:
    """The first steps that score one of the rows in a lane that is drawn."""
    found: list[int] = []
    for first in range(0, grid.steps, SLICE):
        pieces = grid.pieces(first, min(first + SLICE, grid.steps))
        low = schedule.series.starts[pieces.segment] + pieces.offset + np.maximum(grid.lead - pieces.at, 0)
        high = schedule.series.starts[pieces.segment] + pieces.offset + pieces.rows
        has = np.searchsorted(rows, low) < np.searchsorted(rows, high)
        found += np.unique(pieces.step[has & (low < high) & (pieces.lane < LANES)]).tolist()
        if len(found) >= STEPS - HEAD:
            break
    return found[: STEPS - HEAD]


def _cells(schedule: Schedule, grid: Grid, step: int) -> list[dict[str, Any]]:
    pieces: Pieces = joined(grid.pieces(step, step + 1))
    (origin,) = schedule.policy.origins(grid, step, step + 1)
    cells, begun = [], set()
    for _, lane, at, segment, offset, count in zip(*(field.tolist() for field in pieces), strict=True):
        if lane >= LANES:
            continue
        source = "initial" if lane in begun else SOURCES.get(int(origin[lane]), "carried")
        begun.add(lane)
        cells.append(
            {
                "step": step,
                "lane": lane,
                "at": at,
                "rows": count,
                "first": int(schedule.series.starts[segment]) + offset,
                "unscored": min(max(grid.lead - at, 0), count),
                "source": source,
            }
        )
    return cells
