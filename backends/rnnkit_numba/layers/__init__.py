"""What each layer takes and computes, forward and back; a cell is a module of its own (`cell.py`)."""

from rnnkit_numba.layers import dense, lstm, recurrence
from rnnkit_numba.table import extent

__all__ = ["dense", "extent", "lstm", "recurrence"]
