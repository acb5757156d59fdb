"""Which rows, in what order, with what state."""

from rnnkit.schedule.batch import Batch, Block
from rnnkit.schedule.coverage import Coverage, Reach
from rnnkit.schedule.grid import Grid, Pieces
from rnnkit.schedule.policies import Carry, Reset, StatePolicy
from rnnkit.schedule.schedule import Schedule
from rnnkit.schedule.splitters import Chunked, Continuation, Sliding, Splitter

__all__ = [
    "Batch",
    "Block",
    "Carry",
    "Chunked",
    "Continuation",
    "Coverage",
    "Grid",
    "Pieces",
    "Reach",
    "Reset",
    "Schedule",
    "Sliding",
    "Splitter",
    "StatePolicy",
]
