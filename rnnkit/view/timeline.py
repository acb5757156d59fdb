"""The first steps of a schedule in characters: a line a lane, a cell a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnkit.schedule.schedule import Schedule

LANES = 8
"""Lanes that are shown at most."""


def timeline(schedule: Schedule, steps: int = 6) -> str:
    """Each window's first and last row and where its state comes from.

    `*` from the initial state, `>` carried from the window before, `@` from a recorded state, `|` a reset inside the
    window, `.` padding.
    """
    batches = []
    for batch in schedule.batches():
        batches.append(batch)
        if len(batches) == steps:
            break
    lanes = min(schedule.lanes, LANES)
    cells = [[f"step {k}" for k in range(len(batches))]]
    for lane in range(lanes):
        line = []
        for batch in batches:
            read = batch.rows[:, lane][batch.valid[:, lane]]
            if not len(read):
                line.append(".")
                continue
            source = {-1: "*", -2: "@"}.get(int(batch.origin[lane]), ">")
            inside = "|" * int(batch.reset[:, lane].sum())
            short = "." if len(read) < len(batch.rows) else ""
            line.append(f"{source} {read[0]}-{read[-1]}{inside}{short}")
        cells.append(line)
    width = max(len(cell) for line in cells for cell in line) + 2
    names = ["", *(f"lane {lane}" for lane in range(lanes))]
    lines = [
        f"{name:<9}" + "".join(f"{cell:<{width}}" for cell in line) for name, line in zip(names, cells, strict=True)
    ]
    if schedule.lanes > lanes:
        lines.append(f"... and {schedule.lanes - lanes} more lanes")
    if len(schedule) > len(batches):
        lines.append(f"... and {len(schedule) - len(batches):,} more steps")
    lines.append("* from the initial state   > carried   @ recorded   | reset inside the window   . padding")
    return "\n".join(line.rstrip() for line in lines)
