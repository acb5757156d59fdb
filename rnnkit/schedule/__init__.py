"""Which rows, in what order, with what state."""

from rnnkit.schedule.batch import Batch, Block, Slots
from rnnkit.schedule.coverage import Coverage, Reach
from rnnkit.schedule.curriculum import Curriculum
from rnnkit.schedule.grid import Grid, Pieces
from rnnkit.schedule.interleave import OneByOne, RoundRobin, Sampling, SideBySide
from rnnkit.schedule.lengths import Geometric, Uniform
from rnnkit.schedule.phase import Phase
from rnnkit.schedule.policies import BurnIn, Carry, Reset, StatePolicy, Stored
from rnnkit.schedule.schedule import Schedule
from rnnkit.schedule.splitters import Chunked, Continuation, Sliding, Splitter
from rnnkit.schedule.turn import Feed, Turn

__all__ = [
    "Batch",
    "Block",
    "BurnIn",
    "Carry",
    "Chunked",
    "Continuation",
    "Coverage",
    "Curriculum",
    "Feed",
    "Geometric",
    "Grid",
    "OneByOne",
    "Phase",
    "Pieces",
    "Reach",
    "Reset",
    "RoundRobin",
    "Sampling",
    "Schedule",
    "SideBySide",
    "Sliding",
    "Slots",
    "Splitter",
    "StatePolicy",
    "Stored",
    "Turn",
    "Uniform",
]
