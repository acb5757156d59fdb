"""Which rows, in what order, with what state."""

from rnnkit.schedule.batch import Batch, Block, Slots
from rnnkit.schedule.coverage import Coverage, Reach
from rnnkit.schedule.grid import Grid, Pieces
from rnnkit.schedule.lengths import Geometric, Uniform
from rnnkit.schedule.policies import BurnIn, Carry, Reset, StatePolicy, Stored
from rnnkit.schedule.schedule import Schedule
from rnnkit.schedule.splitters import Chunked, Continuation, Sliding, Splitter

__all__ = [
    "Batch",
    "Block",
    "BurnIn",
    "Carry",
    "Chunked",
    "Continuation",
    "Coverage",
    "Geometric",
    "Grid",
    "Pieces",
    "Reach",
    "Reset",
    "Schedule",
    "Sliding",
    "Slots",
    "Splitter",
    "StatePolicy",
    "Stored",
    "Uniform",
]
