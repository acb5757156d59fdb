"""A curriculum in words: its data sets, the order of an epoch, and the first steps of its turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnkit.schedule.curriculum import Curriculum


def describe(curriculum: Curriculum, epoch: int = 0) -> str:
    """An epoch in words: a line for each data set, and one for each turn."""
    lines = [repr(curriculum)]
    for turn in curriculum.turns(epoch):
        lines.append(f"{' + '.join(turn.names)}: {turn.steps:,} steps")
    return "\n".join(lines)
